// As inputs_f32, with every element rounded to f16.

import package::shared::rows::{q4, k4, v4};
import package::shared::f16::{rounded_to_f16};

alias Stored = f32;

fn element(rows: ptr<storage, array<Stored>>, at: u32) -> f32 {
    return rounded_to_f16(vec4f(rows[at])).x;
}
