//! Checks of expressions before they are planned: that the device's ints hold every value, that nothing
//! is divided by zero, and that tables are read where they have elements.

use super::{
    interval::{Ints, Value, ValueRange},
    linear::{CoefficientRange, forms},
    operations::{apply, table_values},
};
use crate::{
    Dtype,
    expr::{
        Op, OwnLengths, Program, Sizes, StepId, Type, Variable,
        ir::{
            arithmetic::{LARGEST_FLOOR, to_i64},
            dependence::{data_dependent, needed_steps, operands},
        },
    },
};

/// Errors of expressions, with their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Column of the text, counted from 1; 0 if there was no text.
    pub column: usize,
    /// The finding and its remedy.
    pub message: String,
}

impl Complaint {
    /// This complaint as an error of the argument `argument` (`mask`, `score`).
    #[must_use]
    pub fn in_argument(&self, argument: &str, text: &str) -> crate::Error {
        crate::expr::ExprError::new(self.column, self.message.clone()).with_text(text).in_argument(argument)
    }
}

/// Elements of i32 tables whose range is not given are taken to be within this of zero.
pub(crate) const ASSUMED: i64 = 1 << 24;

/// Checks `program` over all elements of a problem of these `sizes`:
///
/// - ints stay within i32, where elements of i32 tables, unless `ranges` (in the order of [`Program::tables`]) tells
///   theirs, are taken to be within 2^24 of zero;
/// - divisors of ints that depend on no table are never zero;
/// - indices that depend on no table and not on the score lie within their dimension, or its size is 1;
/// - constants are finite in f32.
///
/// # Errors
/// The first complaint, in the order of the steps.
pub fn check(program: &Program, sizes: Sizes, ranges: &[Option<ValueRange>]) -> Result<(), Complaint> {
    check_lengths(program, sizes, OwnLengths::default(), ranges)
}

/// The same where batch entries have lengths of their own, from 1 to those of `sizes`. Steps that depend on these
/// lengths are checked as far as they can be beforehand, as those that depend on tables are.
///
/// # Errors
/// As [`check`].
pub fn check_lengths(
    program: &Program,
    sizes: Sizes,
    own: OwnLengths,
    ranges: &[Option<ValueRange>],
) -> Result<(), Complaint> {
    if program.depends_on_lengths(own) {
        // Full entries are among those that may come.
        check_within(program, sizes, OwnLengths::default(), ranges)?;
    }
    check_within(program, sizes, own, ranges)
}

fn check_within(
    program: &Program,
    sizes: Sizes,
    own: OwnLengths,
    ranges: &[Option<ValueRange>],
) -> Result<(), Complaint> {
    let Some(steps) = Steps::of(program, sizes, own, ranges) else {
        // Nothing is evaluated where there is nothing; sizes beyond i32 are refused with the shapes.
        return Ok(());
    };
    let needed = needed_steps(program, program.steps.len().saturating_sub(1));
    let mut constant: Vec<bool> = Vec::with_capacity(program.steps.len());
    for (id, step) in program.steps.iter().enumerate() {
        let complain = |message: String| Err(Complaint { column: step.column, message });
        let varies = matches!(step.op, Op::Variable(_) | Op::Lookup { .. } | Op::Slope(_));
        constant.push(!varies && operands(&step.op).all(|operand| constant[operand]));
        if !needed[id] {
            continue;
        }
        let value = steps.values[id];
        if step.ty == Type::Float && constant[id] && value == Value::Unknown {
            return complain("this constant is no finite number of at most 3e38 in size".to_owned());
        }
        match &step.op {
            Op::Divide(_, b) | Op::Remainder(_, b)
                if step.ty == Type::Int && !steps.dependent[*b] && steps.int(*b).contains(0) =>
            {
                let what = if matches!(step.op, Op::Divide(..)) { "divisor" } else { "modulus" };
                let Ints { lo, hi } = steps.int(*b);
                let message = if lo == hi {
                    format!("the {what} is zero")
                } else {
                    format!("the {what} runs from {lo} to {hi}: it can be zero; use max(.., 1)")
                };
                return complain(message);
            }
            Op::Lookup { table, indices } => {
                if let Some(message) = bad_index(program, *table, indices, &steps) {
                    return complain(message);
                }
            }
            _ => {}
        }
        if step.ty == Type::Int
            && let Value::Int(range) = value
            && !range.fits_i32()
        {
            return complain(overflow(range));
        }
    }
    Ok(())
}

/// Bounds of every step over a whole problem.
pub(crate) struct Steps {
    pub(crate) values: Vec<Value>,
    /// Whether it depends on what tables hold, on lengths of batch entries or on the score.
    pub(crate) dependent: Vec<bool>,
}

