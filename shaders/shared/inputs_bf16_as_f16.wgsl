// As inputs_bf16, with every element rounded to f16.

import package::shared::rows::{q4, k4, v4};
import package::shared::bf16::{widen_bf16};
import package::shared::f16::{rounded_to_f16};

alias Stored = u32;

fn element(rows: ptr<storage, array<Stored>>, at: u32) -> f32 {
    let pair = widen_bf16(rows[at / 2u]);
    return rounded_to_f16(vec4f(select(pair.x, pair.y, at % 2u == 1u))).x;
}
