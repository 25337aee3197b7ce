//! Values that are known while a shader is specialised, and WGSL's arithmetic on them.

use wgsl_parse::span::{Span, Spanned};
use wgsl_parse::syntax::{
    BinaryOperator, Expression, LiteralExpression, ParenthesizedExpression, UnaryExpression, UnaryOperator,
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

    fn as_f64(self) -> Option<f64> {
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
                // Out of range for every type it could end as; whoever reads the text says so.
                None => name_expr("INTEGER_OUT_OF_RANGE", span),
            },
            Self::Float(v) if v.is_sign_negative() => negative(LiteralExpression::AbstractFloat(-v)),
            Self::Float(v) => literal(LiteralExpression::AbstractFloat(v)),
            Self::F32(v) if v.is_sign_negative() => negative(LiteralExpression::F32(-v)),
            Self::F32(v) => literal(LiteralExpression::F32(v)),
        }
    }
}

fn range<T: TryFrom<i64>>(v: i64, ty: &str) -> Result<T, String> {
    T::try_from(v).map_err(|_| format!("{v} does not fit in {ty}"))
}

/// `op a`. `Ok(None)`: not an operation whose result is known.
pub(crate) fn unary(op: UnaryOperator, a: Known) -> Result<Option<Known>, String> {
    let overflow = || format!("the negation of {} overflows", a.num.text());
    let num = match (op, a.num) {
        (UnaryOperator::LogicalNegation, Num::Bool(v)) => Num::Bool(!v),
        (UnaryOperator::Negation, Num::Int(v)) => Num::Int(v.checked_neg().ok_or_else(overflow)?),
        (UnaryOperator::Negation, Num::I32(v)) if a.constant => {
            Num::I32(v.checked_neg().ok_or_else(overflow)?)
        }
        (UnaryOperator::Negation, Num::I32(v)) => Num::I32(v.wrapping_neg()),
        (UnaryOperator::Negation, Num::Float(v)) => Num::Float(-v),
        (UnaryOperator::Negation, Num::F32(v)) => Num::F32(-v),
        (UnaryOperator::BitwiseComplement, Num::Int(v)) => Num::Int(!v),
        (UnaryOperator::BitwiseComplement, Num::I32(v)) => Num::I32(!v),
        (UnaryOperator::BitwiseComplement, Num::U32(v)) => Num::U32(!v),
        _ => return Ok(None),
    };
    Ok(Some(Known { num, constant: a.constant }))
}

/// `a op b`. `Ok(None)`: not an operation whose result is known.
pub(crate) fn binary(op: BinaryOperator, a: Known, b: Known) -> Result<Option<Known>, String> {
    let constant = a.constant && b.constant;
    let num = if let (Num::Bool(x), Num::Bool(y)) = (a.num, b.num) {
        Some(Num::Bool(match op {
            BinaryOperator::Equality => x == y,
            BinaryOperator::Inequality => x != y,
            BinaryOperator::BitwiseAnd | BinaryOperator::ShortCircuitAnd => x & y,
            BinaryOperator::BitwiseOr | BinaryOperator::ShortCircuitOr => x | y,
            _ => return Ok(None),
        }))
    } else if matches!(op, BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight) {
        shift(op, a.num, b.num, constant)?
    } else {
        match unify(a.num, b.num)? {
            Some((Num::U32(x), Num::U32(y))) => unsigned(op, x, y, constant)?,
            Some((Num::I32(x), Num::I32(y))) => signed(op, x, y, constant)?,
            Some((Num::Int(x), Num::Int(y))) => abstract_int(op, x, y)?,
            Some((Num::Float(x), Num::Float(y))) => compare(op, &x, &y).map(Num::Bool),
            _ => None,
        }
    };
    Ok(num.map(|num| Known { num, constant }))
}

