// The delta rule from chunk to chunk: the state at the start of each, and what is left of its values.
//
//   U = U0 - W S          S' = exp(G_last) S + K~^T U          k~_j = k_j exp(G_last - G_j)
//
// Shapes    k [B, H, R, Dk]   -W^T [HV, slots, Dk, CHUNK]   U [HV, slots, CHUNK, Dv], U0 before   S [HV, slots, Dk, Dv]
//           states [N, HV, Dk, Dv]
// Dispatch  x = tiles of 4 * LANES columns of Dv, y = value heads, z = sequences, or their segments
// Storage   a thread keeps 4 channels in each 64 and 4 columns of S in registers, and 4 rows and 4 columns of U; slices of W, S,
//           k and U go through workgroup memory
// Numerics  f32; how states decay: `decay_step`
// Source    Yang et al. 2024, Parallelizing DeltaNet, equations 8 and 9; Gated Delta Networks, section 3.3
//
// A sequence may be cut into segments that run at once. S at the end of one is P S + H of that at its start: a first dispatch finds
// H, from an empty state, and P, whose columns are those of the identity after the segment's steps without values.
// linear_attention/chunk_join then makes the starts of them, from which a second dispatch goes on.

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, STATE_IN, STATE_OUT, CHECKPOINTS, STEPS, GATE, PADDED, params, sequence_at, key_row, state_of, checkpoint_of, last_checkpoint, decayed};
import package::linear_attention::chunk::{CHUNK, Chunk, chunk_of, chunks_of, row_of, pair_of, segment_of};
import package::linear_attention::chunk_decays::{SUF, row_decays, row_total, channel_decays, channel_totals};
import package::linear_attention::state::{state4, put_state4, put_checkpoint4};
import package::shared::inputs::{k4};
import package::shared::tile::{rank1_updates};
import package::shared::grid::{workgroup_of};

@group(0) @binding(17) var<storage, read_write> states_out: array<vec4f>;
@group(0) @binding(18) var<storage, read_write> u: array<vec4f>;
@group(0) @binding(19) var<storage, read> w: array<vec4f>;
// H and P of every segment that SUMMARY writes, or the state at its start in place of H: [HV, N, segments, Dk, Dv + Dk].
@group(0) @binding(20) var<storage, read_write> segments: array<vec4f>;

// Threads along the columns.
const LANES: u32 = 16u;
// Whether sequences are cut, and whether this is the first of the two dispatches.
const SEGMENTED: bool = false;
const SUMMARY: bool = false;
// Channels of W and S, and rows of k and U, that are staged at a time, and steps whose operands are loaded together.
const SLICE: u32 = 32u;
const BATCH: u32 = 2u;

const ROW_LANES: u32 = 16u;
const THREADS: u32 = LANES * ROW_LANES;
// Columns of a segment in `segments`, and how many there are to compute.
const SEGMENT_COLUMNS: u32 = VALUE_DIM + HEAD_DIM;
const COLUMNS: u32 = select(VALUE_DIM, SEGMENT_COLUMNS, SUMMARY);
const KEY_VECTORS: u32 = (HEAD_DIM + 63u) / 64u;
const B_STAGE: u32 = SLICE * ROW_LANES;
const STAGE: u32 = SLICE * (ROW_LANES + LANES);
const UNROLL_STAGE: u32 = SLICE * ROW_LANES / THREADS;
const UNROLL_SLICE: u32 = SLICE;
const_assert SLICE * ROW_LANES % THREADS == 0u && 64u % SLICE == 0u;
const_assert CHUNK == 4u * ROW_LANES;

var<workgroup> stage: array<vec4f, STAGE>;

alias State = array<array<vec4f, 4>, KEY_VECTORS>;

