//! Expressions written in Rust instead of text: the same trees, checked the same way.
//!
//! ```
//! use foveal_kernels::expr::{Expr, build::{causal, table, var, window}};
//!
//! let mask = (causal() & window(255, 0)).mask()?;
//! assert_eq!(mask, "causal & window(255, 0)".parse()?);
//!
//! let bias = table("bias").at([var::b(), var::h(), var::q(), var::k()]);
//! let score = (var::s() + bias * 0.5).score()?;
//! assert_eq!(score.to_string(), "s + bias[b, h, q, k] * 0.5");
//! # Ok::<(), foveal_kernels::expr::ExprError>(())
//! ```

mod names;

use std::ops;

use super::{Comparison, Expr, ExprError};
use crate::expr::syntax::{
    lexer::check_float,
    names::Builtin,
    parser::MAX_NODES,
    print::print,
    tree::{Binary, Form, Node, NodeId, Unary},
};

pub use names::{
    TableName, alibi, blocks, causal, causal_top_left, dilated, disc, local, prefix, same, same_pair,
    shifted_blocks, sinks, slope, softcap, strided, table, var, window, window2d,
};

/// An expression in the making. Nothing is checked until [`Build::mask`], [`Build::score`] or [`Build::expr`]; what was
/// wrong on the way is kept until then.
#[derive(Clone, Debug)]
pub struct Build {
    /// The root is last.
    nodes: Vec<Node>,
    error: Option<ExprError>,
}

impl Build {
    /// The mask.
    ///
    /// # Errors
    ///
    /// Those of [`Build::expr`] and [`Expr::check`].
    pub fn mask(self) -> Result<Expr, ExprError> {
        let expression = self.expr()?;
        expression.check(super::ExprKind::Mask)?;
        Ok(expression)
    }

    /// The score.
    ///
    /// # Errors
    ///
    /// Those of [`Build::expr`] and [`Expr::check`].
    pub fn score(self) -> Result<Expr, ExprError> {
        let expression = self.expr()?;
        expression.check(super::ExprKind::Score)?;
        Ok(expression)
    }

