//! The arithmetic that evaluation, intervals and emission agree on.

use super::Comparison;

/// `a / b` rounded down; 0 where `b` is.
pub(super) fn floor_divide(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let quotient = a.wrapping_div(b);
    // The remainder says whether truncating rounded up.
    if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
}

/// `a - b * floor_divide(a, b)`; 0 where `b` is.
pub(super) fn floor_remainder(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let remainder = a.wrapping_rem(b);
    if remainder != 0 && (remainder < 0) != (b < 0) { remainder + b } else { remainder }
}

/// The slope of `head` among `heads`: a geometric sequence that ends at 2^-8 where their number is a power of two, and
/// otherwise that of the closest lower power of two, followed by every other slope of twice as many heads.
///
/// Source: Press, Smith and Lewis 2022, section 3, and their published code.
#[expect(clippy::cast_precision_loss, reason = "heads are few")]
pub(super) fn alibi_slope(head: i64, heads: i64) -> f64 {
    let lower = lower_power_of_two(heads);
    let exponent = if head < lower {
        8.0 * (head as f64 + 1.0) / lower as f64
    } else {
        4.0 * (2.0 * (head - lower) as f64 + 1.0) / lower as f64
    };
    (-exponent).exp2()
}

/// The greatest power of two that is not above `heads`, at least 1.
pub(super) fn lower_power_of_two(heads: i64) -> i64 {
    1 << heads.max(1).ilog2()
}

/// Whether `a` and `b` compare as `by` says; with a NaN only `!=` holds.
pub(super) fn compare<T: PartialOrd>(by: Comparison, a: &T, b: &T) -> bool {
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
pub(super) fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
