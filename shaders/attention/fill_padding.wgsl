// Fills rows that no workgroup computes, because only the device knows how many queries there are, or because there are no
// keys: what a row gets that sees no key.
//
// Shapes    extent [3]   o [B, H, Tq, Dv]   lse [B, H, Tq]
// Dispatch  x = rows / THREADS, y = heads, z = B; a thread takes a row

import package::attention::problem::{VALUE_DIM, WRITE_LSE, Row, params, o_row, put_lse};
import package::attention::blocks::{TILE};
import package::attention::softmax::{is_hidden};
import package::attention::scale::{SINKS, sink_logits};
import package::shared::math::{is_finite, nan_if};
import package::shared::output::{put_o4};
import package::shared::grid::{workgroup_of};

const THREADS: u32 = 64u;
// Whether the rows of the first tiles are computed, as many as `extent` says.
const COUNTED: bool = true;

@group(0) @binding(1) var<storage, read> extent: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let query = params.first_row + group.x * THREADS + thread;
    if query >= params.q_len {
        return;
    }
    if COUNTED {
        if query < extent[0] * TILE {
            return;
        }
    }
    let row = Row(params.first_batch + group.z, params.first_head + group.y, query, 0u);
    var zero = 0.0;
    var alone = params.negative_infinity;
    if SINKS {
        alone = sink_logits[row.head];
        zero = nan_if(zero, !is_finite(alone) & !is_hidden(alone));
    }
    for (var column = 0u; column < VALUE_DIM; column += 4u) {
        put_o4(o_row(row), column, vec4f(zero));
    }
    if WRITE_LSE {
        put_lse(row, alone + zero);
    }
}
