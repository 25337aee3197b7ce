// States at the starts of segments, from what each makes of the state it starts from.
//
//   S_(i+1) = P_i S_i + H_i          H_i is replaced by S_i
//
// Shapes    P [HV, N, segments, Dk, Dk], after H and S [HV, N, segments, Dk, Dv] in the same rows   states [N, HV, Dk, Dv]
// Dispatch  x = tiles of 4 * LANES columns of Dv, y = value heads, z = sequences
// Storage   S in workgroup memory; a thread makes four columns of every ROW_LANES-th channel
// Numerics  f32
// Source    Blelloch 1990, sequentially: there are few segments

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, STATE_IN, params, sequence_at, state_of};
import package::linear_attention::chunk::{chunks_of, segment_of};
import package::linear_attention::state::{state4};
import package::shared::grid::{workgroup_of};

@group(0) @binding(20) var<storage, read_write> segments: array<vec4f>;

// Threads along the columns, and along the channels.
const LANES: u32 = 4u;
const ROW_LANES: u32 = 32u;

const THREADS: u32 = LANES * ROW_LANES;
const COLUMNS: u32 = VALUE_DIM + HEAD_DIM;
const ROWS: u32 = (HEAD_DIM + ROW_LANES - 1u) / ROW_LANES;
const_assert HEAD_DIM <= 256u;

var<workgroup> state: array<vec4f, HEAD_DIM * LANES>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let pair_sequence = params.first_sequence + group.z;
    let head = params.first_head + group.y;
    let chunks = chunks_of(sequence_at(pair_sequence));
    // An empty sequence has one segment, too: see linear_attention/chunk_delta.
    let count = max((chunks + params.segment_chunks - 1u) / params.segment_chunks, 1u);
    let lane = thread % LANES;
    let row_lane = thread / LANES;
    let own_column = (group.x * LANES + lane) * 4u;
    let column = min(own_column, VALUE_DIM - 4u);
    let writes = own_column < VALUE_DIM;
    let state_at = state_of(pair_sequence, head);
    for (var d = row_lane; d < HEAD_DIM; d += ROW_LANES) {
        var first: vec4f;
        if STATE_IN {
            first = state4(state_at, d, column);
        }
        state[d * LANES + lane] = first;
    }
    for (var segment = 0u; segment < count; segment += 1u) {
        workgroupBarrier();
        let at = segment_of(pair_sequence, head, segment) * HEAD_DIM;
        var next: array<vec4f, ROWS>;
        for (var i = 0u; i < ROWS; i += 1u) {
            let d = min(row_lane + i * ROW_LANES, HEAD_DIM - 1u);
            next[i] = segments[((at + d) * COLUMNS + column) / 4u];
        }
        // As many turns as the uniform says: a driver that knew their number would unroll them all, and spill.
        for (var e = 0u; e < params.key_dim; e += 4u) {
            var s: array<vec4f, 4>;
            for (var c = 0u; c < 4u; c += 1u) {
                s[c] = state[(e + c) * LANES + lane];
            }
            for (var i = 0u; i < ROWS; i += 1u) {
                let d = min(row_lane + i * ROW_LANES, HEAD_DIM - 1u);
                let p = segments[((at + d) * COLUMNS + VALUE_DIM + e) / 4u];
                for (var c = 0u; c < 4u; c += 1u) {
                    next[i] = fma(vec4f(p[c]), s[c], next[i]);
                }
            }
        }
        workgroupBarrier();
        for (var i = 0u; i < ROWS; i += 1u) {
            let d = row_lane + i * ROW_LANES;
            if d < HEAD_DIM {
                if writes {
                    segments[((at + d) * COLUMNS + column) / 4u] = state[d * LANES + lane];
                }
                state[d * LANES + lane] = next[i];
            }
        }
    }
}
