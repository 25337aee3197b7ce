//! Values that are known while a shader is specialised.

use wgsl_parse::span::{Span, Spanned};
use wgsl_parse::syntax::{
    Expression, LiteralExpression, ParenthesizedExpression, UnaryExpression, UnaryOperator,
};

use crate::request::Value;
use crate::tree::{Expr, call, name_expr};

/// A number or truth value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Num {
    Bool(bool),
    /// WGSL's AbstractInt.
    Int(i64),
    I32(i32),
    U32(u32),
    /// Floats are known only so that comparisons with them can be decided; no arithmetic is done on them.
    Float(f64),
    F32(f32),
}

/// A value, and whether WGSL too calls its expression constant.
///
/// The distinction decides about overflow. In a const-expression it is an error. A loop variable or a `let` is known here
/// but is a run-time value in WGSL, where integers wrap and division by zero is defined: the unrolled program must do the
/// same as the rolled one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) num: Num,
    pub(crate) constant: bool,
}

impl Num {
    pub(crate) fn of_literal(literal: &LiteralExpression) -> Option<Self> {
        Some(match *literal {
            LiteralExpression::Bool(v) => Self::Bool(v),
            LiteralExpression::AbstractInt(v) => Self::Int(v),
            LiteralExpression::I32(v) => Self::I32(v),
            LiteralExpression::U32(v) => Self::U32(v),
            LiteralExpression::AbstractFloat(v) => Self::Float(v),
            LiteralExpression::F32(v) => Self::F32(v),
            _ => return None,
        })
    }

    pub(crate) fn of_value(value: Value) -> Self {
        match value {
            Value::Bool(v) => Self::Bool(v),
            Value::U32(v) => Self::U32(v),
            Value::I32(v) => Self::I32(v),
            Value::F32(v) => Self::F32(v),
        }
    }

    /// Whether uses may be replaced by the value's literal.
    pub(crate) fn is_discrete(self) -> bool {
        !matches!(self, Self::Float(_) | Self::F32(_))
    }

    pub(crate) fn is_int(self) -> bool {
        matches!(self, Self::Int(_) | Self::I32(_) | Self::U32(_))
    }

    pub(crate) fn as_bool(self) -> Option<bool> {
        if let Self::Bool(v) = self { Some(v) } else { None }
    }

    pub(crate) fn as_i64(self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(v),
            Self::I32(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            _ => None,
        }
    }

    pub(crate) fn as_f64(self) -> Option<f64> {
        match self {
            // Exact for every integer that an f32 comparison could tell apart from its neighbours.
            #[expect(
                clippy::cast_precision_loss,
                reason = "compared with a float, which has fewer bits anyway"
            )]
            Self::Int(v) => Some(v as f64),
            Self::Float(v) => Some(v),
            Self::F32(v) => Some(v.into()),
            _ => None,
        }
    }

    /// The value in the named type by WGSL's implicit conversion. `Ok(None)`: that type is not one whose values are known.
    pub(crate) fn convert(self, ty: &str) -> Result<Option<Self>, String> {
        Ok(Some(match (ty, self) {
            ("bool", Self::Bool(_))
            | ("i32", Self::I32(_))
            | ("u32", Self::U32(_))
            | ("f32", Self::F32(_)) => self,
            ("i32", Self::Int(v)) => Self::I32(range(v, "i32")?),
            ("u32", Self::Int(v)) => Self::U32(range(v, "u32")?),
            ("f32", Self::Int(_) | Self::Float(_)) => {
                let wide = self.as_f64().unwrap_or(f64::NAN);
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "WGSL rounds an abstract float to f32 in the same way"
                )]
                let narrow = wide as f32;
                Self::F32(narrow)
            }
            ("bool" | "i32" | "u32" | "f32", _) => {
                return Err(format!("expected a value of type {ty}, found {}", self.type_name()));
            }
            _ => return Ok(None),
        }))
    }

    /// The value that a `let` or `var` without a type holds.
    pub(crate) fn concrete(self) -> Result<Self, String> {
        Ok(match self {
            Self::Int(v) => Self::I32(range(v, "i32")?),
            other => other,
        })
    }

    /// An explicit conversion `u32(x)`, `i32(x)`, `bool(x)`.
    pub(crate) fn cast(self, ty: &str) -> Result<Option<Self>, String> {
        Ok(Some(match (ty, self) {
            ("u32", Self::I32(v)) => Self::U32(v.cast_unsigned()),
            ("i32", Self::U32(v)) => Self::I32(v.cast_signed()),
            ("u32", Self::Bool(v)) => Self::U32(v.into()),
            ("i32", Self::Bool(v)) => Self::I32(v.into()),
            ("bool", v) if v.is_int() => Self::Bool(v.as_i64() != Some(0)),
            ("u32" | "i32" | "bool", v) if v.is_discrete() => return v.convert(ty),
            _ => return Ok(None),
        }))
    }

    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Int(_) => "an integer literal",
            Self::I32(_) => "i32",
            Self::U32(_) => "u32",
            Self::Float(_) => "a float literal",
            Self::F32(_) => "f32",
        }
    }

    /// As WGSL.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Bool(v) => v.to_string(),
            Self::Int(v) => v.to_string(),
            Self::I32(v) => format!("{v}i"),
            Self::U32(v) => format!("{v}u"),
            Self::Float(v) => format!("{v:?}"),
            Self::F32(v) => format!("{v:?}f"),
        }
    }

    /// An expression of this value that can stand anywhere an identifier can.
    pub(crate) fn to_expr(self, span: Span) -> Expr {
        let literal = |literal| Spanned::new(Expression::Literal(literal), span);
        let negative = |literal| {
            let operand = Spanned::new(Expression::Literal(literal), span);
            let unary = UnaryExpression { operator: UnaryOperator::Negation, operand };
            let expression = Spanned::new(Expression::Unary(unary), span);
            Spanned::new(Expression::Parenthesized(ParenthesizedExpression { expression }), span)
        };
        match self {
            Self::Bool(v) => literal(LiteralExpression::Bool(v)),
            Self::U32(v) => literal(LiteralExpression::U32(v)),
            Self::I32(v) if v >= 0 => literal(LiteralExpression::I32(v)),
            // WGSL has no literal for the least i32: its digits alone do not fit.
            Self::I32(i32::MIN) => call("i32", vec![negative(LiteralExpression::AbstractInt(1 << 31))], span),
            Self::I32(v) => negative(LiteralExpression::I32(-v)),
            Self::Int(v) if v >= 0 => literal(LiteralExpression::AbstractInt(v)),
            Self::Int(v) => match v.checked_neg() {
                Some(v) => negative(LiteralExpression::AbstractInt(v)),
                // Out of range for every type it could end as; the shader compiler says so.
                None => name_expr("INTEGER_OUT_OF_RANGE", span),
            },
            Self::Float(v) if v.is_sign_negative() => negative(LiteralExpression::AbstractFloat(-v)),
            Self::Float(v) => literal(LiteralExpression::AbstractFloat(v)),
            Self::F32(v) if v.is_sign_negative() => negative(LiteralExpression::F32(-v)),
            Self::F32(v) => literal(LiteralExpression::F32(v)),
        }
    }
}

pub(crate) fn range<T: TryFrom<i64>>(v: i64, ty: &str) -> Result<T, String> {
    T::try_from(v).map_err(|_| format!("{v} does not fit in {ty}"))
}
