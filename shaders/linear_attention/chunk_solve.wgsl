// The inverses that make the delta rule a matrix product, all chunks at once.
//
//   T = (1 + M)^-1          M[r,j] = beta_r x_r . k_j exp(G_r - G_j) for j < r, 0 from there on
//
// Shapes    k, x [B, H, R, Dk]   beta [B, HV, R]   T^T [HV, slots, CHUNK, CHUNK]: columns of T
// Dispatch  x = slots, y = value heads
// Storage   16 KiB of workgroup memory, in turn slices of x and k, and M while it becomes T. A thread owns 4 rows and 4 keys.
// Numerics  f32; forward substitution in blocks of 16, then blocks are eliminated
// Source    Yang et al. 2024, Parallelizing DeltaNet, equation 11; Gated Delta Networks, section 3.3
//
// M and T are staged transposed, as vectors of four rows of a column. Both are zero above the diagonal.

import package::linear_attention::problem::{HEAD_DIM, ERASE_KEY, ERASE_FIRST, GATE, key_row, beta_of};
import package::linear_attention::chunk::{CHUNK, work_of, row_of};
import package::linear_attention::chunk_decays::{row_decays, row_decays_before, between};
import package::linear_attention::chunk_stage::{LANES, THREADS, STAGE, stage};
import package::linear_attention::erase::{erase4};
import package::shared::inputs::{k4};
import package::shared::tile::{stage_transposed, rank1_updates};
import package::shared::vector::{UNROLL_COMPONENTS};

// With gates of channels M, but for beta, lies there already: see linear_attention/chunk_scores.
@group(0) @binding(20) var<storage, read_write> matrices: array<vec4f>;

// Channels that are staged at a time, and steps whose operands are loaded together.
const SLICE: u32 = 32u;
const BATCH: u32 = 2u;

const BLOCKS: u32 = LANES * SLICE / 4u;
const K_STAGE: u32 = SLICE * LANES;
const UNROLL_SLICE: u32 = SLICE;
// Vectors of a staged matrix, and how many each thread moves.
const VECTORS: u32 = CHUNK * LANES;
const TURNS: u32 = VECTORS / THREADS;
const_assert 2u * BLOCKS == THREADS && 2u * SLICE * LANES <= STAGE;

// Four rows of a column of a product of two staged blocks: the left one's columns and the right one's rows are `count` from
// `first` on.
fn product(rows: u32, column: u32, first: u32, count: u32) -> vec4f {
    var sum: vec4f;
    for (var k = 0u; k < count; k += 4u) {
        let right = stage[column * LANES + (first + k) / 4u];
        for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
            sum = fma(stage[(first + k + c) * LANES + rows], vec4f(right[c]), sum);
        }
    }
    return sum;
}

