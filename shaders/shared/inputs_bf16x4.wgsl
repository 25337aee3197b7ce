// Storage of q, k and v: bf16 packed in pairs, every row starting on a multiple of four elements and a multiple of four long.
//
// Pairs lie in u32s on every adapter: the bytes are those of native 16-bit storage, and no feature is needed.

import package::shared::aligned_rows::{q4, k4, v4};
import package::shared::bf16::{widen_bf16};

alias Stored = vec2u;

fn unpacked(pairs: Stored) -> vec4f {
    return vec4f(widen_bf16(pairs.x), widen_bf16(pairs.y));
}
