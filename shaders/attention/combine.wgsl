// Merging the results of segments of keys, exactly.
//
//   o[b,h,i,:] = sum_s exp(lse_s - lse) o_s          lse = ln sum_s exp(lse_s)
//
// Shapes    parts [S, B, H, Tq, Dv], rows padded to multiples of four   part_lse [S, B, H, Tq]
// Dispatch  x = rows / THREADS, y = heads, z = B; a thread takes a row
// Numerics  f32; lse in natural units; a segment that shows a row no key has the lse -inf, and weighs nothing
// Source    Dao et al. 2023, Flash-Decoding; Milakov and Gimelshein 2018, section 3.1

import package::attention::problem::{Row, params, o_row, put_lse};
import package::attention::softmax::{FIRST_ROW_MAX, weight, inverse_of, finite_or_nan, lse_of};
import package::attention::scale::{SINKS, with_sink};
import package::shared::output::{put_o4};
import package::shared::grid::{workgroup_of};

const VALUE_DIM: u32 = 64u;
const THREADS: u32 = 64u;
const WRITE_LSE: bool = true;
const_assert VALUE_DIM % 4u == 0u;

struct Merge {
    segments: u32,
    // Rows of a segment.
    rows: u32,
}

@group(0) @binding(14) var<uniform> merge: Merge;
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
@group(0) @binding(2) var<storage, read> part_lse: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let query = params.first_row + group.x * THREADS + thread;
    if query >= params.q_len {
        return;
    }
    let row = Row(params.first_batch + group.z, params.first_head + group.y, query);
    let at = (row.batch * params.q_heads + row.head) * params.q_len + query;
    var row_max = FIRST_ROW_MAX;
    for (var segment = 0u; segment < merge.segments; segment += 1u) {
        row_max = max(row_max, part_lse[segment * merge.rows + at]);
    }
    var sink = 0.0;
    if SINKS {
        let sunk = with_sink(row_max, row.head);
        row_max = sunk.x;
        sink = sunk.z;
    }
    var total = sink;
    for (var segment = 0u; segment < merge.segments; segment += 1u) {
        total += weight(part_lse[segment * merge.rows + at], row_max);
    }
    let inverse = inverse_of(total);
    for (var column = 0u; column < VALUE_DIM; column += 4u) {
        var sum = vec4f();
        for (var segment = 0u; segment < merge.segments; segment += 1u) {
            let part = segment * merge.rows + at;
            sum += weight(part_lse[part], row_max) * parts[(part * VALUE_DIM + column) / 4u];
        }
        put_o4(o_row(row), column, finite_or_nan(sum * inverse));
    }
    if WRITE_LSE {
        put_lse(row, lse_of(row_max, total));
    }
}