// The first state of a sequence or a segment; the identity for P.
fn load_state(state: ptr<function, State>, state_at: u32, segment_at: u32, row_lane: u32, column: u32) {
    if SUMMARY {
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            for (var r = 0u; r < 4u; r += 1u) {
                let own = vec4u(v * 64u + row_lane * 4u + r + VALUE_DIM);
                state[v][r] = select(vec4f(), vec4f(1.0), own == vec4u(column, column + 1u, column + 2u, column + 3u));
            }
        }
    } else if SEGMENTED {
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            for (var r = 0u; r < 4u; r += 1u) {
                let channel = v * 64u + row_lane * 4u + r;
                let start = segments[((segment_at + min(channel, HEAD_DIM - 1u)) * SEGMENT_COLUMNS + column) / 4u];
                state[v][r] = select(vec4f(), start, channel < HEAD_DIM);
            }
        }
    } else if STATE_IN {
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            for (var r = 0u; r < 4u; r += 1u) {
                state[v][r] = state4(state_at, v * 64u + row_lane * 4u + r, column);
            }
        }
    }
}

fn decay_state(state: ptr<function, State>, v: u32, pair: u32, row_lane: u32) {
    if GATE == 1u {
        let total = vec4f(row_total(pair));
        for (var r = 0u; r < 4u; r += 1u) {
            state[v][r] = decayed(state[v][r], total);
        }
    } else if GATE == 2u {
        let totals = channel_totals(pair, min(v * 64u + row_lane * 4u, HEAD_DIM - 4u), HEAD_DIM);
        for (var r = 0u; r < 4u; r += 1u) {
            state[v][r] = decayed(state[v][r], vec4f(totals[r]));
        }
    }
}

// Values after erasing decay to the chunk's end.
fn decay_values(left: ptr<function, array<vec4f, 4>>, chunk: Chunk, pair: u32, row_lane: u32) {
    if GATE == 1u {
        for (var r = 0u; r < 4u; r += 1u) {
            left[r] *= row_decays(pair, row_lane * 4u + r).y;
        }
    }
    if PADDED {
        // Of a state that holds NaN, rows that change nothing leave NaN too.
        for (var r = 0u; r < 4u; r += 1u) {
            left[r] = select(vec4f(), left[r], row_of(chunk, row_lane * 4u + r).kept);
        }
    }
}

