//! Arithmetic on what a value can be at most: the bounds that hold over a whole block.
//!
//! Bounds are sound for the device as well as for the reference: the results of f32 arithmetic lie within them.

use crate::{
    Dtype,
    expr::{
        Op, Program, StepId, Type,
        ir::arithmetic::{LARGEST_FLOOR, alibi_slope, floor_divide, floor_remainder, lower_power_of_two},
    },
};

/// The least and the greatest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ints {
    pub(crate) lo: i64,
    pub(crate) hi: i64,
}

/// The same of a float that is certainly finite in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Floats {
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

/// Bounds of a value. A float without bounds may also be NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Int(Ints),
    Float(Floats),
    Unknown,
}

/// The least and the greatest value of a table's elements, as the caller knows them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRange {
    /// No element is less.
    pub min: f64,
    /// No element is greater.
    pub max: f64,
}

/// f32's relative rounding error is 2^-24 an operation; drivers may be off by tens of units in the last place, and may
/// regroup sums and products.
const SLACK: f64 = 1e-5;
/// `exp` may be off by `3 + 2 |x|` units, where x is below 89.
const EXP_SLACK: f64 = 4e-5;
/// `log` near 1 and `tanh` near 0 have an absolute error besides: WGSL, section "Floating point accuracy".
const ABSOLUTE_SLACK: f64 = 1e-5;
/// Beyond this f32 may have overflowed.
const LARGEST: f64 = 3e38;
/// Below this a device may have written zero.
const SMALLEST_F32: f64 = 1.2e-38;
const SMALLEST_F16: f64 = 6.2e-5;
/// Up to here f32 holds every int.
const EXACT_INTS: f64 = 16_777_216.0;

impl Ints {
    /// Every int there is.
    pub(crate) const ALL: Self = Self { lo: i64::MIN, hi: i64::MAX };

    pub(crate) fn new(lo: i64, hi: i64) -> Self {
        Self { lo, hi }
    }

    pub(crate) fn one(value: i64) -> Self {
        Self { lo: value, hi: value }
    }

    pub(crate) fn contains(self, value: i64) -> bool {
        self.lo <= value && value <= self.hi
    }

    /// Whether the device's ints hold every value.
    pub(crate) fn fits_i32(self) -> bool {
        self.lo >= i64::from(i32::MIN) && self.hi <= i64::from(i32::MAX)
    }

    /// From corners of which some may not fit an i64: then anything is possible.
    fn spanning(corners: &[Option<i64>]) -> Self {
        let mut span = Self { lo: i64::MAX, hi: i64::MIN };
        for corner in corners {
            let Some(value) = *corner else { return Self::ALL };
            span = Self { lo: span.lo.min(value), hi: span.hi.max(value) };
        }
        span
    }

    fn union(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    fn abs(self) -> Self {
        let (lo, hi) = (self.lo.checked_abs(), self.hi.checked_abs());
        let ends = Self::spanning(&[lo, hi]);
        if self.contains(0) { ends.union(Self::one(0)) } else { ends }
    }

    /// The part of a divisor's range with one sign, and whether it can be zero.
    fn signs(self) -> ([Option<Self>; 2], bool) {
        let below = (self.lo < 0).then(|| Self::new(self.lo, self.hi.min(-1)));
        let above = (self.hi > 0).then(|| Self::new(self.lo.max(1), self.hi));
        ([below, above], self.contains(0))
    }

    fn divide(self, by: Self) -> Self {
        let (parts, zero) = by.signs();
        let mut result = zero.then(|| Self::one(0));
        for part in parts.into_iter().flatten() {
            // Monotone in either operand while the divisor keeps its sign.
            let quotient = |a: i64, b: i64| (a != i64::MIN || b != -1).then(|| floor_divide(a, b));
            let span = Self::spanning(&[
                quotient(self.lo, part.lo),
                quotient(self.lo, part.hi),
                quotient(self.hi, part.lo),
                quotient(self.hi, part.hi),
            ]);
            result = Some(result.map_or(span, |so_far| so_far.union(span)));
        }
        result.unwrap_or(Self::ALL)
    }

    fn remainder(self, by: Self) -> Self {
        if by.lo == by.hi && by.lo != 0 && floor_divide(self.lo, by.lo) == floor_divide(self.hi, by.lo) {
            let (a, b) = (floor_remainder(self.lo, by.lo), floor_remainder(self.hi, by.lo));
            return Self::new(a.min(b), a.max(b));
        }
        let (parts, zero) = by.signs();
        let mut result = zero.then(|| Self::one(0));
        for part in parts.into_iter().flatten() {
            // A remainder has its divisor's sign and is smaller; a value of that sign also bounds it.
            let span = if part.lo > 0 {
                let below = part.hi - 1;
                Self::new(0, if self.lo >= 0 { below.min(self.hi) } else { below })
            } else {
                let above = part.lo + 1;
                Self::new(if self.hi <= 0 { above.max(self.lo) } else { above }, 0)
            };
            result = Some(result.map_or(span, |so_far| so_far.union(span)));
        }
        result.unwrap_or(Self::ALL)
    }
}

impl Floats {
    /// The bounds as f32 arithmetic with an error of `slack` may find them; nothing, where it may have overflowed.
    fn rounded(lo: f64, hi: f64, slack: f64) -> Value {
        let (mut lo, mut hi) = (lo - lo.abs() * slack, hi + hi.abs() * slack);
        if lo > 0.0 && lo < SMALLEST_F32 {
            lo = 0.0;
        }
        if hi < 0.0 && hi > -SMALLEST_F32 {
            hi = 0.0;
        }
        // Written so that NaN fails.
        if lo >= -LARGEST && hi <= LARGEST { Value::Float(Self { lo, hi }) } else { Value::Unknown }
    }

