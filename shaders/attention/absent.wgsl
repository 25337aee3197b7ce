// What rows get that no workgroup computes, because only the device knows how many queries there are: what a row gets that
// sees no key.
//
// Shapes    extent [3]   o [B, H, Tq, Dv]   lse [B, H, Tq]
// Dispatch  x = rows / THREADS, y = heads, z = B; a thread takes a row

import package::attention::problem::{Row, params, o_row, put_lse};
import package::attention::blocks::{TILE};
import package::attention::scale::{SINKS, sink_logits};
import package::shared::output::{put_o4};
import package::shared::grid::{workgroup_of};

const VALUE_DIM: u32 = 64u;
const THREADS: u32 = 64u;
const WRITE_LSE: bool = true;

@group(0) @binding(1) var<storage, read> extent: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let query = group.x * THREADS + thread;
    if query >= params.q_len || query < extent[0] * TILE {
        return;
    }
    let row = Row(group.z, group.y, query);
    for (var column = 0u; column < VALUE_DIM; column += 4u) {
        put_o4(o_row(row), column, vec4f());
    }
    if WRITE_LSE {
        if SINKS {
            put_lse(row, sink_logits[row.head]);
        } else {
            put_lse(row, params.negative_infinity);
        }
    }
}
