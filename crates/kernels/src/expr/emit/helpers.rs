//! The functions that expressions call.

/// Names of helpers and their texts.
pub(super) const HELPERS: [(&str, &str); 9] = [
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
    return i32(select(bounded, 0.0, not_a_number(x)));
}
",
    ),
    (
        "exp_of",
        "// Built-in functions of some drivers swallow NaN.
fn exp_of(x: f32) -> f32 {
    return select(exp(x), x, not_a_number(x));
}
",
    ),
    (
        "tanh_of",
        "// Some drivers compute it from exponentials, which overflow; beyond 15 it is 1 in f32.
fn tanh_of(x: f32) -> f32 {
    return select(tanh(clamp(x, -15.0, 15.0)), x, not_a_number(x));
}
",
    ),
    (
        "log_of",
        "// -inf of 0, NaN of what is less; some drivers give finite numbers there. Subnormals count as 0.
fn log_of(x: f32) -> f32 {
    let size = bitcast<u32>(x) & 0x7fffffffu;
    let positive = select(log(x), x, size >= 0x7f800000u);
    return select(select(positive, undefined(), x < 0.0), params.negative_infinity, size < 0x00800000u);
}
",
    ),
    (
        "sqrt_of",
        "// NaN of what is less than 0.
fn sqrt_of(x: f32) -> f32 {
    return select(select(sqrt(x), undefined(), x < 0.0), x, not_a_number(x));
}
",
    ),
    (
        "undefined",
        "// NaN, made of what the compiler does not know.
fn undefined() -> f32 {
    return bitcast<f32>(bitcast<u32>(params.negative_infinity) | 0x00400000u);
}
",
    ),
];

/// Beside those: by its bits, since compilers may take it that there is no NaN.
pub(super) const NOT_A_NUMBER: &str = "fn not_a_number(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
";