// The same of a left block that is zero above its diagonal. Elements there are not multiplied: 0 times NaN is not 0.
fn triangle_product(rows: u32, column: u32, first: u32) -> vec4f {
    var sum = product(rows, column, first, rows * 4u - first);
    let right = stage[column * LANES + rows];
    for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
        let next = fma(stage[(rows * 4u + c) * LANES + rows], vec4f(right[c]), sum);
        sum = select(sum, next, vec4u(0u, 1u, 2u, 3u) >= vec4u(c));
    }
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let work = work_of(dispatched, 1u);
    if work.chunk.rows == 0u {
        return;
    }
    let lane = thread % LANES;
    let row_lane = thread / LANES;

    var betas: vec4f;
    for (var r = 0u; r < UNROLL_COMPONENTS; r += 1u) {
        let row = row_of(work.chunk, row_lane * 4u + r);
        betas[r] = select(0.0, beta_of(work.batch, work.head, row.row), row.kept);
    }

    var m: array<vec4f, 4>;
    if GATE != 2u {
        for (var slice = 0u; slice < HEAD_DIM; slice += SLICE) {
            workgroupBarrier();
            let quad = thread % LANES;
            let column = thread % BLOCKS / LANES * 4u;
            let at = select(K_STAGE, 0u, thread < BLOCKS) + column * LANES + quad;
            let d = min(slice + column, HEAD_DIM - 4u);
            var rows: array<vec4f, 4>;
            for (var r = 0u; r < 4u; r += 1u) {
                let row = row_of(work.chunk, quad * 4u + r);
                if ERASE_KEY && thread < BLOCKS {
                    rows[r] = erase4(work.batch, work.head, row.row, d);
                } else {
                    rows[r] = k4(key_row(work.batch, work.head, row.row), d);
                }
                rows[r] = select(vec4f(), rows[r], row.kept & (slice + column < HEAD_DIM));
            }
            stage_transposed(at, LANES, rows[0], rows[1], rows[2], rows[3]);
            workgroupBarrier();
            for (var channel = 0u; channel < UNROLL_SLICE; channel += BATCH) {
                rank1_updates(&m, channel, row_lane, LANES, K_STAGE, lane, LANES);
            }
        }
        if GATE == 1u {
            var whole: vec4f;
            var rest: vec4f;
            for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
                let decays = row_decays(work.pair, lane * 4u + c);
                whole[c] = decays.z;
                rest[c] = decays.w;
            }
            for (var r = 0u; r < 4u; r += 1u) {
                if ERASE_FIRST {
                    m[r] *= between(row_decays_before(work.pair, row_lane * 4u + r), whole, rest);
                } else {
                    m[r] *= between(row_decays(work.pair, row_lane * 4u + r), whole, rest);
                }
            }
        }
        for (var r = 0u; r < 4u; r += 1u) {
            let key = lane * 4u;
            let before = vec4u(key, key + 1u, key + 2u, key + 3u) < vec4u(row_lane * 4u + r);
            m[r] = select(vec4f(), m[r] * betas[r], before);
        }
        workgroupBarrier();
        stage_transposed(lane * 4u * LANES + row_lane, LANES, m[0], m[1], m[2], m[3]);
    } else {
        for (var c = 0u; c < 4u; c += 1u) {
            let at = (lane * 4u + c) * LANES + row_lane;
            stage[at] = matrices[work.pair * VECTORS + at] * betas;
        }
    }
    workgroupBarrier();

    // Blocks of 16 on the diagonal: a thread solves for one column of T.
    let block = thread / 16u;
    let own = thread % 16u;
    var t: array<vec4f, 4>;
    if thread < CHUNK {
        for (var k = 0u; k < 16u; k += 1u) {
            let solved = select(-t[k / 4u][k % 4u], 1.0, k == own);
            // Not the rows that are solved, and again no product with 0.
            let next = fma(stage[(block * 16u + k) * LANES + block * 4u + k / 4u], vec4f(solved), t[k / 4u]);
            t[k / 4u] = select(t[k / 4u], next, vec4u(0u, 1u, 2u, 3u) > vec4u(k % 4u));
            t[k / 4u][k % 4u] = solved;
            for (var i = k / 4u + 1u; i < 4u; i += 1u) {
                t[i] = fma(stage[(block * 16u + k) * LANES + block * 4u + i], vec4f(solved), t[i]);
            }
        }
    }
    workgroupBarrier();
    if thread < CHUNK {
        for (var i = 0u; i < 4u; i += 1u) {
            stage[thread * LANES + block * 4u + i] = t[i];
        }
    }
    workgroupBarrier();

    // Two blocks of 16 become one of 32, twice: what is below the diagonal is -T22 M21 T11.
    let half = thread / 64u;
    let half_column = half * 32u + thread % 16u;
    let half_rows = half * 8u + 4u + thread % 64u / 16u;
    var below: vec4f;
    if half < 2u {
        below = product(half_rows, half_column, half * 32u, 16u);
    }
    workgroupBarrier();
    if half < 2u {
        stage[half_column * LANES + half_rows] = below;
    }
    workgroupBarrier();
    if half < 2u {
        below = -triangle_product(half_rows, half_column, half * 32u + 16u);
    }
    workgroupBarrier();
    if half < 2u {
        stage[half_column * LANES + half_rows] = below;
    }
    workgroupBarrier();

    // And two of 32 one of 64.
    let whole_column = thread / 8u;
    let whole_rows = 8u + thread % 8u;
    below = product(whole_rows, whole_column, 0u, 32u);
    workgroupBarrier();
    stage[whole_column * LANES + whole_rows] = below;
    workgroupBarrier();
    below = -triangle_product(whole_rows, whole_column, 32u);
    workgroupBarrier();
    stage[whole_column * LANES + whole_rows] = below;
    workgroupBarrier();
    for (var turn = 0u; turn < TURNS; turn += 1u) {
        matrices[work.pair * VECTORS + turn * THREADS + thread] = stage[turn * THREADS + thread];
    }
}
