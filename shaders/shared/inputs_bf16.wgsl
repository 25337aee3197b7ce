// Storage of q, k and v: bf16 packed in pairs, rows of any length, anywhere.

import package::shared::rows::{q4, k4, v4};
import package::shared::bf16::{widen_bf16};

alias Stored = u32;

fn element(rows: ptr<storage, array<Stored>>, at: u32) -> f32 {
    let pair = widen_bf16(rows[at / 2u]);
    return select(pair.x, pair.y, at % 2u == 1u);
}
