// Rows of q and k as kernels read them: as they are stored, or as a pass has turned them by their positions.
//
// Rows are given by the offset of their first element, columns by the first of four.

import package::shared::inputs::{q4};
import package::shared::kv::{key4};

// Whether rows of q, or k, are those that attention/rotate wrote: f32, every row a multiple of four long.
const Q_TURNED: bool = false;
const K_TURNED: bool = false;

@group(0) @binding(1) var<storage, read> q_turned: array<vec4f>;
@group(0) @binding(2) var<storage, read> k_turned: array<vec4f>;

fn query_row4(row: u32, column: u32) -> vec4f {
    if Q_TURNED {
        return q_turned[(row + column) / 4u];
    }
    return q4(row, column);
}

fn key_row4(row: u32, column: u32) -> vec4f {
    if K_TURNED {
        return k_turned[(row + column) / 4u];
    }
    return key4(row, column);
}
