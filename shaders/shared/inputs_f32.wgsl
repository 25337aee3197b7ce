// Storage of q, k and v: f32, rows of any length, anywhere.

import package::shared::rows::{q4, k4, v4};

alias Stored = f32;

fn element(rows: ptr<storage, array<Stored>>, at: u32) -> f32 {
    return rows[at];
}
