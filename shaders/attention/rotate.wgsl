// Rows of q or k, turned by their positions.
//
//   turned[b, h, i] = rope(x[b, h, i], p)      p = j of key j, i + nk - nq of query i, or what a tensor says
//
// Shapes    x = q [B, H, Tq, Dk] or k [B, G, Tk, Dk]   turned the same, in the order bhtd, f32, Dk rounded up to a multiple of four
// Dispatch  x = (rows * HEAD_DIM / 4) / THREADS, y = heads / heads_each, z = B; a thread four columns of a position, head by head
// Storage   integers stay without their scales, which the kernel knows
// Numerics  f32; see shared/rope
// Source    Su et al. 2021, RoFormer

import package::attention::problem::{HEAD_DIM, PACKED_Q, PACKED_K, params, q_start, k_start, q_length, kv_length, sequence_of_query, sequence_of_key};
import package::shared::inputs::{q4};
import package::shared::kv::{key4};
import package::shared::rope::{rope_factors, rope_partner4, rope_turned4};
import package::shared::grid::{workgroup_of};

const OF_KEYS: bool = false;
// Whether a tensor says the positions.
const POSITIONS: bool = false;
const THREADS: u32 = 64u;
const VECTORS = HEAD_DIM / 4u;

struct Turn {
    // Rows of a head, all heads, and those that a thread takes.
    rows: u32, heads: u32, heads_each: u32,
    // Before these the dispatch ends.
    end_row: u32, end_head: u32,
    // Where [0, 0, 0, 0] of what is written lies relative to the binding (modulo 2^32).
    to_base: u32,
}

@group(0) @binding(14) var<uniform> turn: Turn;
@group(0) @binding(4) var<storage, read_write> turned: array<vec4f>;
@group(0) @binding(6) var<storage, read> positions: array<i32>; // [B, rows]

fn row4(row: u32, column: u32) -> vec4f {
    if OF_KEYS {
        return key4(row, column);
    }
    return q4(row, column);
}

fn position_of_row(batch: u32, row: u32) -> i32 {
    if POSITIONS {
        return positions[batch * turn.rows + row];
    }
    var entry = batch;
    var place = row;
    if OF_KEYS {
        if PACKED_K {
            place = row - min(k_start(sequence_of_key(row)), row);
        }
        return i32(place);
    }
    if PACKED_Q {
        entry = sequence_of_query(row);
        place = row - min(q_start(entry), row);
    }
    return i32(place) + i32(kv_length(entry)) - i32(q_length(entry));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let item = group.x * THREADS + thread;
    let row = params.first_row + item / VECTORS;
    let column = item % VECTORS * 4u;
    let batch = params.first_batch + group.z;
    if row >= turn.end_row {
        return;
    }
    let factors = rope_factors(column, position_of_row(batch, row));
    let first = params.first_head + group.y * turn.heads_each;
    let end = min(first + turn.heads_each, turn.end_head);
    for (var head = first; head < end; head += 1u) {
        var from_row = params.q_base + batch * params.q_batch + head * params.q_head + row * params.q_row;
        if OF_KEYS {
            from_row = params.k_base + batch * params.k_batch + head * params.k_head + row * params.k_row;
        }
        let x = row4(from_row, column);
        let to = turn.to_base + ((batch * turn.heads + head) * turn.rows + row) * HEAD_DIM + column;
        turned[to / 4u] = rope_turned4(x, rope_partner4(x, from_row, column, HEAD_DIM), factors);
    }
}
