// States in a type of 16 bits, packed in pairs: from and to f32.

import package::shared::f16::{narrow_f16};
import package::shared::bf16::{widen_bf16, narrow_bf16};

// Whether they are bf16, and not f16.
const STATE_BF16: bool = false;

fn widen_state(pair: u32) -> vec2f {
    if STATE_BF16 {
        return widen_bf16(pair);
    }
    return unpack2x16float(pair);
}

fn narrow_state(value: vec2f) -> u32 {
    if STATE_BF16 {
        return narrow_bf16(value);
    }
    return narrow_f16(value);
}
