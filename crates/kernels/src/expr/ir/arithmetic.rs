//! The arithmetic that evaluation, intervals and emission agree on.

use crate::expr::Comparison;

/// `a / b` rounded down; 0 where `b` is.
pub(crate) fn floor_divide(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let quotient = a.wrapping_div(b);
    // The remainder says whether truncating rounded up.
    if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
}

/// `a - b * floor_divide(a, b)`; 0 where `b` is.
pub(crate) fn floor_remainder(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let remainder = a.wrapping_rem(b);
    if remainder != 0 && (remainder < 0) != (b < 0) { remainder + b } else { remainder }
}

/// The lesser of two floats; NaN if either is.
pub(crate) fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// The greater of two floats; NaN if either is.
pub(crate) fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The greatest magnitude of the floor of a float that tables or the score decide: larger ones become this, NaN becomes 0.
/// Beyond it f32 no longer tells neighbouring ints apart.
pub(crate) const LARGEST_FLOOR: i64 = 1 << 24;

/// The floor of a float as an int, at most [`LARGEST_FLOOR`] away from 0 if `bounded`.
#[expect(clippy::cast_possible_truncation, reason = "saturates, and NaN becomes 0")]
pub(crate) fn floor(a: f64, bounded: bool) -> i64 {
    let floor = a.floor() as i64;
    if bounded { floor.clamp(-LARGEST_FLOOR, LARGEST_FLOOR) } else { floor }
}

/// The slope of `head` among `heads`: a geometric sequence that ends at 2^-8 where their number is a power of two, and
/// otherwise that of the closest lower power of two, followed by every other slope of twice as many heads.
///
/// Source: Press, Smith and Lewis 2022, section 3, and their published code.
#[expect(clippy::cast_precision_loss, reason = "heads are few")]
pub(crate) fn alibi_slope(head: i64, heads: i64) -> f64 {
    let lower = lower_power_of_two(heads);
    let exponent = if head < lower {
        8.0 * (head as f64 + 1.0) / lower as f64
    } else {
        4.0 * (2.0 * (head - lower) as f64 + 1.0) / lower as f64
    };
    (-exponent).exp2()
}

/// The greatest power of two that is not above `heads`, at least 1.
pub(crate) fn lower_power_of_two(heads: i64) -> i64 {
    1 << heads.max(1).ilog2()
}

/// Whether `a` and `b` compare as `by` says; with a NaN only `!=` holds.
pub(crate) fn compare<T: PartialOrd>(by: Comparison, a: &T, b: &T) -> bool {
    match by {
        Comparison::Equal => a == b,
        Comparison::NotEqual => a != b,
        Comparison::Less => a < b,
        Comparison::LessEqual => a <= b,
        Comparison::Greater => a > b,
        Comparison::GreaterEqual => a >= b,
    }
}

/// A count as an i64; counts beyond that do not fit in memory.
pub(crate) fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
