// Storage of q, k and v: f32, every row starting on a multiple of four elements and a multiple of four long.

import package::shared::aligned_rows::{q4, k4, v4};

alias Stored = vec4f;

fn unpacked(four: Stored) -> vec4f {
    return four;
}
