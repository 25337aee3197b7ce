//! Folding without sizes: constants are computed, and bools that cannot matter vanish.
//!
//! Ints are exact. Floats are left alone, since the device would round where the reference does not; only signs are taken.

use super::{
    check::Kind,
    tree::{Binary, Form, Node, NodeId, Unary},
};
use crate::expr::{ExprError, ir::arithmetic::compare};

/// The result of folding a node.
pub(crate) enum Folded {
    /// The node as it is.
    Kept,
    /// One of its operands.
    Operand(NodeId),
    /// A constant.
    Constant(Form),
}

/// Folds the well-typed `form` at `column`.
///
/// # Errors
///
/// If an int is beyond 32 bits.
pub(crate) fn fold(nodes: &[Node], kinds: &[Kind], form: &Form, column: usize) -> Result<Folded, ExprError> {
    let int = |value: Option<i64>| match value {
        Some(value) if i32::try_from(value).is_ok() => Ok(Folded::Constant(Form::Int(value))),
        Some(value) => Err(ExprError::new(column, format!("this is {value}, which no int of 32 bits holds"))),
        None => Ok(Folded::Kept),
    };
    let operand = |id: NodeId| &nodes[id].form;
    match form {
        Form::Unary(Unary::Not, a) => Ok(match operand(*a) {
            Form::Bool(value) => Folded::Constant(Form::Bool(!value)),
            Form::Unary(Unary::Not, inner) => Folded::Operand(*inner),
            _ => Folded::Kept,
        }),
        Form::Unary(Unary::Negate, a) => match operand(*a) {
            Form::Int(value) => int(value.checked_neg()),
            Form::Float(value) => Ok(Folded::Constant(Form::Float(-value))),
            Form::Unary(Unary::Negate, inner) => Ok(Folded::Operand(*inner)),
            _ => Ok(Folded::Kept),
        },
        Form::Binary(op, a, b) => match (op, operand(*a), operand(*b)) {
            (Binary::And, Form::Bool(true), _) | (Binary::Or, Form::Bool(false), _) => {
                Ok(Folded::Operand(*b))
            }
            (Binary::And, _, Form::Bool(true)) | (Binary::Or, _, Form::Bool(false)) => {
                Ok(Folded::Operand(*a))
            }
            (Binary::And, Form::Bool(false), _) | (Binary::And, _, Form::Bool(false)) => {
                Ok(Folded::Constant(Form::Bool(false)))
            }
            (Binary::Or, Form::Bool(true), _) | (Binary::Or, _, Form::Bool(true)) => {
                Ok(Folded::Constant(Form::Bool(true)))
            }
            (Binary::Compare(comparison), Form::Int(x), Form::Int(y)) => {
                Ok(Folded::Constant(Form::Bool(compare(*comparison, x, y))))
            }
            (Binary::Compare(comparison), Form::Bool(x), Form::Bool(y)) => {
                Ok(Folded::Constant(Form::Bool(compare(*comparison, x, y))))
            }
            (op, Form::Int(x), Form::Int(y)) => int(arithmetic(*op, *x, *y)),
            _ => Ok(Folded::Kept),
        },
        Form::Call(builtin, arguments) => {
            use super::names::Builtin;
            let ints: Option<Vec<i64>> = arguments
                .iter()
                .map(|&id| if let Form::Int(value) = operand(id) { Some(*value) } else { None })
                .collect();
            match (builtin, ints.as_deref()) {
                (Builtin::Abs, Some([x])) => int(x.checked_abs()),
                (Builtin::Min, Some([x, y])) => int(Some(*x.min(y))),
                (Builtin::Max, Some([x, y])) => int(Some(*x.max(y))),
                (Builtin::Clamp, Some([x, low, high])) => int(Some(*x.max(low).min(high))),
                (Builtin::Floor, _) if kinds[arguments[0]] == Kind::Int => Ok(Folded::Operand(arguments[0])),
                _ => Ok(Folded::Kept),
            }
        }
        _ => Ok(Folded::Kept),
    }
}

/// Arithmetic of int constants; `None` where it overflows and for what is no arithmetic.
pub(crate) fn arithmetic(op: Binary, a: i64, b: i64) -> Option<i64> {
    match op {
        Binary::Add => a.checked_add(b),
        Binary::Subtract => a.checked_sub(b),
        Binary::Multiply => a.checked_mul(b),
        Binary::Divide => floor_divide(a, b),
        Binary::Remainder => floor_divide(a, b).and_then(|quotient| a.checked_sub(quotient.checked_mul(b)?)),
        Binary::Or | Binary::And | Binary::Compare(_) => None,
    }
}

fn floor_divide(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    let inexact = a.checked_rem(b)? != 0;
    Some(if inexact && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_round_down() {
        for (a, b, quotient, remainder) in
            [(7, 2, 3, 1), (-7, 2, -4, 1), (7, -2, -4, -1), (-7, -2, 3, -1), (-6, 2, -3, 0)]
        {
            assert_eq!(arithmetic(Binary::Divide, a, b), Some(quotient));
            assert_eq!(arithmetic(Binary::Remainder, a, b), Some(remainder));
        }
        assert_eq!(arithmetic(Binary::Divide, 1, 0), None);
        assert_eq!(arithmetic(Binary::Remainder, i64::MIN, -1), None);
    }
}
