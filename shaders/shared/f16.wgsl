// f16 in pairs: two halves in a u32, the first in the lower half.

// Rounds to nearest, ties to even; what is too large becomes infinite. `pack2x16float` leaves that to the driver: on SwiftShader
// 1e5 becomes NaN, and a NaN reaches into the other half.
fn narrow_f16(value: vec2f) -> u32 {
    let bits = bitcast<vec2u>(value);
    let size = bits & vec2u(0x7fffffffu);
    // From 65520 on.
    let large = size >= vec2u(0x477ff000u);
    let pair = pack2x16float(select(value, vec2f(), large));
    let ends = ((bits >> vec2u(16u)) & vec2u(0x8000u)) | select(vec2u(0x7c00u), vec2u(0x7e00u), size > vec2u(0x7f800000u));
    let halves = select(vec2u(pair & 0xffffu, pair >> 16u), ends, large);
    return halves.x | (halves.y << 16u);
}

// Each rounded to f16, as `narrow_f16` does.
fn rounded_to_f16(value: vec4f) -> vec4f {
    return vec4f(unpack2x16float(narrow_f16(value.xy)), unpack2x16float(narrow_f16(value.zw)));
}
