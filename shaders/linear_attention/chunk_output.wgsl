// Outputs, chunk by chunk, all chunks at once.
//
//   O = scale * (Q^ S + A U)          A[r,j] = q_r . k_j exp(G_r - G_j) for j <= r, 0 beyond          q^_r = q_r exp(G_r)
//
// If sums of keys z divide outputs, by scale * (Q^ z + A 1) + eps. If outputs are not causal, S and z are those at the end, and
// there is no A.
//
// Shapes    q, k [B, H, R, Dk]   U: v [B, HV, R, Dv], or u [HV, slots, CHUNK, Dv]   S [HV, slots, Dk, Dv]   o [B, HV, T, Dv]
//           z [HV, slots, Dk]
// Dispatch  x = slots times tiles of 64 columns of Dv, y = value heads
// Storage   16 KiB of workgroup memory, in turn slices of q, k and S, and of A and U. A thread owns 4 rows and 4 keys of A,
//           and 4 rows and 4 columns of O.
// Numerics  f32; decays are at most 1 and multiplied to sums of products, never divided by
// Source    Yang et al. 2024, Gated Linear Attention, equations 4 and 5; Parallelizing DeltaNet, equation 9
//
// q, k and A are staged transposed: each vec4 holds four rows of the same channel or key.

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, DELTA, GATE, STEPS, params, query_row, key_row, value_row, output_row, state_of, sums_of};
import package::linear_attention::chunk::{CHUNK, work_of, row_of};
import package::linear_attention::chunk_decays::{PRE, row_decays, between, channel_decays, channel_decays_before};
import package::linear_attention::chunk_stage::{LANES, THREADS, STAGE, stage, summed_updates};
import package::linear_attention::sums::{BONUS, NORMALISE, ADD_PARTIAL, partial_output, z_at};
import package::linear_attention::state::{state4};
import package::shared::inputs::{q4, k4, v4};
import package::shared::output::{put_o4};
import package::shared::tile::{stage_transposed};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(17) var<storage, read> states: array<vec4f>;
@group(0) @binding(18) var<storage, read> u: array<vec4f>;
// With gates of channels A^T is computed before: see linear_attention/chunk_scores.
@group(0) @binding(20) var<storage, read> scores: array<vec4f>;
@group(0) @binding(21) var<storage, read> sums: array<f32>;

// Whether outputs read what came before them and themselves, or all of their sequence.
const CAUSAL: bool = true;
// Channels that are staged at a time, rows of A and U that are, and steps whose operands are loaded together.
const SLICE: u32 = 16u;
const KEY_SLICE: u32 = 32u;
const CHANNEL_BATCH: u32 = 2u;
const BATCH: u32 = 4u;

const TILES: u32 = (VALUE_DIM + 63u) / 64u;
// The first threads stage blocks of q, the next ones of k, the others S.
const BLOCKS: u32 = LANES * SLICE / 4u;
const S_THREADS: u32 = THREADS - 2u * BLOCKS;
const UNROLL_S: u32 = SLICE * LANES / S_THREADS;
const UNROLL_VALUES: u32 = KEY_SLICE * LANES / THREADS;
const UNROLL_CHANNELS: u32 = SLICE / CHANNEL_BATCH;
const K_STAGE: u32 = SLICE * LANES;
const S_STAGE: u32 = 2u * SLICE * LANES;
const Z_STAGE: u32 = 3u * SLICE * LANES;
// Whether scores are computed here.
const SCORES: bool = CAUSAL && GATE != 2u;
const V_STAGE: u32 = KEY_SLICE * LANES;
const_assert SLICE % 4u == 0u && KEY_SLICE % 4u == 0u && 4u % BATCH == 0u;
const_assert 3u * SLICE * LANES + SLICE / 4u <= STAGE && 2u * KEY_SLICE * LANES <= STAGE;

