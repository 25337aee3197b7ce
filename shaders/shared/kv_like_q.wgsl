// Rows of k and v that are stored as those of q.

import package::shared::inputs::{k4, v4};

fn key4(row: u32, column: u32) -> vec4f {
    return k4(row, column);
}

fn value4(row: u32, column: u32) -> vec4f {
    return v4(row, column);
}
