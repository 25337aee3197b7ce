// Scores within chunks where every channel has a gate of its own, all chunks at once.
//
//   A[r,j] = sum_d a_r[d] k_j[d] exp(G_r - G_j)[d] for j <= r, or j < r, 0 beyond          a is q, or the erase key
//
// Shapes    a, k [B, H, R, Dk]   A^T [HV, slots, CHUNK, CHUNK]: columns of A
// Dispatch  x = slots, y = value heads
// Storage   16 KiB of workgroup memory: slices of a, k and decays. A thread owns 4 rows and 4 keys of A, and a quarter of a
//           column of a block on the diagonal.
// Numerics  f32. Between blocks of 16 rows, rows decay from their block's start and keys to their block's end and over the
//           blocks in between; within a block, keys decay row by row. All factors are at most 1; none is a quotient.
// Source    Yang et al. 2024, Gated Linear Attention, section 4.3 (secondary chunking)

import package::linear_attention::problem::{HEAD_DIM, ERASE_KEY, query_row, key_row};
import package::linear_attention::chunk::{CHUNK, work_of, row_of};
import package::linear_attention::chunk_decays::{DECAY, channel_decays};
import package::linear_attention::chunk_stage::{LANES, THREADS, stage};
import package::linear_attention::erase::{erase4};
import package::linear_attention::sums::{BONUS, bonus_of};
import package::shared::inputs::{q4, k4};
import package::shared::tile::{stage_transposed, rank1_updates};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(20) var<storage, read_write> scores_out: array<vec4f>;

// Whether rows are those of erase keys; whether a row's own key is left out; whether rows are read before their own gate.
const ERASE: bool = false;
const STRICT: bool = false;
const BEFORE: bool = false;
// Channels that are staged at a time, and steps whose operands are loaded together.
const SLICE: u32 = 16u;
const BATCH: u32 = 2u;

