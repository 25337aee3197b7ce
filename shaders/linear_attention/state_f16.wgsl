// States in f16, packed in pairs, of any width and order.

import package::linear_attention::state_halves::{state4, put_state4, put_checkpoint4, put_window4};
import package::shared::f16::{narrow_f16};

fn widen(pair: u32) -> vec2f {
    return unpack2x16float(pair);
}

fn narrow(value: vec2f) -> u32 {
    return narrow_f16(value);
}