fn put_checkpoint(state: ptr<function, State>, to: u32, row_lane: u32, column: u32) {
    for (var v = 0u; v < KEY_VECTORS; v += 1u) {
        for (var r = 0u; r < 4u; r += 1u) {
            put_checkpoint4(to, v * 64u + row_lane * 4u + r, column, state[v][r]);
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    var pair_sequence = params.first_sequence + group.z;
    var segment = 0u;
    if SEGMENTED {
        pair_sequence = params.first_sequence + group.z / params.segments;
        segment = group.z % params.segments;
    }
    let head = params.first_head + group.y;
    let sequence = sequence_at(pair_sequence);
    var first_chunk = 0u;
    var end_chunk = chunks_of(sequence);
    var last = true;
    if SEGMENTED {
        first_chunk = min(segment * params.segment_chunks, end_chunk);
        let end = min(first_chunk + params.segment_chunks, end_chunk);
        // Sequences without tokens have one segment, empty.
        if end == first_chunk && segment > 0u {
            return;
        }
        last = end == end_chunk;
        end_chunk = end;
    }
    let lane = thread % LANES;
    let row_lane = thread / LANES;
    let own_column = (group.x * LANES + lane) * 4u;
    // Lanes beyond the last column do what the last does, but for writing.
    let column = min(own_column, COLUMNS - 4u);
    let writes = own_column < COLUMNS;
    // Columns of P have no values.
    let of_values = !SUMMARY || column < VALUE_DIM;
    let value_column = min(column, VALUE_DIM - 4u);
    let state_at = state_of(pair_sequence, head);
    let segment_at = segment_of(pair_sequence, head, segment) * HEAD_DIM;

    var state: State;
    load_state(&state, state_at, segment_at, row_lane, column);
    for (var number = first_chunk; number < end_chunk; number += 1u) {
        let chunk = chunk_of(sequence, pair_sequence, number);
        let pair = pair_of(head, chunk.slot);
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            let channel = v * 64u + row_lane * 4u;
            if !SUMMARY && writes && (HEAD_DIM % 64u == 0u || channel < HEAD_DIM) {
                for (var r = 0u; r < 4u; r += 1u) {
                    states_out[((pair * HEAD_DIM + channel + r) * VALUE_DIM + column) / 4u] = state[v][r];
                }
            }
        }

        if CHECKPOINTS {
            let rows = number * CHUNK;
            if writes && rows > 0u && rows % params.checkpoint_rows == 0u {
                let entry = rows / params.checkpoint_rows - 1u;
                put_checkpoint(&state, checkpoint_of(pair_sequence, entry, head), row_lane, column);
            }
        }

        let u_at = (pair * CHUNK + row_lane * 4u) * VALUE_DIM + value_column;
        var left: array<vec4f, 4>;
        for (var r = 0u; r < 4u; r += 1u) {
            left[r] = select(vec4f(), u[(u_at + r * VALUE_DIM) / 4u], of_values);
        }
        for (var slice = 0u; slice < HEAD_DIM; slice += SLICE) {
            workgroupBarrier();
            for (var turn = 0u; turn < UNROLL_STAGE; turn += 1u) {
                let at = thread + turn * THREADS;
                let d = slice + at / ROW_LANES;
                let value = w[(pair * HEAD_DIM + min(d, HEAD_DIM - 1u)) * ROW_LANES + at % ROW_LANES];
                stage[at] = select(vec4f(), value, d < HEAD_DIM);
            }
            for (var v = 0u; v < KEY_VECTORS; v += 1u) {
                let channel = v * 64u + row_lane * 4u;
                if channel / SLICE == slice / SLICE {
                    for (var r = 0u; r < 4u; r += 1u) {
                        stage[B_STAGE + (channel + r - slice) * LANES + lane] = state[v][r];
                    }
                }
            }
            workgroupBarrier();
            for (var d = 0u; d < UNROLL_SLICE; d += BATCH) {
                rank1_updates(&left, d, row_lane, ROW_LANES, B_STAGE, lane, LANES);
            }
        }
        if !SUMMARY && writes {
            for (var r = 0u; r < 4u; r += 1u) {
                u[(u_at + r * VALUE_DIM) / 4u] = left[r];
            }
        }
        decay_values(&left, chunk, pair, row_lane);

        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            decay_state(&state, v, pair, row_lane);
            for (var part = 0u; part < chunk.rows; part += SLICE) {
                workgroupBarrier();
                for (var turn = 0u; turn < UNROLL_STAGE; turn += 1u) {
                    let at = thread + turn * THREADS;
                    let j = part + at / ROW_LANES;
                    let channel = v * 64u + at % ROW_LANES * 4u;
                    let inside = min(channel, HEAD_DIM - 4u);
                    let row = row_of(chunk, j);
                    var value = k4(key_row(sequence.batch, head, row.row), inside);
                    if GATE == 2u {
                        value *= channel_decays(pair, SUF, j, inside, HEAD_DIM);
                    }
                    stage[at] = select(vec4f(), value, row.kept & (channel < HEAD_DIM));
                }
                if row_lane / (SLICE / 4u) == part / SLICE {
                    for (var r = 0u; r < 4u; r += 1u) {
                        stage[B_STAGE + (row_lane * 4u + r - part) * LANES + lane] = left[r];
                    }
                }
                workgroupBarrier();
                for (var j = 0u; j < UNROLL_SLICE; j += BATCH) {
                    rank1_updates(&state[v], j, row_lane, ROW_LANES, B_STAGE, lane, LANES);
                }
            }
        }
    }
    if SUMMARY && writes {
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            let channel = v * 64u + row_lane * 4u;
            if HEAD_DIM % 64u == 0u || channel < HEAD_DIM {
                for (var r = 0u; r < 4u; r += 1u) {
                    segments[((segment_at + channel + r) * SEGMENT_COLUMNS + column) / 4u] = state[v][r];
                }
            }
        }
    }
    if CHECKPOINTS && writes && last {
        for (var entry = last_checkpoint(sequence.len * STEPS); entry < params.checkpoints; entry += 1u) {
            put_checkpoint(&state, checkpoint_of(pair_sequence, entry, head), row_lane, column);
        }
    }
    if STATE_OUT && writes && last {
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            for (var r = 0u; r < 4u; r += 1u) {
                put_state4(state_at, v * 64u + row_lane * 4u + r, column, state[v][r]);
            }
        }
    }
}
