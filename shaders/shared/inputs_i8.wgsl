// Storage of q: signed bytes, rows of any length, anywhere. What they stand for is a scale away.

import package::shared::integers::{byte_at};
import package::shared::rows::{q4, k4, v4};

alias Stored = u32;

fn element(rows: ptr<storage, array<Stored>>, at: u32) -> f32 {
    return f32(byte_at(rows[at / 4u], at));
}
