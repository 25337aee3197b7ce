// bf16 in pairs: the upper halves of two f32s in a u32, the first in the lower half.

fn widen_bf16(pair: u32) -> vec2f {
    return bitcast<vec2f>(vec2u(pair << 16u, pair & 0xffff0000u));
}

// Rounds to nearest, ties to even. A NaN keeps its upper bits and is made quiet, so that rounding can't carry it into
// infinity.
fn narrow_bf16(value: vec2f) -> u32 {
    let bits = bitcast<vec2u>(value);
    let rounded = (bits + vec2u(0x7fffu) + ((bits >> vec2u(16u)) & vec2u(1u))) >> vec2u(16u);
    let quiet = (bits >> vec2u(16u)) | vec2u(0x40u);
    let halves = select(rounded, quiet, (bits & vec2u(0x7fffffffu)) > vec2u(0x7f800000u));
    return halves.x | (halves.y << 16u);
}
