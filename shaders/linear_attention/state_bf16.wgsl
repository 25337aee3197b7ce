// States in bf16, packed in pairs, of any width and order.

import package::linear_attention::state_halves::{state4, put_state4, put_checkpoint4, put_window4};
import package::shared::bf16::{widen_bf16, narrow_bf16};

fn widen(pair: u32) -> vec2f {
    return widen_bf16(pair);
}

fn narrow(value: vec2f) -> u32 {
    return narrow_bf16(value);
}
