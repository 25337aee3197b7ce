// Merging the results of segments of keys, exactly.
//
//   o[b,h,i,:] = sum_s exp(lse_s - lse) o_s          lse = ln sum_s exp(lse_s)
//
// Shapes    parts [S, B, H, Tq, Dv], rows padded to multiples of four   part_lse [S, B, H, Tq]
// Dispatch  x = rows / THREADS, y = heads, z = B; a thread takes a row
// Numerics  f32; lse in natural units; a segment that shows a row no key has the lse -inf, and weighs nothing
// Source    Dao et al. 2023, Flash-Decoding; Milakov and Gimelshein 2018, section 3.1

import package::attention::problem::{Row, params, o_row, put_lse};
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
    var maximum = -1e30;
    for (var segment = 0u; segment < merge.segments; segment += 1u) {
        maximum = max(maximum, part_lse[segment * merge.rows + at] * 1.4426950408889634);
    }
    var sink = 0.0;
    if SINKS {
        let sunk = with_sink(maximum, row.head);
        maximum = sunk.x;
        sink = sunk.z;
    }
    var total = sink;
    for (var segment = 0u; segment < merge.segments; segment += 1u) {
        total += exp2(part_lse[segment * merge.rows + at] * 1.4426950408889634 - maximum);
    }
    // A row that sees no key has no weight: zero over one, not over zero.
    let inverse = 1.0 / select(total, 1.0, total == 0.0);
    for (var column = 0u; column < VALUE_DIM; column += 4u) {
        var sum = vec4f();
        for (var segment = 0u; segment < merge.segments; segment += 1u) {
            let part = segment * merge.rows + at;
            let weight = exp2(part_lse[part] * 1.4426950408889634 - maximum);
            sum += weight * parts[(part * VALUE_DIM + column) / 4u];
        }
        put_o4(o_row(row), column, sum * inverse);
    }
    if WRITE_LSE {
        put_lse(row, select((maximum + log2(total)) * 0.6931471805599453, params.negative_infinity, total == 0.0));
    }
}
