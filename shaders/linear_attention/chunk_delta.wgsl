// The delta rule from chunk to chunk: the state at the start of each, and what is left of its values.
//
//   U = U0 - W S          S' = S + total S + K~^T U          k~_j = k_j exp(G_last - G_j)
//
// Shapes    k [B, H, R, Dk]   -W^T [HV, slots, Dk, CHUNK]   U [HV, slots, CHUNK, Dv], U0 before   S [HV, slots, Dk, Dv]
//           states [N, HV, Dk, Dv]
// Dispatch  x = tiles of 4 * LANES columns of Dv, y = value heads, z = sequences
// Storage   a thread keeps 4 channels in each 64 and 4 columns of S in registers, and 4 rows and 4 columns of U; slices of W, S,
//           k and U go through workgroup memory
// Numerics  f32; a state loses exp(G) - 1 of itself, see `loss`
// Source    Yang et al. 2024, Parallelizing DeltaNet, equations 8 and 9; Gated Delta Networks, section 3.3

import package::linear_attention::problem::{GATE, params, sequence_at, key_row, state_of};
import package::linear_attention::chunk::{CHUNK, chunk_of, chunks_of, row_of, pair_of};
import package::linear_attention::chunk_decays::{SUF, row_decays, row_total, channel_decays, channel_totals};
import package::linear_attention::state::{state4, put_state4};
import package::shared::inputs::{k4};

@group(0) @binding(17) var<storage, read_write> states_out: array<vec4f>;
@group(0) @binding(18) var<storage, read_write> u: array<vec4f>;
@group(0) @binding(19) var<storage, read> w: array<vec4f>;

// Widths, rounded up to multiples of four.
const HEAD_DIM: u32 = 64u;
const VALUE_DIM: u32 = 64u;
// Threads along the columns.
const LANES: u32 = 16u;
const STATE_IN: bool = false;
const STATE_OUT: bool = false;
// Channels of W and S, and rows of k and U, that are staged at a time, and steps whose operands are loaded together.
const SLICE: u32 = 32u;
const BATCH: u32 = 2u;

const ROW_LANES: u32 = 16u;
const THREADS: u32 = LANES * ROW_LANES;
const KEY_VECTORS: u32 = (HEAD_DIM + 63u) / 64u;
const B_STAGE: u32 = SLICE * ROW_LANES;
const STAGE: u32 = SLICE * (ROW_LANES + LANES);
const UNROLL_STAGE: u32 = SLICE * ROW_LANES / THREADS;
const UNROLL_STEPS: u32 = SLICE / BATCH;
const_assert HEAD_DIM % 4u == 0u && VALUE_DIM % 4u == 0u && SLICE * ROW_LANES % THREADS == 0u && 64u % SLICE == 0u;
const_assert CHUNK == 4u * ROW_LANES;

var<workgroup> stage: array<vec4f, STAGE>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let pair_sequence = params.first_sequence + group.z;
    let head = params.first_head + group.y;
    let sequence = sequence_at(pair_sequence);
    let chunks = chunks_of(sequence);
    let lane = thread % LANES;
    let row_lane = thread / LANES;
    let own_column = (group.x * LANES + lane) * 4u;
    // Lanes beyond the last column do what the last does, but for writing.
    let column = min(own_column, VALUE_DIM - 4u);
    let writes = own_column < VALUE_DIM;
    let state_at = state_of(pair_sequence, head);

    var state: array<array<vec4f, 4>, KEY_VECTORS>;
    if STATE_IN {
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            for (var r = 0u; r < 4u; r += 1u) {
                state[v][r] = state4(state_at, v * 64u + row_lane * 4u + r, column);
            }
        }
    }
    for (var number = 0u; number < chunks; number += 1u) {
        let chunk = chunk_of(sequence, pair_sequence, number);
        let pair = pair_of(head, chunk.slot);
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            let channel = v * 64u + row_lane * 4u;
            if writes && (HEAD_DIM % 64u == 0u || channel < HEAD_DIM) {
                for (var r = 0u; r < 4u; r += 1u) {
                    states_out[((pair * HEAD_DIM + channel + r) * VALUE_DIM + column) / 4u] = state[v][r];
                }
            }
        }

        let u_at = (pair * CHUNK + row_lane * 4u) * VALUE_DIM + column;
        var left: array<vec4f, 4>;
        for (var r = 0u; r < 4u; r += 1u) {
            left[r] = u[(u_at + r * VALUE_DIM) / 4u];
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
            for (var turn = 0u; turn < UNROLL_STEPS; turn += 1u) {
                let d = turn * BATCH;
                var a: array<vec4f, BATCH>;
                var b: array<vec4f, BATCH>;
                for (var i = 0u; i < BATCH; i += 1u) {
                    a[i] = stage[(d + i) * ROW_LANES + row_lane];
                    b[i] = stage[B_STAGE + (d + i) * LANES + lane];
                }
                for (var i = 0u; i < BATCH; i += 1u) {
                    for (var r = 0u; r < 4u; r += 1u) {
                        left[r] = fma(vec4f(a[BATCH - 1u - i][r]), b[BATCH - 1u - i], left[r]);
                    }
                }
            }
        }
        if writes {
            for (var r = 0u; r < 4u; r += 1u) {
                u[(u_at + r * VALUE_DIM) / 4u] = left[r];
            }
        }
        if GATE == 1u {
            for (var r = 0u; r < 4u; r += 1u) {
                left[r] *= row_decays(pair, row_lane * 4u + r).y;
            }
        }

        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            if GATE == 1u {
                let total = vec4f(row_total(pair));
                for (var r = 0u; r < 4u; r += 1u) {
                    state[v][r] = fma(state[v][r], total, state[v][r]);
                }
            } else if GATE == 2u {
                let totals = channel_totals(pair, min(v * 64u + row_lane * 4u, HEAD_DIM - 4u), HEAD_DIM);
                for (var r = 0u; r < 4u; r += 1u) {
                    state[v][r] = fma(state[v][r], vec4f(totals[r]), state[v][r]);
                }
            }
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
                for (var turn = 0u; turn < UNROLL_STEPS; turn += 1u) {
                    let j = turn * BATCH;
                    var a: array<vec4f, BATCH>;
                    var b: array<vec4f, BATCH>;
                    for (var i = 0u; i < BATCH; i += 1u) {
                        a[i] = stage[(j + i) * ROW_LANES + row_lane];
                        b[i] = stage[B_STAGE + (j + i) * LANES + lane];
                    }
                    for (var i = 0u; i < BATCH; i += 1u) {
                        for (var r = 0u; r < 4u; r += 1u) {
                            state[v][r] = fma(vec4f(a[BATCH - 1u - i][r]), b[BATCH - 1u - i], state[v][r]);
                        }
                    }
                }
            }
        }
    }
    if STATE_OUT && writes {
        for (var v = 0u; v < KEY_VECTORS; v += 1u) {
            for (var r = 0u; r < 4u; r += 1u) {
                put_state4(state_at, v * 64u + row_lane * 4u + r, column, state[v][r]);
            }
        }
    }
}
