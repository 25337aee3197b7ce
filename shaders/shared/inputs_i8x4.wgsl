// Storage of q: signed bytes, every row starting on a multiple of four and a multiple of four long.

import package::shared::aligned_rows::{q4, k4, v4};
import package::shared::integers::{bytes_of};

alias Stored = u32;

fn unpacked(four: Stored) -> vec4f {
    return vec4f(bytes_of(four));
}