impl Steps {
    pub(crate) fn of(
        program: &Program,
        sizes: Sizes,
        own: OwnLengths,
        ranges: &[Option<ValueRange>],
    ) -> Option<Self> {
        let whole = CoefficientRange::whole(sizes)?;
        let forms = forms(program, sizes, own);
        let dependent = data_dependent(program, own);
        let of_data = data_dependent(program, OwnLengths::default());
        let tables: Vec<_> = program
            .tables
            .iter()
            .zip(table_values(program, ranges))
            .enumerate()
            .map(|(i, (table, value))| {
                let known = ranges.get(i).is_some_and(Option::is_some);
                let unknown = table.element == Dtype::I32 && !known;
                if unknown { Value::Int(Ints::new(-ASSUMED, ASSUMED)) } else { value }
            })
            .collect();
        let mut values: Vec<Value> = Vec::with_capacity(program.steps.len());
        for (id, step) in program.steps.iter().enumerate() {
            let value = match (&step.op, forms[id]) {
                (Op::Variable(Variable::Score), _) => Value::Unknown,
                (_, Some(form)) => form.range(&whole).map_or(Value::Unknown, Value::Int),
                (Op::Variable(variable), _) => Value::Int(variable_range(*variable, &whole, sizes, own)),
                (Op::Floor(_), _) if of_data[id] => {
                    let (lo, hi) = (-LARGEST_FLOOR, LARGEST_FLOOR);
                    match apply(&step.op, step.ty, |id| values[id], &tables, to_i64(sizes.q_heads)) {
                        Value::Int(range) => {
                            Value::Int(Ints::new(range.lo.clamp(lo, hi), range.hi.clamp(lo, hi)))
                        }
                        _ => Value::Int(Ints::new(lo, hi)),
                    }
                }
                (op, _) => apply(op, step.ty, |id| values[id], &tables, to_i64(sizes.q_heads)),
            };
            values.push(value);
        }
        Some(Self { values, dependent })
    }

    pub(crate) fn int(&self, id: StepId) -> Ints {
        match self.values.get(id) {
            Some(Value::Int(range)) => *range,
            _ => Ints::ALL,
        }
    }
}

/// The least sizes with which `program`'s tables would be read in range in a problem of these `sizes`: table, dimension and
/// size of every index that depends on no table's contents. `None` if an index can be negative.
pub(crate) fn sizes_needed(program: &Program, sizes: Sizes) -> Option<Vec<(usize, usize, usize)>> {
    let steps = Steps::of(program, sizes, OwnLengths::default(), &[])?;
    let mut needed = Vec::new();
    for step in &program.steps {
        let Op::Lookup { table, indices } = &step.op else { continue };
        for (dimension, &index) in indices.iter().enumerate().filter(|(_, index)| !steps.dependent[**index]) {
            let Ints { lo, hi } = steps.int(index);
            let broadcasts = program.tables.get(*table)?.shape.get(dimension) == Some(&1);
            if lo < 0 && !broadcasts {
                return None;
            }
            let size = if broadcasts { 1 } else { usize::try_from(hi).ok()?.checked_add(1)? };
            needed.push((*table, dimension, size));
        }
    }
    Some(needed)
}

fn overflow(range: Ints) -> String {
    if range == Ints::ALL {
        return "this may not fit 32 bits".to_owned();
    }
    if range.lo == range.hi {
        return format!("this is {}, which does not fit 32 bits", range.lo);
    }
    format!("this runs from {} to {}, which does not fit 32 bits", range.lo, range.hi)
}

fn bad_index(program: &Program, table: usize, indices: &[StepId], steps: &Steps) -> Option<String> {
    let table = program.tables.get(table)?;
    for (dimension, (&index, &size)) in indices.iter().zip(&table.shape).enumerate() {
        let Ints { lo, hi } = steps.int(index);
        if size == 1 || steps.dependent[index] || (lo >= 0 && hi < to_i64(size)) {
            continue;
        }
        let name = &table.name;
        return Some(if lo == hi {
            format!("index {dimension} of `{name}` is {lo}, its size is {size}")
        } else {
            format!("index {dimension} of `{name}` runs from {lo} to {hi}, its size is {size}; use clamp(..)")
        });
    }
    None
}

fn variable_range(variable: Variable, whole: &CoefficientRange, sizes: Sizes, own: OwnLengths) -> Ints {
    match variable {
        // Entries without a query or a key have no elements.
        Variable::QueryCount if own.queries => Ints::new(1, to_i64(sizes.q_len)),
        Variable::KeyCount if own.keys => Ints::new(1, to_i64(sizes.kv_len)),
        Variable::Batch => whole.batch,
        Variable::Head => whole.head,
        Variable::KvHead => Ints::new(0, to_i64(sizes.kv_heads).saturating_sub(1).max(0)),
        Variable::Query => whole.query,
        Variable::Key => whole.key,
        Variable::QueryCount => Ints::one(to_i64(sizes.q_len)),
        Variable::KeyCount => Ints::one(to_i64(sizes.kv_len)),
        Variable::Score => Ints::ALL,
    }
}

/// Whether the index `step` depends on what tables hold or on the score, so that no check beforehand can tell that it is
/// in range.
#[must_use]
pub fn index_needs_clamp(program: &Program, step: StepId) -> bool {
    data_dependent(program, OwnLengths::default()).get(step).copied().unwrap_or(false)
}
