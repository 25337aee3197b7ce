//! The functions that expressions call.

/// Names of helpers and their texts.
pub(super) const HELPERS: [(&str, &str); 4] = [
    (
        "floor_divide",
        "// Rounded down; 0 where the divisor is. The device truncates.
fn floor_divide(a: i32, b: i32) -> i32 {
    let divisor = select(b, 1, b == 0);
    let truncated = a / divisor;
    let rest = a - truncated * divisor;
    let rounded_up = (rest != 0) & ((rest ^ divisor) < 0);
    return select(truncated - select(0, 1, rounded_up), 0, b == 0);
}
",
    ),
    (
        "floor_remainder",
        "// What rounding the quotient down leaves; 0 where the divisor is.
fn floor_remainder(a: i32, b: i32) -> i32 {
    let divisor = select(b, 1, b == 0);
    let rest = a - (a / divisor) * divisor;
    let rounded_up = (rest != 0) & ((rest ^ divisor) < 0);
    return select(rest + select(0, divisor, rounded_up), 0, b == 0);
}
",
    ),
    (
        "alibi_slope",
        "// Slopes of the closest lower power of two, then every other of twice as many. Press et al. 2022, section 3.
fn alibi_slope(head: i32) -> f32 {
    let lower = 1i << firstLeadingBit(params.q_heads);
    let first = 8.0 * f32(head + 1);
    let second = 4.0 * f32(2 * (head - lower) + 1);
    return exp2(-select(second, first, head < lower) / f32(lower));
}
",
    ),
    (
        "bounded_floor",
        "// The floor, at most 2^24 away from 0; 0 of NaN.
fn bounded_floor(x: f32) -> i32 {
    let bounded = clamp(floor(x), -16777216.0, 16777216.0);
    return i32(select(bounded, 0.0, is_nan(x)));
}
",
    ),
];
