// Storage of o: bf16 packed in pairs, rows of any length, anywhere.

import package::shared::halves::{put_o4};
import package::shared::bf16::{narrow_bf16};

fn narrow(value: vec2f) -> u32 {
    return narrow_bf16(value);
}
