// Attention by matrix units, forward: a subgroup multiplies tiles of f16 and adds in f32.
//
//   o[b,h,i,:] = sum_j softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:]          g = h / (H / G)
//
// Shapes    q [B, H, Tq, Dk]   k and v packed (see matrix_tiles)   o [B, H, Tq, Dv]   lse [B, H, Tq]
// Dispatch  x = tiles of BLOCK_Q rows, y = heads (folded), z = B; a workgroup is one subgroup of LANES lanes
// Storage   q and o in matrices of the subgroup; workgroup memory for BLOCK_Q x KEYS scores and weights
// Numerics  products of f16, sums in f32. Weights are f16 for the second product: relative to their row's reference, at most 2^15
// Source    Dao 2023, algorithm 1; Milakov and Gimelshein 2018; Zadouri et al. 2026, FlashAttention-4, section 3.2, for the delayed
//           rescaling
//
// Elements of matrices are out of reach, so scores go through workgroup memory, where each lane has a part of a row: there they are
// masked and become weights. o stays in matrices. A row's weights are relative to a reference that follows its maximum only where
// that has grown by more than MARGIN; then, and where a value is not finite, o goes through workgroup memory too.

import package::attention::problem::{params, kv_head, batch_of, keys_of_tile, row_at};
import package::attention::blocks::{ELEMENT_BITS, place_of, visits_of, first_key};
import package::attention::hooks::{SCORE_MOD, MASK_MOD};
import package::attention::keys::{PAGED};
import package::attention::softmax::{FIRST_ROW_MAX};
import package::attention::scale::{HEAD_SCALE, NORMALISE, row_scale, key_norms_of};
import package::attention::matrix_tiles::{KEYS, KEY_WIDTH, VALUE_WIDTH, PACKED_TILE, FLAG_AT, first_tile};
import package::attention::matrix_steps::{Scores, load_queries, multiply_keys, read_scores, divide_by_key_norms, modify_scores, mask_scores, hide_missing_pages, hide_unseen_keys, note_seen, weigh, follow_references, multiply_values, finish};
import package::shared::matrix::{SIDE, MatrixA, MatrixC};
import package::shared::grid::{workgroup_of};

const LANES: u32 = 32u;
// Matrices along the rows of the tile.
const ROW_TILES: u32 = 1u;

const BLOCK_Q: u32 = ROW_TILES * SIDE;
const KEY_TILES: u32 = KEYS / SIDE;
const HEAD_TILES: u32 = KEY_WIDTH / SIDE;
const VALUE_TILES: u32 = VALUE_WIDTH / SIDE;
// Lanes that share a row, and rows that a lane has.
const ROW_LANES: u32 = max(LANES / BLOCK_Q, 1u);
const LANE_ROWS: u32 = max(BLOCK_Q / LANES, 1u);
// Vectors of four keys that a lane has of a row.
const VECTORS: u32 = KEYS / ROW_LANES / 4u;
// Elements of a row in workgroup memory: a few more than there are, so that rows begin in other banks.
const SCORE_ROW: u32 = KEYS + 4u;
const WEIGHT_ROW: u32 = KEYS + 8u;
const_assert (LANES & (LANES - 1u)) == 0u && LANES * LANE_ROWS == BLOCK_Q * ROW_LANES;
const_assert ROW_LANES <= KEYS / 4u;

// Scores of the step, or a part of o.
var<workgroup> score_rows: array<f32, BLOCK_Q * SCORE_ROW>;
// Weights of the step, or a part of q.
var<workgroup> weight_rows: array<f16, BLOCK_Q * WEIGHT_ROW>;
// Factors of rows of o, and in the end their divisors.
var<workgroup> row_factors: array<f32, BLOCK_Q>;
// Bits of the keys that each lane sees of each of its rows.
var<workgroup> seen_bits: array<u32, LANES * LANE_ROWS>;
// Whether o goes through workgroup memory in this step.
var<workgroup> visits_o: u32;

@group(0) @binding(18) var<storage, read> packed: array<f16>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
    let workgroup = workgroup_of(dispatched);
    let place = place_of(workgroup);
    let group = place.group;
    let first_row = params.first_row + group.x * BLOCK_Q;
    let keys = keys_of_tile(group, first_row, BLOCK_Q);
    let tiles = first_tile(batch_of(group), kv_head(group));

    var q: array<array<MatrixA, HEAD_TILES>, ROW_TILES>;
    load_queries(&q, lane, first_row, group);
    var o: array<array<MatrixC, VALUE_TILES>, ROW_TILES>;
    var reference: array<f32, LANE_ROWS>;
    var row_sum: array<f32, LANE_ROWS>;
    var scale: array<f32, LANE_ROWS>;
    for (var r = 0u; r < LANE_ROWS; r += 1u) {
        reference[r] = FIRST_ROW_MAX;
        row_sum[r] = 0.0;
        scale[r] = params.scale;
        if HEAD_SCALE || NORMALISE {
            scale[r] = row_scale(row_at(first_row + lane / ROW_LANES + r * LANES, group));
        }
    }
    var k_norms = 0u;
    if NORMALISE {
        k_norms = key_norms_of(batch_of(group), kv_head(group));
    }

    let visits = visits_of(place.list, keys.some, KEYS);
    for (var step = visits.first_step; step < visits.steps; step += 1u) {
        let key_0 = first_key(visits, step, KEYS);
        let tile = (tiles + key_0 / KEYS) * PACKED_TILE;
        let odd = packed[tile + FLAG_AT] != 0.0h;
        workgroupBarrier();
        multiply_keys(&q, tile);
        if lane == 0u {
            visits_o = select(0u, 1u, odd);
        }
        workgroupBarrier();

        var s: Scores;
        read_scores(&s, &scale, lane);
        if NORMALISE {
            divide_by_key_norms(&s, k_norms, key_0, lane, group);
        }
        if SCORE_MOD {
            modify_scores(&s, key_0, lane, first_row, group);
        }
        if MASK_MOD || ELEMENT_BITS {
            // The same for the whole workgroup: blocks without hidden elements skip all of this.
            if step < visits.partial_steps {
                mask_scores(&s, step, key_0, lane, first_row, group, visits);
            }
        }
        if PAGED {
            hide_missing_pages(&s, key_0, lane, group);
        }
        if key_0 + KEYS > keys.every {
            hide_unseen_keys(&s, key_0, lane, first_row, group);
        }
        if odd {
            note_seen(&s, lane);
        }
        weigh(&s, &reference, &row_sum, lane);
        // Waits for all lanes, too.
        if workgroupUniformLoad(&visits_o) != 0u {
            follow_references(&o, tile, odd, lane);
        }
        multiply_values(&o, tile);
    }
    finish(&o, &reference, &row_sum, lane, first_row, group);
}
