// Storage of o: f16 packed in pairs, rows of any length, anywhere.

import package::shared::halves::{put_o4};
import package::shared::f16::{narrow_f16};

fn narrow(value: vec2f) -> u32 {
    return narrow_f16(value);
}
