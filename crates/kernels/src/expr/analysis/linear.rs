//! Ints that are sums of the indices: their bounds over a block are exact, and so is what they say of one axis.

use super::interval::Ints;
use crate::expr::{Op, OwnLengths, Program, Sizes, Type, Variable, ir::arithmetic::to_i64};

/// Where a condition can lie: the indices, and the distance `d = q + nk - nq - k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    Batch,
    Head,
    Query,
    Key,
    Distance,
}

impl Axis {
    pub(crate) const ALL: [Self; 5] = [Self::Batch, Self::Head, Self::Query, Self::Key, Self::Distance];
}

/// A block, or the whole problem: the ranges of its indices, and of the distance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoefficientRange {
    pub(crate) batch: Ints,
    pub(crate) head: Ints,
    pub(crate) query: Ints,
    pub(crate) key: Ints,
    pub(crate) distance: Ints,
}

impl CoefficientRange {
    /// Of all elements; nothing where there are none, or more than a position can count.
    pub(crate) fn whole(sizes: Sizes) -> Option<Self> {
        let range = |count: usize| (count > 0).then(|| Ints::new(0, to_i64(count) - 1));
        if sizes.q_len.max(sizes.kv_len).max(sizes.batch).max(sizes.q_heads) > i32::MAX as usize {
            return None;
        }
        let (batch, head) = (range(sizes.batch)?, range(sizes.q_heads)?);
        Some(Self::new(batch, head, range(sizes.q_len)?, range(sizes.kv_len)?, sizes))
    }

    pub(crate) fn new(batch: Ints, head: Ints, query: Ints, key: Ints, sizes: Sizes) -> Self {
        let shift = to_i64(sizes.kv_len) - to_i64(sizes.q_len);
        let distance = Ints::new(query.lo + shift - key.hi, query.hi + shift - key.lo);
        Self { batch, head, query, key, distance }
    }

    pub(crate) fn along(&self, axis: Axis) -> Ints {
        match axis {
            Axis::Batch => self.batch,
            Axis::Head => self.head,
            Axis::Query => self.query,
            Axis::Key => self.key,
            Axis::Distance => self.distance,
        }
    }
}

/// `constant + sum of factor * index`, the factors in the order of batch, head, query and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) constant: i64,
    pub(crate) factors: [i64; 4],
}

impl Form {
    fn constant(constant: i64) -> Self {
        Self { constant, factors: [0; 4] }
    }

    fn index(place: usize) -> Self {
        let mut form = Self::constant(0);
        form.factors[place] = 1;
        form
    }

    fn scaled(self, by: i64) -> Option<Self> {
        let mut form = Self::constant(self.constant.checked_mul(by)?);
        for (to, from) in form.factors.iter_mut().zip(self.factors) {
            *to = from.checked_mul(by)?;
        }
        Some(form)
    }

    fn plus(self, other: Self) -> Option<Self> {
        let mut form = Self::constant(self.constant.checked_add(other.constant)?);
        for (to, (a, b)) in form.factors.iter_mut().zip(self.factors.into_iter().zip(other.factors)) {
            *to = a.checked_add(b)?;
        }
        Some(form)
    }

    /// The difference of two forms.
    pub(crate) fn minus(self, other: Self) -> Option<Self> {
        self.plus(other.scaled(-1)?)
    }

    /// The form of the negated value.
    pub(crate) fn opposite(self) -> Option<Self> {
        self.scaled(-1)
    }

    fn is_constant(&self) -> bool {
        self.factors == [0; 4]
    }

    /// The least and the greatest value over `extent`, both attained; nothing if they do not fit.
    pub(crate) fn range(&self, extent: &CoefficientRange) -> Option<Ints> {
        let ranges = [extent.batch, extent.head, extent.query, extent.key];
        let mut total = Ints::one(self.constant);
        for (factor, range) in self.factors.into_iter().zip(ranges) {
            if factor != 0 {
                let (first, last) = (factor.checked_mul(range.lo)?, factor.checked_mul(range.hi)?);
                total.lo = total.lo.checked_add(first.min(last))?;
                total.hi = total.hi.checked_add(first.max(last))?;
            }
        }
        Some(total)
    }

    /// The one axis this depends on, with `factor` and `constant` of `factor * position + constant`.
    pub(crate) fn on_axis(&self, sizes: Sizes) -> Option<(Axis, i64, i64)> {
        match self.factors {
            [f, 0, 0, 0] if f != 0 => Some((Axis::Batch, f, self.constant)),
            [0, f, 0, 0] if f != 0 => Some((Axis::Head, f, self.constant)),
            [0, 0, f, 0] if f != 0 => Some((Axis::Query, f, self.constant)),
            [0, 0, 0, f] if f != 0 => Some((Axis::Key, f, self.constant)),
            [0, 0, f, g] if f != 0 && f.checked_neg() == Some(g) => {
                // f * (q - k) = f * (d - (nk - nq))
                let shift = to_i64(sizes.kv_len) - to_i64(sizes.q_len);
                Some((Axis::Distance, f, self.constant.checked_sub(f.checked_mul(shift)?)?))
            }
            _ => None,
        }
    }
}

/// The linear form of every step that has one and that fits the device's ints over the whole problem, so that neither
/// side wraps on the way.
pub(crate) fn forms(program: &Program, sizes: Sizes, own: OwnLengths) -> Vec<Option<Form>> {
    let mut forms: Vec<Option<Form>> = Vec::with_capacity(program.steps.len());
    let whole = CoefficientRange::whole(sizes);
    for step in &program.steps {
        let of = |id: usize| forms.get(id).copied().flatten();
        let form = if step.ty == Type::Int { form(&step.op, sizes, own, of) } else { None };
        let fits = |form: &Form| whole.is_some_and(|whole| form.range(&whole).is_some_and(Ints::fits_i32));
        forms.push(form.filter(fits));
    }
    forms
}

fn form(op: &Op, sizes: Sizes, own: OwnLengths, of: impl Fn(usize) -> Option<Form>) -> Option<Form> {
    match *op {
        Op::Int(n) => Some(Form::constant(n)),
        Op::Variable(Variable::Batch) => Some(Form::index(0)),
        Op::Variable(Variable::Head) => Some(Form::index(1)),
        Op::Variable(Variable::KvHead) if sizes.kv_heads == sizes.q_heads => Some(Form::index(1)),
        Op::Variable(Variable::Query) => Some(Form::index(2)),
        Op::Variable(Variable::Key) => Some(Form::index(3)),
        Op::Variable(variable) if own.include(variable) => None,
        Op::Variable(Variable::QueryCount) => Some(Form::constant(to_i64(sizes.q_len))),
        Op::Variable(Variable::KeyCount) => Some(Form::constant(to_i64(sizes.kv_len))),
        Op::Negate(a) => of(a)?.scaled(-1),
        Op::Add(a, b) => of(a)?.plus(of(b)?),
        Op::Subtract(a, b) => of(a)?.minus(of(b)?),
        Op::Multiply(a, b) => {
            let (a, b) = (of(a)?, of(b)?);
            if a.is_constant() {
                b.scaled(a.constant)
            } else if b.is_constant() {
                a.scaled(b.constant)
            } else {
                None
            }
        }
        _ => None,
    }
}
