//! Types of nodes and of their operands.

use super::{
    names::Builtin,
    tree::{Binary, Form, Node, NodeId, Unary},
};
use crate::{expr::Comparison, expr::ExprError, expr::Variable};

/// A value's type, as far as it is known before tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Float,
    /// Int or float: it comes from a table.
    Number,
}

impl Kind {
    fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Float, _) | (_, Self::Float) => Self::Float,
            (Self::Number, _) | (_, Self::Number) => Self::Number,
            _ => Self::Int,
        }
    }
}

/// The nodes so far and their types.
pub(crate) struct Typed<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) kinds: &'a [Kind],
}

impl Typed<'_> {
    /// The type of a node of form `form` at `column`.
    pub(crate) fn check(&self, form: &Form, column: usize) -> Result<Kind, ExprError> {
        match form {
            Form::Bool(_) | Form::Same(..) => Ok(Kind::Bool),
            Form::Int(_) | Form::Position => Ok(Kind::Int),
            Form::Variable(Variable::Score) | Form::Float(_) => Ok(Kind::Float),
            Form::Variable(_) => Ok(Kind::Int),
            Form::Unary(Unary::Not, a) => self.truth(*a, "!", true),
            Form::Unary(Unary::Negate, a) => self.number(*a, "-"),
            Form::Binary(op, a, b) => self.binary(*op, *a, *b, column),
            Form::Call(builtin, arguments) => self.call(*builtin, arguments),
            Form::Lookup(name, indices) => {
                for &index in indices {
                    match self.kinds[index] {
                        Kind::Int | Kind::Number => {}
                        other => {
                            return Err(self.error(
                                index,
                                format!("an index of `{name}` is an int, this is {}", an(other)),
                            ));
                        }
                    }
                }
                Ok(Kind::Number)
            }
        }
    }

    fn error(&self, node: NodeId, message: String) -> ExprError {
        ExprError::new(self.nodes[node].start, message)
    }

    fn truth(&self, node: NodeId, sign: &str, negated: bool) -> Result<Kind, ExprError> {
        let kind = self.kinds[node];
        if kind == Kind::Bool {
            return Ok(kind);
        }
        let mut message = format!("`{sign}` takes bools, this is {}", an(kind));
        if let Form::Lookup(name, _) = &self.nodes[node].form {
            message += &format!(": write `{name}[..] {} 0`", if negated { "==" } else { "!=" });
        }
        Err(self.error(node, message))
    }

    fn number(&self, node: NodeId, sign: &str) -> Result<Kind, ExprError> {
        match self.kinds[node] {
            Kind::Bool => Err(self.error(node, format!("`{sign}` takes numbers, this is a bool"))),
            kind => Ok(kind),
        }
    }

    fn binary(&self, op: Binary, a: NodeId, b: NodeId, column: usize) -> Result<Kind, ExprError> {
        let sign = op.symbol();
        match op {
            Binary::Or | Binary::And => {
                self.truth(a, sign, false)?;
                self.truth(b, sign, false)
            }
            Binary::Compare(comparison) => {
                let bools = (self.kinds[a] == Kind::Bool, self.kinds[b] == Kind::Bool);
                let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
                match bools {
                    (true, true) if equality => {}
                    (false, false) => {}
                    (true, true) => {
                        self.number(a, sign)?;
                    }
                    _ => {
                        let message =
                            format!("`{sign}` compares {} with {}", an(self.kinds[a]), an(self.kinds[b]));
                        return Err(ExprError::new(column, message));
                    }
                }
                Ok(Kind::Bool)
            }
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
                let kind = self.number(a, sign)?.joined(self.number(b, sign)?);
                let zero = match self.nodes[b].form {
                    Form::Int(value) => value == 0,
                    Form::Float(value) => value == 0.0,
                    _ => false,
                };
                if zero && matches!(op, Binary::Divide | Binary::Remainder) {
                    return Err(self.error(b, format!("`{sign}` by zero")));
                }
                Ok(kind)
            }
        }
    }

    /// Checks that a window of constant sides shows something.
    fn window(&self, arguments: &[NodeId]) -> Result<(), ExprError> {
        let &[left, right] = arguments else { return Ok(()) };
        let (&Form::Int(l), &Form::Int(r)) = (&self.nodes[left].form, &self.nodes[right].form) else {
            return Ok(());
        };
        if l + r >= 0 {
            return Ok(());
        }
        let message = format!(
            "`window({l}, {r})` shows no key: it is `qp - l <= k & k <= qp + r`; {}",
            without_limit(l, r)
        );
        Err(self.error(if l < 0 { left } else { right }, message))
    }

    fn call(&self, builtin: Builtin, arguments: &[NodeId]) -> Result<Kind, ExprError> {
        let name = builtin.name();
        let numbers =
            || arguments.iter().try_fold(Kind::Int, |kind, &node| Ok(kind.joined(self.number(node, name)?)));
        match builtin {
            Builtin::Alibi => numbers().map(|_| Kind::Float),
            Builtin::Abs | Builtin::Min | Builtin::Max | Builtin::Clamp => numbers(),
            Builtin::Floor => numbers().map(|_| Kind::Int),
            Builtin::Sqrt | Builtin::Exp | Builtin::Log | Builtin::Tanh => numbers().map(|_| Kind::Float),
            Builtin::Softcap => {
                numbers()?;
                let Some(&cap) = arguments.last() else { return Ok(Kind::Float) };
                let positive = match self.nodes[cap].form {
                    Form::Int(value) => value > 0,
                    Form::Float(value) => value > 0.0,
                    _ => true,
                };
                if !positive {
                    return Err(self.error(cap, "the cap of `softcap(c)` is above 0".into()));
                }
                Ok(Kind::Float)
            }
            _ => {
                for (&node, (parameter, min)) in arguments.iter().zip(builtin.parameters()) {
                    let signature = builtin.signature();
                    if !matches!(self.kinds[node], Kind::Int | Kind::Number) {
                        let kind = an(self.kinds[node]);
                        let message = format!("`{parameter}` of `{signature}` is an int, this is {kind}");
                        return Err(self.error(node, message));
                    }
                    if let (Form::Int(value), Some(min)) = (&self.nodes[node].form, min)
                        && value < min
                    {
                        let message =
                            format!("`{parameter}` of `{signature}` is at least {min}, not {value}");
                        return Err(self.error(node, message));
                    }
                }
                if builtin == Builtin::Window {
                    self.window(arguments)?;
                }
                Ok(if builtin.is_mask() { Kind::Bool } else { Kind::Float })
            }
        }
    }
}

/// How a window without a limit on one side is written, which other libraries write as -1.
fn without_limit(l: i64, r: i64) -> String {
    let at = |sign: &str, distance: i64| match distance {
        0 => "qp".to_owned(),
        _ => format!("qp {sign} {distance}"),
    };
    match (l < 0, r < 0) {
        (true, false) => format!("no limit to the left is written `k <= {}`", at("+", r)),
        (false, true) => format!("no limit to the right is written `{} <= k`", at("-", l)),
        _ => "without limits on either side there is no window to write".to_owned(),
    }
}

/// The name of a type behind its article.
fn an(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "a bool",
        Kind::Int => "an int",
        Kind::Float => "a float",
        Kind::Number => "a number",
    }
}
