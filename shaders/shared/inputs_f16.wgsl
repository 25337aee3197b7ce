// Storage of q, k and v: f16 packed in pairs, rows of any length, anywhere.

import package::shared::rows::{q4, k4, v4};

alias Stored = u32;

fn element(rows: ptr<storage, array<Stored>>, at: u32) -> f32 {
    let pair = unpack2x16float(rows[at / 2u]);
    return select(pair.x, pair.y, at % 2u == 1u);
}
