// As inputs_f32x4, with every element rounded to f16.

import package::shared::aligned_rows::{q4, k4, v4};
import package::shared::f16::{rounded_to_f16};

alias Stored = vec4f;

fn unpacked(four: Stored) -> vec4f {
    return rounded_to_f16(four);
}