    /// The expression, of either kind.
    ///
    /// # Errors
    ///
    /// A table's name that no text could write, a float beyond f32, or what [`Expr::parse`] says of the canonical text, in
    /// which the error's column counts.
    pub fn expr(self) -> Result<Expr, ExprError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Some(root) = self.nodes.len().checked_sub(1) else {
            return Err(ExprError::new(0, "the expression is empty"));
        };
        // Through the text: one checker, and columns that mean something.
        Expr::parse(&print(&self.nodes, root))
    }

    /// `self == other`, of two bools or two numbers.
    #[must_use]
    pub fn equal(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Compare(Comparison::Equal), other.into())
    }

    /// `self != other`, of two bools or two numbers.
    #[must_use]
    pub fn not_equal(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Compare(Comparison::NotEqual), other.into())
    }

    /// `self < other`.
    #[must_use]
    pub fn less(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Compare(Comparison::Less), other.into())
    }

    /// `self <= other`.
    #[must_use]
    pub fn less_equal(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Compare(Comparison::LessEqual), other.into())
    }

    /// `self > other`.
    #[must_use]
    pub fn greater(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Compare(Comparison::Greater), other.into())
    }

    /// `self >= other`.
    #[must_use]
    pub fn greater_equal(self, other: impl Into<Self>) -> Self {
        self.binary(Binary::Compare(Comparison::GreaterEqual), other.into())
    }

    /// `abs(self)`.
    #[must_use]
    pub fn abs(self) -> Self {
        Self::call(Builtin::Abs, [self])
    }

    /// `min(self, other)`.
    #[must_use]
    pub fn min(self, other: impl Into<Self>) -> Self {
        Self::call(Builtin::Min, [self, other.into()])
    }

    /// `max(self, other)`.
    #[must_use]
    pub fn max(self, other: impl Into<Self>) -> Self {
        Self::call(Builtin::Max, [self, other.into()])
    }

    /// `clamp(self, low, high)`, which is `min(max(self, low), high)`.
    #[must_use]
    pub fn clamp(self, low: impl Into<Self>, high: impl Into<Self>) -> Self {
        Self::call(Builtin::Clamp, [self, low.into(), high.into()])
    }

    /// `floor(self)`, an int.
    #[must_use]
    pub fn floor(self) -> Self {
        Self::call(Builtin::Floor, [self])
    }

    /// `sqrt(self)`.
    #[must_use]
    pub fn sqrt(self) -> Self {
        Self::call(Builtin::Sqrt, [self])
    }

    /// `exp(self)`.
    #[must_use]
    pub fn exp(self) -> Self {
        Self::call(Builtin::Exp, [self])
    }

    /// `log(self)`, natural.
    #[must_use]
    pub fn log(self) -> Self {
        Self::call(Builtin::Log, [self])
    }

    /// `tanh(self)`.
    #[must_use]
    pub fn tanh(self) -> Self {
        Self::call(Builtin::Tanh, [self])
    }

    /// `softcap(self, cap)`, which is `cap * tanh(self / cap)`, `cap` above 0.
    #[must_use]
    pub fn softcap(self, cap: impl Into<Self>) -> Self {
        Self::call(Builtin::Softcap, [self, cap.into()])
    }

    /// `alibi(self)`, which is `self - slope(h) * abs(qp - k)`. Press et al. 2022, section 3.
    #[must_use]
    pub fn alibi(self) -> Self {
        Self::call(Builtin::Alibi, [self])
    }

    pub(super) fn leaf(form: Form) -> Self {
        Self { nodes: vec![Node { form, column: 0, start: 0 }], error: None }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self { nodes: Vec::new(), error: Some(ExprError::new(0, message)) }
    }

    /// Takes the nodes of `other` too; where its root is then.
    fn append(&mut self, other: Self) -> NodeId {
        self.error = self.error.take().or(other.error);
        if self.nodes.len() + other.nodes.len() >= MAX_NODES && self.error.is_none() {
            // Doubling an expression sixty times is one line of code: stop before memory does.
            *self = Self::failed(format!("more than {MAX_NODES} names, numbers and operators"));
        }
        if self.error.is_some() {
            self.nodes.clear();
            return 0;
        }
        let offset = self.nodes.len();
        self.nodes.extend(
            other.nodes.into_iter().map(|node| Node { form: node.form.map(|child| child + offset), ..node }),
        );
        self.nodes.len() - 1
    }

    fn with_root(mut self, form: Form) -> Self {
        if self.error.is_none() {
            self.nodes.push(Node { form, column: 0, start: 0 });
        }
        self
    }

    fn unary(self, op: Unary) -> Self {
        Self::joined([self], |operands| Form::Unary(op, operands[0]))
    }

    fn binary(self, op: Binary, other: Self) -> Self {
        Self::joined([self, other], |operands| Form::Binary(op, operands[0], operands[1]))
    }

    pub(super) fn call<const N: usize>(builtin: Builtin, arguments: [Self; N]) -> Self {
        Self::joined(arguments, |operands| Form::Call(builtin, operands))
    }

    fn joined(operands: impl IntoIterator<Item = Self>, form: impl FnOnce(Vec<NodeId>) -> Form) -> Self {
        let mut joined: Option<Self> = None;
        let mut ids = Vec::new();
        for operand in operands {
            match &mut joined {
                // The first keeps its list, so that a long chain to the left costs no copies.
                None => {
                    ids.push(operand.nodes.len().saturating_sub(1));
                    joined = Some(operand);
                }
                Some(joined) => ids.push(joined.append(operand)),
            }
        }
        joined.unwrap_or(Self { nodes: Vec::new(), error: None }).with_root(form(ids))
    }
}

impl From<i32> for Build {
    fn from(value: i32) -> Self {
        Self::leaf(Form::Int(value.into()))
    }
}

impl From<f64> for Build {
    fn from(value: f64) -> Self {
        match check_float(value) {
            Ok(()) => Self::leaf(Form::Float(value)),
            Err(message) => Self::failed(format!("{message}, not {value}")),
        }
    }
}

impl From<bool> for Build {
    fn from(value: bool) -> Self {
        Self::leaf(Form::Bool(value))
    }
}

impl From<&Expr> for Build {
    fn from(expression: &Expr) -> Self {
        Self { nodes: expression.nodes().to_vec(), error: None }
    }
}

impl From<Expr> for Build {
    fn from(expression: Expr) -> Self {
        Self::from(&expression)
    }
}

macro_rules! operator {
    ($($name:ident $method:ident $op:expr;)*) => {$(
        impl<R: Into<Build>> ops::$name<R> for Build {
            type Output = Build;

            fn $method(self, other: R) -> Build {
                self.binary($op, other.into())
            }
        }
    )*};
}

operator! {
    BitOr bitor Binary::Or;
    BitAnd bitand Binary::And;
    Add add Binary::Add;
    Sub sub Binary::Subtract;
    Mul mul Binary::Multiply;
    Div div Binary::Divide;
    Rem rem Binary::Remainder;
}

impl ops::Not for Build {
    type Output = Self;

    fn not(self) -> Self {
        self.unary(Unary::Not)
    }
}

impl ops::Neg for Build {
    type Output = Self;

    fn neg(self) -> Self {
        self.unary(Unary::Negate)
    }
}
