// Products of the delta rule's inverses with erase keys and values, all chunks at once.
//
//   W = T X^          x^_r = beta_r x_r exp(G_r)          U = T Y          y_r = beta_r v_r
//
// Shapes    x [B, H, R, Dk]   v [B, HV, R, Dv]   T^T [HV, slots, CHUNK, CHUNK]   -W^T [HV, slots, Dk, CHUNK]
//           U [HV, slots, CHUNK, Dv]
// Dispatch  x = slots times tiles of 64 columns of X^ and of Y, y = value heads
// Storage   16 KiB of workgroup memory: slices of T and of the right side. A thread owns 4 rows and 4 columns.
// Numerics  f32
// Source    Yang et al. 2024, Parallelizing DeltaNet, equation 11

import package::linear_attention::problem::{HEAD_DIM, VALUE_DIM, ERASE_KEY, ERASE_FIRST, GATE, key_row, value_row, beta_of};
import package::linear_attention::chunk::{CHUNK, work_of, row_of};
import package::linear_attention::chunk_decays::{PRE, row_decays, row_decays_before, channel_decays, channel_decays_before};
import package::linear_attention::chunk_stage::{LANES, THREADS, STAGE, stage};
import package::linear_attention::erase::{erase4};
import package::shared::inputs::{k4, v4};
import package::shared::tile::{rank1_updates};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(18) var<storage, read_write> u_out: array<vec4f>;
@group(0) @binding(19) var<storage, read_write> w_out: array<vec4f>;
@group(0) @binding(20) var<storage, read> inverses: array<vec4f>;

// Rows that are staged at a time, and steps whose operands are loaded together.
const SLICE: u32 = 32u;
const BATCH: u32 = 4u;

const KEY_TILES: u32 = (HEAD_DIM + 63u) / 64u;
const TILES: u32 = KEY_TILES + (VALUE_DIM + 63u) / 64u;
const B_STAGE: u32 = SLICE * LANES;
const UNROLL_STAGE: u32 = SLICE * LANES / THREADS;
const_assert SLICE % 4u == 0u && 4u % BATCH == 0u;
const_assert 2u * SLICE * LANES <= STAGE;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let work = work_of(dispatched, TILES);
    if work.chunk.rows == 0u {
        return;
    }
    let lane = thread % LANES;
    let row_lane = thread / LANES;
    let tile = work.tile;
    let of_keys = tile < KEY_TILES;
    let column = select(tile - KEY_TILES, tile, of_keys) * 64u + lane * 4u;
    let width = select(VALUE_DIM, HEAD_DIM, of_keys);
    let inside = min(column, width - 4u);

    var sums: array<vec4f, 4>;
    for (var part = 0u; part < work.chunk.rows; part += SLICE) {
        workgroupBarrier();
        for (var turn = 0u; turn < UNROLL_STAGE; turn += 1u) {
            let at = thread + turn * THREADS;
            let j = part + at / LANES;
            stage[at] = inverses[(work.pair * CHUNK + part) * LANES + at];
            let row = row_of(work.chunk, j);
            var value: vec4f;
            if of_keys {
                if ERASE_KEY {
                    value = erase4(work.batch, work.head, row.row, inside);
                } else {
                    value = k4(key_row(work.batch, work.head, row.row), inside);
                }
                if GATE == 1u {
                    if ERASE_FIRST {
                        value *= row_decays_before(work.pair, j).x;
                    } else {
                        value *= row_decays(work.pair, j).x;
                    }
                } else if GATE == 2u {
                    if ERASE_FIRST {
                        value *= channel_decays_before(work.pair, j, inside, HEAD_DIM);
                    } else {
                        value *= channel_decays(work.pair, PRE, j, inside, HEAD_DIM);
                    }
                }
            } else {
                value = v4(value_row(work.batch, work.head, row.row), inside);
            }
            value *= beta_of(work.batch, work.head, row.row);
            stage[B_STAGE + at] = select(vec4f(), value, row.kept & (column < width));
        }
        workgroupBarrier();
        // Columns that all of the thread's rows have, then the block on the diagonal. Elements above it are not
        // multiplied: 0 times NaN is not 0.
        let own = row_lane * 4u;
        let before = clamp(own, part, part + SLICE) - part;
        for (var j = 0u; j < before; j += BATCH) {
            rank1_updates(&sums, j, row_lane, LANES, B_STAGE, lane, LANES);
        }
        if own / SLICE == part / SLICE {
            for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
                let a = stage[(own - part + i) * LANES + row_lane];
                let b = stage[B_STAGE + (own - part + i) * LANES + lane];
                for (var r = i; r < UNROLL_COMPONENTS; r += 1u) {
                    sums[r] = fma(vec4f(a[r]), b, sums[r]);
                }
            }
        }
    }
    if column < width {
        for (var r = 0u; r < 4u; r += 1u) {
            if of_keys {
                let to = (work.pair * HEAD_DIM + column + r) * LANES + row_lane;
                w_out[to] = -vec4f(sums[0][r], sums[1][r], sums[2][r], sums[3][r]);
            } else {
                u_out[((work.pair * CHUNK + row_lane * 4u + r) * VALUE_DIM + column) / 4u] = sums[r];
            }
        }
    }
}