// Adds the staged channels: of Q S to o, of Q K^T to a, of Q z to the denominators.
fn multiply_channels(
    o: ptr<function, array<vec4f, 4>>, a: ptr<function, array<vec4f, 4>>,
    denominators: ptr<function, vec4f>,
    row_lane: u32, lane: u32,
) {
    for (var turn = 0u; turn < UNROLL_CHANNELS; turn += 1u) {
        let d = turn * CHANNEL_BATCH;
        var q: array<vec4f, CHANNEL_BATCH>;
        var k: array<vec4f, CHANNEL_BATCH>;
        var s: array<vec4f, CHANNEL_BATCH>;
        for (var i = 0u; i < CHANNEL_BATCH; i += 1u) {
            q[i] = stage[(d + i) * LANES + row_lane];
            if SCORES {
                k[i] = stage[K_STAGE + (d + i) * LANES + lane];
            }
            s[i] = stage[S_STAGE + (d + i) * LANES + lane];
        }
        for (var i = 0u; i < CHANNEL_BATCH; i += 1u) {
            if NORMALISE {
                let z = stage[Z_STAGE + (d + CHANNEL_BATCH - 1u - i) / 4u][(d + CHANNEL_BATCH - 1u - i) % 4u];
                *denominators = fma(q[CHANNEL_BATCH - 1u - i], vec4f(z), *denominators);
            }
            for (var r = 0u; r < 4u; r += 1u) {
                o[r] = fma(vec4f(q[CHANNEL_BATCH - 1u - i][r]), s[CHANNEL_BATCH - 1u - i], o[r]);
                if SCORES {
                    a[r] = fma(vec4f(q[CHANNEL_BATCH - 1u - i][r]), k[CHANNEL_BATCH - 1u - i], a[r]);
                }
            }
        }
    }
}

// Queries decay from the chunk's start, and A from key to query.
fn decay_rows(
    o: ptr<function, array<vec4f, 4>>, a: ptr<function, array<vec4f, 4>>,
    denominators: ptr<function, vec4f>,
    pair: u32, row_lane: u32, key: u32,
) {
    var whole: vec4f;
    var rest: vec4f;
    for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
        let decays = row_decays(pair, key + c);
        whole[c] = decays.z;
        rest[c] = decays.w;
    }
    for (var r = 0u; r < 4u; r += 1u) {
        let decays = row_decays(pair, row_lane * 4u + r);
        o[r] *= decays.x;
        (*denominators)[r] *= decays.x;
        a[r] *= between(decays, whole, rest);
    }
}

