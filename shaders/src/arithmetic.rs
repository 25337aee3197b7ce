//! WGSL's arithmetic on known values.

use wgsl_parse::syntax::{BinaryOperator, UnaryOperator};

use crate::value::{Known, Num, range};

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
            Some((Num::Float(x), Num::Float(y))) => compare(op, &x, &y).map(Num::Bool),
            Some((x, y)) => integers(op, x, y, constant)?,
            None => None,
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

/// The error of a constant expression.
fn failed(op: BinaryOperator, x: Num, y: Num) -> String {
    let what = match op {
        BinaryOperator::Division | BinaryOperator::Remainder => "divides by zero or overflows",
        _ => "overflows",
    };
    let ty = if matches!(x, Num::Int(_)) { "64 bits" } else { x.type_name() };
    format!("the constant expression {} {op} {} {what} in {ty}", digits(x), digits(y))
}

/// A number without the suffix of its type.
fn digits(num: Num) -> String {
    num.as_i64().map_or_else(|| num.text(), |v| v.to_string())
}

/// `a op b` of integers of one type.
fn integers(op: BinaryOperator, a: Num, b: Num, constant: bool) -> Result<Option<Num>, String> {
    let (Some(x), Some(y)) = (a.as_i64().map(i128::from), b.as_i64().map(i128::from)) else {
        return Ok(None);
    };
    // Exact in 128 bits. A remainder is one where the quotient is in range.
    let quotient = x.checked_div(y);
    let exact = match op {
        BinaryOperator::Addition => Some(x + y),
        BinaryOperator::Subtraction => Some(x - y),
        BinaryOperator::Multiplication => Some(x * y),
        BinaryOperator::Division => quotient,
        BinaryOperator::Remainder => quotient.filter(|q| in_type(a, *q).is_some()).map(|q| x - q * y),
        BinaryOperator::BitwiseAnd => Some(x & y),
        BinaryOperator::BitwiseOr => Some(x | y),
        BinaryOperator::BitwiseXor => Some(x ^ y),
        _ => return Ok(compare(op, &x, &y).map(Num::Bool)),
    };
    match exact.and_then(|v| in_type(a, v)) {
        Some(num) => Ok(Some(num)),
        // Abstract integers never reach run time, so nothing wraps.
        None if constant || matches!(a, Num::Int(_)) => Err(failed(op, a, b)),
        // At run time x / 0 is x and x % 0 is 0; the least integer / -1 is itself, and leaves 0.
        None if op == BinaryOperator::Remainder => Ok(in_type(a, 0)),
        None => Ok(Some(wrapped(a, exact.unwrap_or(x)))),
    }
}

/// A number in the type of `like`, if that holds it.
fn in_type(like: Num, v: i128) -> Option<Num> {
    match like {
        Num::U32(_) => u32::try_from(v).ok().map(Num::U32),
        Num::I32(_) => i32::try_from(v).ok().map(Num::I32),
        _ => i64::try_from(v).ok().map(Num::Int),
    }
}

/// The same of a `u32` or `i32` of any size.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "integers wrap at run time")]
fn wrapped(like: Num, v: i128) -> Num {
    match like {
        Num::U32(_) => Num::U32(v as u32),
        _ => Num::I32(v as i32),
    }
}

fn shift(op: BinaryOperator, a: Num, b: Num, constant: bool) -> Result<Option<Num>, String> {
    let amount = match b {
        Num::U32(v) => v,
        Num::Int(v) => range(v, "u32")?,
        _ => return Ok(None),
    };
    let Some(x) = a.as_i64().map(i128::from) else { return Ok(None) };
    let width = if matches!(a, Num::Int(_)) { 64 } else { 32 };
    if constant && amount >= width {
        return Err(failed(op, a, b));
    }
    // At run time only the low bits of the amount count.
    let amount = amount % width;
    let exact = if op == BinaryOperator::ShiftLeft { x << amount } else { x >> amount };
    match in_type(a, exact) {
        Some(num) => Ok(Some(num)),
        None if constant || matches!(a, Num::Int(_)) => Err(failed(op, a, b)),
        None => Ok(Some(wrapped(a, exact))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The result at run time, and the one of a constant expression.
    fn both(op: BinaryOperator, a: Num, b: Num) -> (Option<Num>, Option<Num>) {
        let of = |constant| {
            let known = |num| Known { num, constant };
            binary(op, known(a), known(b)).ok().flatten().map(|known| known.num)
        };
        (of(false), of(true))
    }

    #[test]
    fn integers_wrap_at_run_time_only() {
        use BinaryOperator as Op;
        let (i, u) = (Num::I32, Num::U32);
        for (op, a, b, wrapped) in [
            (Op::Addition, i(i32::MAX), i(1), i(i32::MIN)),
            (Op::Subtraction, u(0), u(1), u(u32::MAX)),
            (Op::Multiplication, u(u32::MAX), u(u32::MAX), u(1)),
            (Op::Multiplication, i(i32::MIN), i(i32::MIN), i(0)),
            (Op::Division, i(i32::MIN), i(-1), i(i32::MIN)),
            (Op::Remainder, i(i32::MIN), i(-1), i(0)),
            (Op::Division, u(7), u(0), u(7)),
            (Op::Remainder, i(-7), i(0), i(0)),
            (Op::ShiftLeft, i(1), u(31), i(i32::MIN)),
            (Op::ShiftLeft, u(3), u(33), u(6)),
        ] {
            assert_eq!(both(op, a, b), (Some(wrapped), None), "{a:?} {op} {b:?}");
        }
        for (op, a, b, exact) in [
            (Op::Remainder, i(-7), i(3), i(-1)),
            (Op::Division, i(-7), i(2), i(-3)),
            (Op::BitwiseXor, i(-1), i(5), i(-6)),
            (Op::ShiftRight, i(-8), u(1), i(-4)),
            (Op::ShiftLeft, i(-1), u(31), i(i32::MIN)),
            (Op::LessThan, u(u32::MAX), u(1), Num::Bool(false)),
            (Op::Addition, Num::Int(2), u(3), u(5)),
        ] {
            assert_eq!(both(op, a, b), (Some(exact), Some(exact)), "{a:?} {op} {b:?}");
        }
        // Abstract integers have no run time.
        assert_eq!(both(Op::Multiplication, Num::Int(i64::MAX), Num::Int(2)), (None, None));
    }
}
