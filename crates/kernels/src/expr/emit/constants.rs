//! Constants: operations on them, and how WGSL writes them.

use super::super::{Op, StepId};
use crate::expr::ir::arithmetic::{compare, floor, floor_divide, floor_remainder, maximum, minimum};

/// The value of a step that depends on nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Constant {
    Bool(bool),
    Int(i64),
    Float(f64),
}

/// The value of an operation whose operands are constants, as the reference has it. On the device the driver would
/// refuse some of these texts: a constant division by zero is an error there.
pub(super) fn fold(op: &Op, constants: &[Option<Constant>]) -> Option<Constant> {
    let constant = |id: StepId| constants[id];
    let int = |id: StepId| match constant(id)? {
        Constant::Int(value) => Some(value),
        _ => None,
    };
    let float = |id: StepId| match constant(id)? {
        Constant::Float(value) => Some(value),
        _ => None,
    };
    let truth = |id: StepId| match constant(id)? {
        Constant::Bool(value) => Some(value),
        _ => None,
    };
    let real = |id: StepId, of: fn(f64) -> f64| float(id).map(|x| Constant::Float(of(x)));
    let ints = |a: StepId, b: StepId, of: fn(i64, i64) -> i64| Some(Constant::Int(of(int(a)?, int(b)?)));
    let reals =
        |a: StepId, b: StepId, of: fn(f64, f64) -> f64| Some(Constant::Float(of(float(a)?, float(b)?)));
    match *op {
        Op::Bool(value) => Some(Constant::Bool(value)),
        Op::Int(value) => Some(Constant::Int(value)),
        Op::Float(value) => Some(Constant::Float(value)),
        Op::Not(a) => truth(a).map(|a| Constant::Bool(!a)),
        Op::And(a, b) => Some(Constant::Bool(truth(a)? & truth(b)?)),
        Op::Or(a, b) => Some(Constant::Bool(truth(a)? | truth(b)?)),
        Op::Compare(by, a, b) => Some(Constant::Bool(match (constant(a)?, constant(b)?) {
            (Constant::Int(a), Constant::Int(b)) => compare(by, &a, &b),
            (Constant::Float(a), Constant::Float(b)) => compare(by, &a, &b),
            (Constant::Bool(a), Constant::Bool(b)) => compare(by, &a, &b),
            _ => return None,
        })),
        Op::Negate(a) => {
            int(a).map(|a| Constant::Int(a.wrapping_neg())).or_else(|| real(a, std::ops::Neg::neg))
        }
        Op::Abs(a) => int(a).map(|a| Constant::Int(a.wrapping_abs())).or_else(|| real(a, f64::abs)),
        Op::Add(a, b) => ints(a, b, i64::wrapping_add).or_else(|| reals(a, b, |a, b| a + b)),
        Op::Subtract(a, b) => ints(a, b, i64::wrapping_sub).or_else(|| reals(a, b, |a, b| a - b)),
        Op::Multiply(a, b) => ints(a, b, i64::wrapping_mul).or_else(|| reals(a, b, |a, b| a * b)),
        Op::Divide(a, b) => ints(a, b, floor_divide).or_else(|| reals(a, b, |a, b| a / b)),
        Op::Remainder(a, b) => {
            ints(a, b, floor_remainder).or_else(|| reals(a, b, |a, b| a - b * (a / b).floor()))
        }
        Op::Min(a, b) => ints(a, b, i64::min).or_else(|| reals(a, b, minimum)),
        Op::Max(a, b) => ints(a, b, i64::max).or_else(|| reals(a, b, maximum)),
        Op::Floor(a) => float(a).map(|a| Constant::Int(floor(a, false))),
        Op::Sqrt(a) => real(a, f64::sqrt),
        Op::Exp(a) => real(a, f64::exp),
        Op::Log(a) => real(a, f64::ln),
        Op::Tanh(a) => real(a, f64::tanh),
        #[expect(clippy::cast_precision_loss, reason = "ints are within i32")]
        Op::ToFloat(a) => int(a).map(|a| Constant::Float(a as f64)),
        Op::Shape { lowered, .. } => constant(lowered),
        Op::Variable(_) | Op::Slope(_) | Op::Lookup { .. } => None,
    }
}

/// A constant as WGSL writes it. The checks before planning refuse what the device's numbers do not hold; here it becomes
/// the nearest that they do.
pub(super) fn literal(constant: Constant) -> String {
    match constant {
        Constant::Bool(value) => value.to_string(),
        Constant::Int(value) => match value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) {
            value if value == i64::from(i32::MIN) => "(-2147483647i - 1i)".to_owned(),
            value if value < 0 => format!("({value}i)"),
            value => format!("{value}i"),
        },
        Constant::Float(value) => {
            #[expect(clippy::cast_possible_truncation, reason = "f32 is what the device has")]
            let value = value as f32;
            let value = if value.is_nan() { 0.0 } else { value.clamp(f32::MIN, f32::MAX) };
            if value.is_sign_negative() { format!("({value:?}f)") } else { format!("{value:?}f") }
        }
    }
}