/// The operands in one type. `Ok(None)`: arithmetic on these is not done here.
fn unify(a: Num, b: Num) -> Result<Option<(Num, Num)>, String> {
    Ok(match (a, b) {
        (Num::U32(_), Num::U32(_)) | (Num::I32(_), Num::I32(_)) | (Num::Int(_), Num::Int(_)) => Some((a, b)),
        (Num::Int(v), Num::U32(_)) => Some((Num::U32(range(v, "u32")?), b)),
        (Num::U32(_), Num::Int(v)) => Some((a, Num::U32(range(v, "u32")?))),
        (Num::Int(v), Num::I32(_)) => Some((Num::I32(range(v, "i32")?), b)),
        (Num::I32(_), Num::Int(v)) => Some((a, Num::I32(range(v, "i32")?))),
        (Num::U32(_), Num::I32(_)) | (Num::I32(_), Num::U32(_)) => {
            return Err(format!("{} and {} are of different types", a.text(), b.text()));
        }
        (Num::F32(_), _) | (_, Num::F32(_)) => match (a.convert("f32")?, b.convert("f32")?) {
            (Some(x), Some(y)) => x.as_f64().zip(y.as_f64()).map(|(x, y)| (Num::Float(x), Num::Float(y))),
            _ => None,
        },
        _ => a.as_f64().zip(b.as_f64()).map(|(x, y)| (Num::Float(x), Num::Float(y))),
    })
}

fn compare<T: PartialOrd>(op: BinaryOperator, x: &T, y: &T) -> Option<bool> {
    Some(match op {
        BinaryOperator::Equality => x == y,
        BinaryOperator::Inequality => x != y,
        BinaryOperator::LessThan => x < y,
        BinaryOperator::LessThanEqual => x <= y,
        BinaryOperator::GreaterThan => x > y,
        BinaryOperator::GreaterThanEqual => x >= y,
        _ => return None,
    })
}

fn failed(op: BinaryOperator, x: impl std::fmt::Display, y: impl std::fmt::Display, ty: &str) -> String {
    let what = match op {
        BinaryOperator::Division | BinaryOperator::Remainder => "divides by zero or overflows",
        _ => "overflows",
    };
    format!("the constant expression {x} {op} {y} {what} in {ty}")
}

fn unsigned(op: BinaryOperator, x: u32, y: u32, constant: bool) -> Result<Option<Num>, String> {
    let (checked, wrapped) = match op {
        BinaryOperator::Addition => (x.checked_add(y), x.wrapping_add(y)),
        BinaryOperator::Subtraction => (x.checked_sub(y), x.wrapping_sub(y)),
        BinaryOperator::Multiplication => (x.checked_mul(y), x.wrapping_mul(y)),
        // WGSL defines x / 0 as x and x % 0 as 0 at run time.
        BinaryOperator::Division => (x.checked_div(y), x.checked_div(y).unwrap_or(x)),
        BinaryOperator::Remainder => (x.checked_rem(y), x.checked_rem(y).unwrap_or(0)),
        BinaryOperator::BitwiseAnd => (Some(x & y), x & y),
        BinaryOperator::BitwiseOr => (Some(x | y), x | y),
        BinaryOperator::BitwiseXor => (Some(x ^ y), x ^ y),
        _ => return Ok(compare(op, &x, &y).map(Num::Bool)),
    };
    let value = if constant { checked.ok_or_else(|| failed(op, x, y, "u32"))? } else { wrapped };
    Ok(Some(Num::U32(value)))
}

fn signed(op: BinaryOperator, x: i32, y: i32, constant: bool) -> Result<Option<Num>, String> {
    let (checked, wrapped) = match op {
        BinaryOperator::Addition => (x.checked_add(y), x.wrapping_add(y)),
        BinaryOperator::Subtraction => (x.checked_sub(y), x.wrapping_sub(y)),
        BinaryOperator::Multiplication => (x.checked_mul(y), x.wrapping_mul(y)),
        // As for u32; MIN / -1 is MIN and MIN % -1 is 0 at run time.
        BinaryOperator::Division => (x.checked_div(y), x.checked_div(y).unwrap_or(x)),
        BinaryOperator::Remainder => (x.checked_rem(y), x.checked_rem(y).unwrap_or(0)),
        BinaryOperator::BitwiseAnd => (Some(x & y), x & y),
        BinaryOperator::BitwiseOr => (Some(x | y), x | y),
        BinaryOperator::BitwiseXor => (Some(x ^ y), x ^ y),
        _ => return Ok(compare(op, &x, &y).map(Num::Bool)),
    };
    let value = if constant { checked.ok_or_else(|| failed(op, x, y, "i32"))? } else { wrapped };
    Ok(Some(Num::I32(value)))
}

