// The addition of each chunk to the state, all chunks at once.
//
//   H[d,c] = sum_j exp(G_last - G_j)[d] k_j[d] v_j[c]          over the chunk's rows j; their sum without v, too
//
// Shapes    k [B, H, R, Dk]   v [B, HV, R, Dv]   H [HV, slots, Dk, Dv]   sums [HV, slots, Dk]
// Dispatch  x = slots times tiles of 64 x 64 of H, y = value heads
// Storage   16 KiB of workgroup memory: slices of k and v as they lie. A thread owns 4 channels and 4 columns of H.
// Numerics  f32; keys decay to the chunk's end before they are multiplied
// Source    Katharopoulos et al. 2020; Sun et al. 2023, RetNet, the chunkwise form

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, GATE, key_row, value_row};
import package::linear_attention::chunk::{CHUNK, work_of, row_of};
import package::linear_attention::chunk_decays::{SUF, row_decays, channel_decays};
import package::linear_attention::chunk_stage::{LANES, THREADS, STAGE, stage, summed_updates};
import package::linear_attention::sums::{NORMALISE};
import package::shared::inputs::{k4, v4};

@group(0) @binding(17) var<storage, read_write> states_out: array<vec4f>;
@group(0) @binding(21) var<storage, read_write> sums_out: array<vec4f>;

// Rows that are staged at a time, and steps whose operands are loaded together.
const SLICE: u32 = 32u;
const BATCH: u32 = 2u;

const COLUMN_TILES: u32 = (VALUE_DIM + 63u) / 64u;
const TILES: u32 = (HEAD_DIM + 63u) / 64u * COLUMN_TILES;
const V_STAGE: u32 = SLICE * LANES;
const UNROLL_STAGE: u32 = SLICE * LANES / THREADS;
const UNROLL_SLICE: u32 = SLICE;
const_assert 2u * SLICE * LANES <= STAGE && CHUNK % SLICE == 0u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let work = work_of(dispatched, TILES);
    if work.chunk.rows == 0u {
        return;
    }
    let first_channel = work.tile / COLUMN_TILES * 64u;
    let first_column = work.tile % COLUMN_TILES * 64u;
    let lane = thread % LANES;
    let row_lane = thread / LANES;
    let channel = first_channel + lane * 4u;
    let column = first_column + lane * 4u;

    var h: array<vec4f, 4>;
    var sum: vec4f;
    for (var part = 0u; part < work.chunk.rows; part += SLICE) {
        workgroupBarrier();
        for (var turn = 0u; turn < UNROLL_STAGE; turn += 1u) {
            let at = thread + turn * THREADS;
            let j = part + at / LANES;
            let row = row_of(work.chunk, j);
            var k = k4(key_row(work.batch, work.head, row.row), min(channel, HEAD_DIM - 4u));
            let v = v4(value_row(work.batch, work.head, row.row), min(column, VALUE_DIM - 4u));
            if GATE == 1u {
                k *= row_decays(work.pair, j).y;
            } else if GATE == 2u {
                k *= channel_decays(work.pair, SUF, j, min(channel, HEAD_DIM - 4u), HEAD_DIM);
            }
            stage[at] = select(vec4f(), k, row.kept & (channel < HEAD_DIM));
            stage[V_STAGE + at] = select(vec4f(), v, row.kept & (column < VALUE_DIM));
        }
        workgroupBarrier();
        for (var j = 0u; j < UNROLL_SLICE; j += BATCH) {
            summed_updates(&h, &sum, j, row_lane, V_STAGE, lane);
        }
    }
    let to = first_channel + row_lane * 4u;
    if NORMALISE {
        if first_column == 0u && lane == 0u && to < HEAD_DIM {
            sums_out[(work.pair * HEAD_DIM + to) / 4u] = sum;
        }
    }
    if to < HEAD_DIM && column < VALUE_DIM {
        for (var r = 0u; r < 4u; r += 1u) {
            states_out[((work.pair * HEAD_DIM + to + r) * VALUE_DIM + column) / 4u] = h[r];
        }
    }
}