    fn spanning(corners: [f64; 4]) -> Value {
        if corners.iter().any(|corner| corner.is_nan()) {
            return Value::Unknown;
        }
        let lo = corners.into_iter().fold(f64::INFINITY, f64::min);
        let hi = corners.into_iter().fold(f64::NEG_INFINITY, f64::max);
        Self::rounded(lo, hi, SLACK)
    }

    fn abs(self) -> Self {
        let ends = (self.lo.abs(), self.hi.abs());
        let lo = if self.lo <= 0.0 && self.hi >= 0.0 { 0.0 } else { ends.0.min(ends.1) };
        Self { lo, hi: ends.0.max(ends.1) }
    }

    fn negated(self) -> Self {
        Self { lo: -self.hi, hi: -self.lo }
    }

    fn divide(self, by: Self) -> Value {
        if by.lo <= 0.0 && by.hi >= 0.0 {
            return Value::Unknown;
        }
        Self::spanning([self.lo / by.lo, self.lo / by.hi, self.hi / by.lo, self.hi / by.hi])
    }

    fn multiply(self, by: Self) -> Value {
        Self::spanning([self.lo * by.lo, self.lo * by.hi, self.hi * by.lo, self.hi * by.hi])
    }

    fn remainder(self, by: Self) -> Value {
        let Value::Float(quotient) = self.divide(by) else { return Value::Unknown };
        let (first, last) = (quotient.lo.floor(), quotient.hi.floor());
        if first == last {
            let Value::Float(whole) = by.multiply(Self { lo: first, hi: first }) else {
                return Value::Unknown;
            };
            return Self::rounded(self.lo - whole.hi, self.hi - whole.lo, SLACK);
        }
        // The rounding of a remainder is in proportion to the value it was taken of.
        let magnitude = self.abs().hi.max(by.abs().hi);
        let stray = magnitude * 4.0 * SLACK;
        Self::rounded(by.lo.min(0.0) - stray, by.hi.max(0.0) + stray, SLACK)
    }
}

/// Bounds of a table of this element type.
fn element_range(element: Dtype, known: Option<ValueRange>) -> Value {
    let known =
        known.filter(|range| range.min <= range.max && range.min.is_finite() && range.max.is_finite());
    match (element, known) {
        (Dtype::U8, None) => Value::Int(Ints::new(0, 255)),
        (Dtype::I8, None) => Value::Int(Ints::new(-128, 127)),
        (Dtype::I32, None) => Value::Int(Ints::new(i64::from(i32::MIN), i64::from(i32::MAX))),
        #[expect(clippy::cast_possible_truncation, reason = "elements are i32 or less, and casts saturate")]
        (Dtype::U8 | Dtype::I8 | Dtype::I32, Some(range)) => {
            Value::Int(Ints::new(range.min.floor() as i64, range.max.ceil() as i64))
        }
        (Dtype::F32 | Dtype::F16 | Dtype::Bf16, None) => Value::Unknown,
        (dtype, Some(ValueRange { min, max })) => {
            let smallest = if dtype == Dtype::F16 { SMALLEST_F16 } else { SMALLEST_F32 };
            let lo = if min > 0.0 && min < smallest { 0.0 } else { min };
            let hi = if max < 0.0 && max > -smallest { 0.0 } else { max };
            Floats::rounded(lo, hi, 0.0)
        }
    }
}

/// Bounds of every table of a program, given those of some.
pub(crate) fn table_values(program: &Program, ranges: &[Option<ValueRange>]) -> Vec<Value> {
    let known = ranges.iter().copied().chain(std::iter::repeat(None));
    program.tables.iter().zip(known).map(|(table, known)| element_range(table.element, known)).collect()
}

/// Bounds of an operation on ints or floats. `value` gives its operands', `tables` those of a table, `heads` is the
/// number of query heads. Variables and truth values are the caller's; of those nothing is said.
///
/// Ints are not wrapped: where a bound is beyond i64, both are. Whether a value fits the device's ints is the caller's.
pub(crate) fn apply(
    op: &Op,
    ty: Type,
    value: impl Fn(StepId) -> Value,
    tables: &[Value],
    heads: i64,
) -> Value {
    let int = |id: StepId| match value(id) {
        Value::Int(range) => range,
        _ => Ints::ALL,
    };
    let pair = |a: StepId, b: StepId| match (value(a), value(b)) {
        (Value::Float(a), Value::Float(b)) => Some((a, b)),
        _ => None,
    };
    let one = |a: StepId| match value(a) {
        Value::Float(a) => Some(a),
        _ => None,
    };
    let found = match (op, ty) {
        (Op::Int(n), _) => Some(Value::Int(Ints::one(*n))),
        (Op::Negate(a), Type::Int) => {
            let a = int(*a);
            Some(Value::Int(Ints::spanning(&[a.lo.checked_neg(), a.hi.checked_neg()])))
        }
        (Op::Abs(a), Type::Int) => Some(Value::Int(int(*a).abs())),
        (
            Op::Add(a, b)
            | Op::Subtract(a, b)
            | Op::Multiply(a, b)
            | Op::Divide(a, b)
            | Op::Remainder(a, b)
            | Op::Min(a, b)
            | Op::Max(a, b),
            Type::Int,
        ) => Some(Value::Int(on_ints(op, int(*a), int(*b)))),
        (Op::Floor(a), _) => Some(one(*a).map_or(Value::Int(Ints::ALL), floor)),
        (Op::Lookup { table, .. }, _) => tables.get(*table).copied(),
        (Op::Float(x), _) => Some(constant(*x)),
        (Op::Negate(a), _) => one(*a).map(|a| Value::Float(a.negated())),
        (Op::Abs(a), _) => one(*a).map(|a| Value::Float(a.abs())),
        (Op::Add(a, b), _) => pair(*a, *b).map(|(a, b)| Floats::rounded(a.lo + b.lo, a.hi + b.hi, SLACK)),
        (Op::Subtract(a, b), _) => {
            pair(*a, *b).map(|(a, b)| Floats::rounded(a.lo - b.hi, a.hi - b.lo, SLACK))
        }
        (Op::Multiply(a, b), _) => pair(*a, *b).map(|(a, b)| a.multiply(b)),
        (Op::Divide(a, b), _) => pair(*a, *b).map(|(a, b)| a.divide(b)),
        (Op::Remainder(a, b), _) => pair(*a, *b).map(|(a, b)| a.remainder(b)),
        (Op::Min(a, b), _) => {
            pair(*a, *b).map(|(a, b)| Value::Float(Floats { lo: a.lo.min(b.lo), hi: a.hi.min(b.hi) }))
        }
        (Op::Max(a, b), _) => {
            pair(*a, *b).map(|(a, b)| Value::Float(Floats { lo: a.lo.max(b.lo), hi: a.hi.max(b.hi) }))
        }
        (Op::Sqrt(a), _) => {
            one(*a).filter(|a| a.lo >= 0.0).map(|a| Floats::rounded(a.lo.sqrt(), a.hi.sqrt(), SLACK))
        }
        (Op::Exp(a), _) => one(*a).map(|a| Floats::rounded(a.lo.exp(), a.hi.exp(), EXP_SLACK)),
        (Op::Log(a), _) => one(*a)
            .filter(|a| a.lo > SMALLEST_F32)
            .map(|a| Floats::rounded(a.lo.ln() - ABSOLUTE_SLACK, a.hi.ln() + ABSOLUTE_SLACK, SLACK)),
        (Op::Tanh(a), _) => one(*a)
            .map(|a| Floats::rounded(a.lo.tanh() - ABSOLUTE_SLACK, a.hi.tanh() + ABSOLUTE_SLACK, SLACK)),
        (Op::ToFloat(a), _) => Some(to_float(int(*a))),
        (Op::Slope(a), _) => Some(slope(int(*a), heads)),
        _ => None,
    };
    found.unwrap_or(if ty == Type::Int { Value::Int(Ints::ALL) } else { Value::Unknown })
}

fn on_ints(op: &Op, a: Ints, b: Ints) -> Ints {
    match op {
        Op::Add(..) => both(a.lo.checked_add(b.lo), a.hi.checked_add(b.hi)),
        Op::Subtract(..) => both(a.lo.checked_sub(b.hi), a.hi.checked_sub(b.lo)),
        Op::Multiply(..) => Ints::spanning(&[
            a.lo.checked_mul(b.lo),
            a.lo.checked_mul(b.hi),
            a.hi.checked_mul(b.lo),
            a.hi.checked_mul(b.hi),
        ]),
        Op::Divide(..) => a.divide(b),
        Op::Remainder(..) => a.remainder(b),
        Op::Min(..) => Ints::new(a.lo.min(b.lo), a.hi.min(b.hi)),
        Op::Max(..) => Ints::new(a.lo.max(b.lo), a.hi.max(b.hi)),
        _ => Ints::ALL,
    }
}

fn both(lo: Option<i64>, hi: Option<i64>) -> Ints {
    match (lo, hi) {
        (Some(lo), Some(hi)) => Ints { lo, hi },
        _ => Ints::ALL,
    }
}

fn constant(x: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whether f32 holds it is the question")]
    let exact = f64::from(x as f32) == x;
    Floats::rounded(x, x, if exact { 0.0 } else { SLACK })
}

#[expect(clippy::cast_precision_loss, reason = "what f64 rounds, the slack covers")]
fn to_float(a: Ints) -> Value {
    let (lo, hi) = (a.lo as f64, a.hi as f64);
    let exact = lo >= -EXACT_INTS && hi <= EXACT_INTS;
    Floats::rounded(lo, hi, if exact { 0.0 } else { SLACK })
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be within i32")]
fn floor(a: Floats) -> Value {
    let (lo, hi) = (a.lo.floor(), a.hi.floor());
    let fits = lo >= f64::from(i32::MIN) && hi <= f64::from(i32::MAX);
    if !fits {
        return Value::Int(Ints::ALL);
    }
    // Floors of what tables hold stop there.
    let (lo, hi) = (lo as i64, hi as i64);
    Value::Int(Ints::new(lo.min(LARGEST_FLOOR), hi.max(-LARGEST_FLOOR)))
}

fn slope(head: Ints, heads: i64) -> Value {
    // Decreasing, but for one step up where the second sequence begins.
    let turn = lower_power_of_two(heads);
    let inside = |head_there: i64| if head.contains(head_there) { head_there } else { head.lo };
    let ends = [head.lo, head.hi, inside(turn), inside(turn - 1)].map(|at| alibi_slope(at, heads));
    let lo = ends.into_iter().fold(f64::INFINITY, f64::min);
    let hi = ends.into_iter().fold(f64::NEG_INFINITY, f64::max);
    // The device computes it with `exp2`.
    Floats::rounded(lo, hi, EXP_SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over all small intervals: bounds hold, and those of `+ - * /` and of remainders in one period are attained.
    #[test]
    fn int_bounds_hold() {
        let ops: [fn(usize, usize) -> Op; 7] =
            [Op::Add, Op::Subtract, Op::Multiply, Op::Divide, Op::Remainder, Op::Min, Op::Max];
        let span = -5..=5_i64;
        for op in ops.map(|make| make(0, 1)) {
            let of = |a: i64, b: i64| match on_ints(&op, Ints::one(a), Ints::one(b)) {
                Ints { lo, hi } if lo == hi => lo,
                range => panic!("{op:?} of {a} and {b} is not one value: {range:?}"),
            };
            for lo in span.clone() {
                for hi in lo..=5 {
                    for (by_lo, by_hi) in span.clone().flat_map(|x| (x..=5).map(move |y| (x, y))) {
                        let bound = on_ints(&op, Ints::new(lo, hi), Ints::new(by_lo, by_hi));
                        let values: Vec<_> =
                            (lo..=hi).flat_map(|a| (by_lo..=by_hi).map(move |b| (a, b))).collect();
                        let values = || values.iter().map(|&(a, b)| of(a, b));
                        let exact = Ints::new(values().min().unwrap(), values().max().unwrap());
                        assert!(
                            bound.lo <= exact.lo && exact.hi <= bound.hi,
                            "{op:?} {lo} {hi} {by_lo} {by_hi}"
                        );
                        if !matches!(op, Op::Remainder(..)) {
                            assert_eq!(bound, exact, "{op:?} {lo} {hi} {by_lo} {by_hi}");
                        }
                    }
                }
            }
        }
    }
}