// Adds the staged values: of keys that all of the thread's rows see, then of the block on the diagonal. Later keys are
// not multiplied: 0 times NaN is not 0.
fn add_values(o: ptr<function, array<vec4f, 4>>, denominators: ptr<function, vec4f>, part: u32, row_lane: u32, lane: u32) {
    let own = row_lane * 4u;
    let before = clamp(own, part, part + KEY_SLICE) - part;
    for (var j = 0u; j < before; j += BATCH) {
        summed_updates(o, denominators, j, row_lane, V_STAGE, lane);
    }
    if own / KEY_SLICE == part / KEY_SLICE {
        for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
            let p = stage[(own - part + i) * LANES + row_lane];
            let b = stage[V_STAGE + (own - part + i) * LANES + lane];
            for (var r = i; r < UNROLL_COMPONENTS; r += 1u) {
                if NORMALISE {
                    (*denominators)[r] += p[r];
                }
                o[r] = fma(vec4f(p[r]), b, o[r]);
            }
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let work = work_of(dispatched, TILES);
    if work.chunk.rows == 0u {
        return;
    }
    let lane = thread % LANES;
    let row_lane = thread / LANES;
    let first_column = work.tile * 64u;
    let column = first_column + lane * 4u;
    let states_at = work.pair * HEAD_DIM * VALUE_DIM;

    var a: array<vec4f, 4>;
    var o: array<vec4f, 4>;
    var denominators: vec4f;
    for (var slice = 0u; slice < HEAD_DIM; slice += SLICE) {
        workgroupBarrier();
        if thread < 2u * BLOCKS {
            let quad = thread % LANES;
            let channel = thread % BLOCKS / LANES * 4u;
            let d = min(slice + channel, HEAD_DIM - 4u);
            var rows: array<vec4f, 4>;
            for (var r = 0u; r < 4u; r += 1u) {
                let row = row_of(work.chunk, quad * 4u + r);
                if thread < BLOCKS {
                    rows[r] = q4(query_row(work.batch, work.head, row.token), d);
                    if BONUS {
                        rows[r] *= channel_decays_before(work.pair, quad * 4u + r, d, HEAD_DIM);
                    } else if GATE == 2u {
                        rows[r] *= channel_decays(work.pair, PRE, quad * 4u + r, d, HEAD_DIM);
                    }
                    rows[r] = select(vec4f(), rows[r], HEAD_DIM % SLICE == 0u || slice + channel < HEAD_DIM);
                } else if SCORES {
                    rows[r] = select(vec4f(), k4(key_row(work.batch, work.head, row.row), d), row.kept);
                }
            }
            let at = select(K_STAGE, 0u, thread < BLOCKS) + channel * LANES + quad;
            stage_transposed(at, LANES, rows[0], rows[1], rows[2], rows[3]);
        } else {
            for (var turn = 0u; turn < UNROLL_S; turn += 1u) {
                let at = thread - 2u * BLOCKS + turn * S_THREADS;
                let d = slice + at / LANES;
                let from_column = first_column + at % LANES * 4u;
                var s: vec4f;
                if CAUSAL {
                    s = states[(states_at + min(d, HEAD_DIM - 1u) * VALUE_DIM + min(from_column, VALUE_DIM - 4u)) / 4u];
                } else {
                    s = state4(state_of(work.chunk.index, work.head), min(d, HEAD_DIM - 1u), min(from_column, VALUE_DIM - 4u));
                }
                stage[S_STAGE + at] = select(vec4f(), s, (d < HEAD_DIM) & (from_column < VALUE_DIM));
            }
            if NORMALISE && thread >= THREADS - SLICE / 4u {
                let i = THREADS - 1u - thread;
                var z: vec4f;
                for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
                    let d = slice + i * 4u + c;
                    if CAUSAL {
                        let inside = min(d, params.key_dim - 1u);
                        z[c] = select(0.0, sums[work.pair * HEAD_DIM + inside], d < params.key_dim);
                    } else {
                        z[c] = z_at(sums_of(work.chunk.index, work.head), d);
                    }
                }
                stage[Z_STAGE + i] = z;
            }
        }
        workgroupBarrier();
        multiply_channels(&o, &a, &denominators, row_lane, lane);
    }

    let key = lane * 4u;
    if GATE == 1u {
        decay_rows(&o, &a, &denominators, work.pair, row_lane, key);
    }
    for (var r = 0u; r < 4u; r += 1u) {
        a[r] = select(vec4f(), a[r], vec4u(key, key + 1u, key + 2u, key + 3u) <= vec4u(row_lane * 4u + r));
    }

    if CAUSAL {
        for (var part = 0u; part < work.chunk.rows; part += KEY_SLICE) {
            workgroupBarrier();
            if GATE == 2u {
                for (var turn = 0u; turn < UNROLL_VALUES; turn += 1u) {
                    let at = thread + turn * THREADS;
                    stage[at] = scores[(work.pair * CHUNK + part) * LANES + at];
                }
            } else if lane / (KEY_SLICE / 4u) == part / KEY_SLICE {
                stage_transposed((key - part) * LANES + row_lane, LANES, a[0], a[1], a[2], a[3]);
            }
            for (var turn = 0u; turn < UNROLL_VALUES; turn += 1u) {
                let at = thread + turn * THREADS;
                let j = part + at / LANES;
                let inside = min(column, VALUE_DIM - 4u);
                var value: vec4f;
                if DELTA {
                    // Values after erasing.
                    value = u[((work.pair * CHUNK + j) * VALUE_DIM + inside) / 4u];
                } else {
                    let row = row_of(work.chunk, j);
                    value = select(vec4f(), v4(value_row(work.batch, work.head, row.row), inside), row.kept);
                }
                stage[V_STAGE + at] = select(vec4f(), value, column < VALUE_DIM);
            }
            workgroupBarrier();
            add_values(&o, &denominators, part, row_lane, lane);
        }
    }

    for (var r = 0u; r < 4u; r += 1u) {
        let row = row_of(work.chunk, row_lane * 4u + r);
        if row.emits & (column < VALUE_DIM) {
            var value = o[r] * params.scale;
            if NORMALISE {
                value /= denominators[r] * params.scale + params.eps;
            }
            if ADD_PARTIAL {
                value += partial_output(work.batch, work.head, row.token, column);
            }
            put_o4(output_row(work.batch, work.head, row.token), column, value);
        }
    }
}
