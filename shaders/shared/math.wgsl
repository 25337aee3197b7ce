// Functions of f32 that are right at their ends, and give NaN for NaN, on every driver. Nothing branches.
//
// WGSL lets a driver assume that no value is NaN or infinite, and drivers do: SwiftShader has exp2(NaN) = inf, log(0) = -88 and
// tanh(89) = NaN, max drops NaN everywhere, compilers of OpenGL take x == x for true. So values are told apart by their bits.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// Neither NaN nor infinite.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

fn not_finite(x: vec4f) -> vec4<bool> {
    return (bitcast<vec4u>(x) & vec4u(0x7f800000u)) == vec4u(0x7f800000u);
}

fn is_negative_infinity(x: f32) -> bool {
    return bitcast<u32>(x) == 0xff800000u;
}

// x, or NaN.
fn nan_if(x: f32, odd: bool) -> f32 {
    return bitcast<f32>(select(bitcast<u32>(x), 0x7fc00000u, odd));
}

// Each x, or NaN.
fn nan_where(x: vec4f, odd: vec4<bool>) -> vec4f {
    return bitcast<vec4f>(select(bitcast<vec4u>(x), vec4u(0x7fc00000u), odd));
}

fn finite_or_nan(x: vec4f) -> vec4f {
    return nan_where(x, not_finite(x));
}

fn safe_exp(x: f32) -> f32 {
    return nan_if(exp(x), is_nan(x));
}

fn safe_exp2(x: f32) -> f32 {
    return nan_if(exp2(x), is_nan(x));
}

// Logarithm at x that is no positive number: -inf at either zero, inf at inf, NaN below zero; else `inside`.
fn logarithm_at_ends(x: f32, inside: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let at_inf = select(bitcast<u32>(inside), bits, bits >= 0x7f800000u);
    let below = select(at_inf, 0x7fc00000u, bits > 0x80000000u);
    return bitcast<f32>(select(below, 0xff800000u, (bits & 0x7fffffffu) == 0u));
}

// Subnormal numbers, which drivers may take for zero, are 2^-149 times their bits.
fn safe_log2(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let subnormal = bits < 0x00800000u;
    let inside = log2(select(x, f32(bits), subnormal)) - select(0.0, 149.0, subnormal);
    return logarithm_at_ends(x, inside);
}

fn safe_log(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let subnormal = bits < 0x00800000u;
    let inside = log(select(x, f32(bits), subnormal)) - select(0.0, 103.27892990343184, subnormal);
    return logarithm_at_ends(x, inside);
}

fn safe_sqrt(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let subnormal = bits < 0x00800000u;
    // 2^-149 = 2 * (2^-75)^2
    let inside = sqrt(select(x, f32(2u * min(bits, 0x00800000u)), subnormal)) * select(1.0, 2.6469779601696886e-23, subnormal);
    let odd = (bits > 0x80000000u) | is_nan(x);
    return nan_if(select(inside, x, bits == 0x80000000u), odd);
}

fn safe_tanh(x: f32) -> f32 {
    // One, to f32's precision, from 9.1 on.
    return nan_if(tanh(clamp(x, -10.0, 10.0)), is_nan(x));
}

fn nan_max(a: f32, b: f32) -> f32 {
    return nan_if(max(a, b), is_nan(a) | is_nan(b));
}

fn nan_min(a: f32, b: f32) -> f32 {
    return nan_if(min(a, b), is_nan(a) | is_nan(b));
}
