// Storage of q, k and v: f16 packed in pairs, every row starting on a multiple of four elements and a multiple of four long.
//
// Pairs lie in u32s on every adapter: the bytes are those of native 16-bit storage, and no feature is needed.

import package::shared::aligned_rows::{q4, k4, v4};

alias Stored = vec2u;

fn unpacked(pairs: Stored) -> vec4f {
    return vec4f(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}
