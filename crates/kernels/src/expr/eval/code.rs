//! Steps as they are executed: operands are slots, types are settled.

use super::super::{Comparison, Op, OwnLengths, Program, StepId, Type, Variable};
use crate::expr::ir::arithmetic::{floor_divide, floor_remainder, maximum, minimum};

/// An operation, and the slot of its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    pub(super) slot: u32,
    pub(super) code: Code,
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code {
    Int(i64),
    Float(f64),
    Variable(Variable),
    Not(u32),
    And(u32, u32),
    Or(u32, u32),
    CompareInt(Comparison, u32, u32),
    CompareFloat(Comparison, u32, u32),
    NegateInt(u32),
    NegateFloat(u32),
    AbsInt(u32),
    AbsFloat(u32),
    IntOf(Binary, u32, u32),
    FloatOf(Binary, u32, u32),
    /// Whether it is bounded.
    Floor(u32, bool),
    Sqrt(u32),
    Exp(u32),
    Log(u32),
    Tanh(u32),
    ToFloat(u32),
    Slope(u32),
    Lookup {
        table: u32,
        first: u32,
        count: u32,
        clamped: bool,
    },
}

impl Code {
    /// A look-up whose indices are moved into their table, if so.
    pub(super) fn clamped(self, so: bool) -> Self {
        match self {
            Self::Lookup { table, first, count, .. } => Self::Lookup { table, first, count, clamped: so },
            other => other,
        }
    }
}

/// Operations on two ints or two floats.
#[derive(Clone, Copy, Debug)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Min,
    Max,
}

/// The earliest level at which a value can be found: with the sizes, a row, a key, a score.
pub(super) fn own_level(op: &Op, own: OwnLengths) -> usize {
    match op {
        Op::Variable(Variable::Batch | Variable::Head | Variable::KvHead | Variable::Query) => 1,
        Op::Variable(variable) if own.include(*variable) => 1,
        // A constant index out of range is reported with the first row.
        Op::Lookup { .. } => 1,
        Op::Variable(Variable::Key) => 2,
        Op::Variable(Variable::Score) => 3,
        _ => 0,
    }
}

/// The instruction of a step whose operands have `slots`; lists of indices go to `indices`.
pub(super) fn encode(program: &Program, op: &Op, ty: Type, slots: &[u32], indices: &mut Vec<u32>) -> Code {
    let at = |id: StepId| slots[id];
    let float = ty == Type::Float;
    let binary = |op, a, b| {
        if float { Code::FloatOf(op, at(a), at(b)) } else { Code::IntOf(op, at(a), at(b)) }
    };
    match *op {
        Op::Bool(value) => Code::Int(i64::from(value)),
        Op::Int(value) => Code::Int(value),
        Op::Float(value) => Code::Float(value),
        Op::Variable(variable) => Code::Variable(variable),
        Op::Not(a) => Code::Not(at(a)),
        Op::And(a, b) => Code::And(at(a), at(b)),
        Op::Or(a, b) => Code::Or(at(a), at(b)),
        Op::Compare(by, a, b) if program.steps[a].ty == Type::Float => Code::CompareFloat(by, at(a), at(b)),
        Op::Compare(by, a, b) => Code::CompareInt(by, at(a), at(b)),
        Op::Negate(a) if float => Code::NegateFloat(at(a)),
        Op::Negate(a) => Code::NegateInt(at(a)),
        Op::Abs(a) if float => Code::AbsFloat(at(a)),
        Op::Abs(a) => Code::AbsInt(at(a)),
        Op::Add(a, b) => binary(Binary::Add, a, b),
        Op::Subtract(a, b) => binary(Binary::Subtract, a, b),
        Op::Multiply(a, b) => binary(Binary::Multiply, a, b),
        Op::Divide(a, b) => binary(Binary::Divide, a, b),
        Op::Remainder(a, b) => binary(Binary::Remainder, a, b),
        Op::Min(a, b) => binary(Binary::Min, a, b),
        Op::Max(a, b) => binary(Binary::Max, a, b),
        Op::Floor(a) => Code::Floor(at(a), false),
        Op::Sqrt(a) => Code::Sqrt(at(a)),
        Op::Exp(a) => Code::Exp(at(a)),
        Op::Log(a) => Code::Log(at(a)),
        Op::Tanh(a) => Code::Tanh(at(a)),
        Op::ToFloat(a) => Code::ToFloat(at(a)),
        Op::Slope(a) => Code::Slope(at(a)),
        Op::Lookup { table, indices: ref list } => {
            let first = indices.len();
            indices.extend(list.iter().map(|&id| at(id)));
            let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            Code::Lookup {
                table: small(table),
                first: small(first),
                count: small(list.len()),
                clamped: false,
            }
        }
        Op::Shape { lowered, .. } => Code::Or(at(lowered), at(lowered)),
    }
}

/// Ints wrap.
pub(super) fn on_ints(op: Binary, a: i64, b: i64) -> i64 {
    match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Subtract => a.wrapping_sub(b),
        Binary::Multiply => a.wrapping_mul(b),
        Binary::Divide => floor_divide(a, b),
        Binary::Remainder => floor_remainder(a, b),
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
    }
}

/// As IEEE 754 says; `min` and `max` of a NaN are NaN.
pub(super) fn on_floats(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::Remainder => a - b * (a / b).floor(),
        Binary::Min => minimum(a, b),
        Binary::Max => maximum(a, b),
    }
}
