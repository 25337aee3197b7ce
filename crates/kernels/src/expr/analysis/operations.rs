//! Bounds of tables' elements and of the results of operations.

use super::interval::{Floats, Ints, SLACK, SMALLEST_F32, Value, ValueRange};
use crate::{
    Dtype,
    expr::{
        Op, Program, StepId, Type,
        ir::arithmetic::{LARGEST_FLOOR, alibi_slope, lower_power_of_two},
    },
};

/// `exp` may be off by `3 + 2 |x|` units, where x is below 89.
const EXP_SLACK: f64 = 4e-5;
/// `log` near 1 and `tanh` near 0 have an absolute error besides: WGSL, section "Floating point accuracy".
const ABSOLUTE_SLACK: f64 = 1e-5;
const SMALLEST_F16: f64 = 6.2e-5;
/// Up to here f32 holds every int.
const EXACT_INTS: f64 = 16_777_216.0;

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