// Rows of a block, in vectors; blocks; and how threads share the channels of blocks on the diagonal.
const ROWS: u32 = 4u;
const BLOCKS: u32 = LANES / ROWS;
const PARTS: u32 = THREADS / CHUNK;
const QUADS: u32 = LANES * SLICE / 4u;
const UNROLL_SLICE: u32 = SLICE;
const K_STAGE: u32 = SLICE * LANES;
const DECAY_STAGE: u32 = 2u * SLICE * LANES;
// Keys that decay over one block or two: those of block 0 for block 2, of 1 for 3, and of 0 for 3.
const FAR_STAGE: u32 = 3u * SLICE * LANES;
const FAR: u32 = 3u * ROWS;
const TOTAL_STAGE: u32 = FAR_STAGE + SLICE * FAR;
const_assert 3u * QUADS <= THREADS && SLICE % PARTS == 0u;
const_assert TOTAL_STAGE + SLICE <= 1024u && SLICE * BLOCKS * 2u <= THREADS;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let work = work_of(dispatched, 1u);
    if work.chunk.rows == 0u {
        return;
    }
    let lane = thread % LANES;
    let row_lane = thread / LANES;
    // Where the keys lie that this thread's rows see, and how far the next channel's are.
    let row_block = row_lane / ROWS;
    let key_block = lane / ROWS;
    let far = row_block > key_block + 1u;
    let keys_at = select(K_STAGE + lane, FAR_STAGE + select(row_block - 2u, 2u, row_block == key_block + 3u) * ROWS + lane % ROWS, far);
    let keys_step = select(LANES, FAR, far);
    // A column of a block on the diagonal, and the threads that share its channels.
    let own_column = thread % CHUNK;
    let own_block = own_column / 16u;
    let own_row = own_column % 16u;
    let own_part = thread / CHUNK;

    var a: array<vec4f, 4>;
    var diagonal: array<vec4f, ROWS>;
    for (var slice = 0u; slice < HEAD_DIM; slice += SLICE) {
        workgroupBarrier();
        if thread < 3u * QUADS {
            let quad = thread % LANES;
            let what = thread / QUADS;
            let column = thread % QUADS / LANES * 4u;
            let d = min(slice + column, HEAD_DIM - 4u);
            var rows: array<vec4f, 4>;
            for (var r = 0u; r < 4u; r += 1u) {
                let row = row_of(work.chunk, quad * 4u + r);
                if what == 2u {
                    rows[r] = channel_decays(work.pair, DECAY, quad * 4u + r, d, HEAD_DIM);
                } else if what == 1u {
                    rows[r] = select(vec4f(), k4(key_row(work.batch, work.head, row.row), d), row.kept);
                } else if !ERASE {
                    rows[r] = q4(query_row(work.batch, work.head, row.token), d);
                } else if ERASE_KEY {
                    rows[r] = select(vec4f(), erase4(work.batch, work.head, row.row, d), row.kept);
                } else {
                    rows[r] = select(vec4f(), k4(key_row(work.batch, work.head, row.row), d), row.kept);
                }
                rows[r] = select(vec4f(), rows[r], HEAD_DIM % SLICE == 0u || slice + column < HEAD_DIM);
            }
            stage_transposed(what * SLICE * LANES + column * LANES + quad, LANES, rows[0], rows[1], rows[2], rows[3]);
        }
        workgroupBarrier();

        // Blocks on the diagonal.
        for (var i = 0u; i < SLICE / PARTS; i += 1u) {
            let d = own_part * (SLICE / PARTS) + i;
            let k = stage[K_STAGE + d * LANES + own_column / 4u][own_column % 4u];
            var own_bonus = 0.0;
            if BONUS {
                own_bonus = bonus_of(work.head, slice + d) * k;
            }
            var decayed = 0.0;
            for (var r = 0u; r < ROWS; r += 1u) {
                let row = stage[d * LANES + own_block * ROWS + r];
                let decay = stage[DECAY_STAGE + d * LANES + own_block * ROWS + r];
                for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
                    let own = own_row == 4u * r + c;
                    if BONUS {
                        diagonal[r][c] = fma(row[c], decayed + select(0.0, own_bonus, own), diagonal[r][c]);
                        decayed = fma(decayed, decay[c], select(0.0, k, own));
                    } else if BEFORE {
                        diagonal[r][c] = fma(row[c], decayed, diagonal[r][c]);
                        decayed = fma(decayed, decay[c], select(0.0, k, own));
                    } else {
                        decayed = fma(decayed, decay[c], select(0.0, k, own));
                        diagonal[r][c] = fma(row[c], decayed, diagonal[r][c]);
                    }
                }
            }
        }
        workgroupBarrier();

        // Rows decay from their block's start, keys to their block's end.
        let channel = thread % SLICE;
        let block = thread / SLICE % BLOCKS;
        let block_at = channel * LANES + block * ROWS;
        let of_keys = thread / SLICE >= BLOCKS;
        var keys: array<vec4f, ROWS>;
        if thread < SLICE * BLOCKS {
            var product = 1.0;
            for (var r = 0u; r < ROWS; r += 1u) {
                let decay = stage[DECAY_STAGE + block_at + r];
                var row = stage[block_at + r];
                for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
                    if BEFORE {
                        row[c] *= product;
                        product *= decay[c];
                    } else {
                        product *= decay[c];
                        row[c] *= product;
                    }
                }
                stage[block_at + r] = row;
            }
        } else if thread < 2u * SLICE * BLOCKS {
            var product = 1.0;
            for (var back = 0u; back < ROWS; back += 1u) {
                let r = ROWS - 1u - back;
                let decay = stage[DECAY_STAGE + block_at + r];
                keys[r] = stage[K_STAGE + block_at + r];
                for (var b = 0u; b < UNROLL_COMPONENTS; b += 1u) {
                    keys[r][3u - b] *= product;
                    product *= decay[3u - b];
                }
                stage[K_STAGE + block_at + r] = keys[r];
            }
            stage[TOTAL_STAGE + channel][block] = product;
        }
        workgroupBarrier();
        // And over the blocks in between.
        if of_keys && thread < 2u * SLICE * BLOCKS && block < 2u {
            let totals = stage[TOTAL_STAGE + channel];
            let near = select(totals.z, totals.y, block == 0u);
            for (var r = 0u; r < ROWS; r += 1u) {
                stage[FAR_STAGE + channel * FAR + block * ROWS + r] = keys[r] * near;
                if block == 0u {
                    stage[FAR_STAGE + channel * FAR + 2u * ROWS + r] = keys[r] * (near * totals.z);
                }
            }
        }
        workgroupBarrier();

        for (var d = 0u; d < UNROLL_SLICE; d += BATCH) {
            rank1_updates(&a, d, row_lane, LANES, keys_at, 0u, keys_step);
        }
    }

    // Blocks below the diagonal are done, those above are zero.
    let to = work.pair * CHUNK * LANES;
    if row_block != key_block {
        for (var c = 0u; c < 4u; c += 1u) {
            let column = vec4f(a[0][c], a[1][c], a[2][c], a[3][c]);
            scores_out[to + (lane * 4u + c) * LANES + row_lane] = select(vec4f(), column, row_block > key_block);
        }
    }
    workgroupBarrier();
    for (var r = 0u; r < ROWS; r += 1u) {
        stage[thread * ROWS + r] = diagonal[r];
    }
    workgroupBarrier();
    let column = thread / ROWS;
    let quad = thread % ROWS;
    var sum: vec4f;
    for (var part = 0u; part < PARTS; part += 1u) {
        sum += stage[(part * CHUNK + column) * ROWS + quad];
    }
    let row = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
    let own = vec4u(column % 16u);
    if STRICT {
        sum = select(vec4f(), sum, row > own);
    }
    scores_out[to + column * LANES + column / 16u * ROWS + quad] = sum;
}