/// Abstract integers never reach run time, so nothing wraps.
fn abstract_int(op: BinaryOperator, x: i64, y: i64) -> Result<Option<Num>, String> {
    let checked = match op {
        BinaryOperator::Addition => x.checked_add(y),
        BinaryOperator::Subtraction => x.checked_sub(y),
        BinaryOperator::Multiplication => x.checked_mul(y),
        BinaryOperator::Division => x.checked_div(y),
        BinaryOperator::Remainder => x.checked_rem(y),
        BinaryOperator::BitwiseAnd => Some(x & y),
        BinaryOperator::BitwiseOr => Some(x | y),
        BinaryOperator::BitwiseXor => Some(x ^ y),
        _ => return Ok(compare(op, &x, &y).map(Num::Bool)),
    };
    Ok(Some(Num::Int(checked.ok_or_else(|| failed(op, x, y, "64 bits"))?)))
}

fn shift(op: BinaryOperator, a: Num, b: Num, constant: bool) -> Result<Option<Num>, String> {
    let amount = match b {
        Num::U32(v) => v,
        Num::Int(v) => range(v, "u32")?,
        _ => return Ok(None),
    };
    let width = if matches!(a, Num::Int(_)) { 64 } else { 32 };
    let lost = || failed(op, a.text(), b.text(), a.type_name());
    if constant && amount >= width {
        return Err(lost());
    }
    // At run time only the low bits of the amount count.
    let amount = amount % width;
    let left = op == BinaryOperator::ShiftLeft;
    Ok(Some(match a {
        Num::U32(v) if left => {
            let shifted = v << amount;
            if constant && shifted >> amount != v {
                return Err(lost());
            }
            Num::U32(shifted)
        }
        Num::I32(v) if left => {
            let shifted = v << amount;
            if constant && shifted >> amount != v {
                return Err(lost());
            }
            Num::I32(shifted)
        }
        Num::Int(v) if left => {
            let shifted = v << amount;
            if shifted >> amount != v {
                return Err(lost());
            }
            Num::Int(shifted)
        }
        Num::U32(v) => Num::U32(v >> amount),
        Num::I32(v) => Num::I32(v >> amount),
        Num::Int(v) => Num::Int(v >> amount),
        _ => return Ok(None),
    }))
}

/// `min`, `max`, `clamp`, `abs` and `select` of known arguments. `Ok(None)`: another function, or floats.
pub(crate) fn builtin(name: &str, arguments: &[Known]) -> Result<Option<Known>, String> {
    let constant = arguments.iter().all(|a| a.constant);
    let less =
        |a: Num, b: Num| Ok::<_, String>(matches!(unify(a, b)?, Some((x, y)) if x.as_i64() < y.as_i64()));
    // The result has the type that both arguments have in common.
    let common = |a: Num, like: Num| Ok::<_, String>(unify(a, like)?.map_or(a, |(a, _)| a));
    let ints = arguments.iter().all(|a| a.num.is_int());
    let num = match (name, arguments) {
        ("min", [a, b]) if ints => {
            common(if less(b.num, a.num)? { b.num } else { a.num }, pick(a.num, b.num))?
        }
        ("max", [a, b]) if ints => {
            common(if less(a.num, b.num)? { b.num } else { a.num }, pick(a.num, b.num))?
        }
        ("clamp", [x, low, high]) if ints => {
            let like = pick(pick(x.num, low.num), high.num);
            let raised = if less(x.num, low.num)? { low.num } else { x.num };
            common(if less(high.num, raised)? { high.num } else { raised }, like)?
        }
        ("abs", [Known { num: Num::I32(v), .. }]) => Num::I32(v.wrapping_abs()),
        ("abs", [Known { num: Num::U32(v), .. }]) => Num::U32(*v),
        ("select", [no, yes, Known { num: Num::Bool(which), .. }]) if ints => {
            common(if *which { yes.num } else { no.num }, pick(no.num, yes.num))?
        }
        ("select", [no, yes, Known { num: Num::Bool(which), .. }])
            if no.num.is_discrete() && yes.num.is_discrete() =>
        {
            if *which {
                yes.num
            } else {
                no.num
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(Known { num, constant }))
}

/// The one of two numbers whose type is concrete.
fn pick(a: Num, b: Num) -> Num {
    if matches!(a, Num::Int(_)) { b } else { a }
}
