// As inputs_bf16x4, with every element rounded to f16.

import package::shared::aligned_rows::{q4, k4, v4};
import package::shared::bf16::{widen_bf16};
import package::shared::f16::{rounded_to_f16};

alias Stored = vec2u;

fn unpacked(pairs: Stored) -> vec4f {
    return rounded_to_f16(vec4f(widen_bf16(pairs.x), widen_bf16(pairs.y)));
}
