// Tiled attention, forward: two-dimensional register tiles fed through workgroup memory.
//
//   o[b,h,i,:] = sum_j softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:]          g = h / (H / G)
//
// Shapes    q [B, H, Tq, Dk]   k [B, G, Tk, Dk]   v [B, G, Tk, Dv]   o [B, H, Tq, Dv]   lse [B, H, Tq]
// Dispatch  x = tiles of BLOCK_Q rows, y = heads (folded), z = B
// Storage   16 KiB of workgroup memory, in turn a slice of q and k, the row maxima, part of the weights with a slice of v.
//           A thread owns 4 rows and 4 keys of the tile, and 4 * VALUE_VECTORS columns of o for its rows.
// Numerics  f32 accumulation; scores in base 2, or natural where an expression or a sink wants them (see softmax.wgsl). Steps
//           that may hide elements look whether all their values are finite, and if not take products of seen elements only.
// Source    Dao 2023, algorithm 1; Milakov and Gimelshein 2018
//
// q and k are staged transposed ([d][row], [d][key]): one vec4 load brings four rows or keys of the same d, and each pair
// of loads feeds an outer product of 16 FMAs. The weights are staged as [key][row] for the same reason.

import package::attention::problem::{HEAD_DIM, VALUE_DIM, params, row_at, row_count, q_row, q_row_after, kv_head, k_head_offset, v_head_offset, batch_of, last_key, keys_of_tile};
import package::attention::keys::{PAGED, QUANTISED};
import package::attention::operands::{query_row4, key_row4};
import package::attention::blocks::{TOKEN_ORDER, ELEMENT_BITS, place_of, visits_of, first_key};
import package::attention::hooks::{SCORE_MOD, MASK_MOD};
import package::attention::softmax::{HIDES, FIRST_ROW_MAX, weights};
import package::attention::scale::{ROW_SCALES, NORMALISE, SINKS, row_scale, key_norms_of};
import package::attention::online_softmax::{add_sink, finish_row};
import package::attention::tiled_steps::{Scores, Outputs, key_in, k_row_in, scale_scores, multiply_by_key_scales, hide_missing_pages, divide_by_key_norms, modify_scores, mask_scores, hide_unseen_keys, find_hidden, new_row_max, take_scores, mark_hidden, stage_weights_and_values, add_values, add_seen_values, sum_rows};
import package::shared::tile::{stage_transposed, rank1_updates};
import package::shared::grid::{workgroup_of};

// Threads along the keys (and the columns of o), and along the rows.
const LANES: u32 = 16u;
const ROW_LANES: u32 = 16u;
// Columns of q and k, and keys of the weights and v, that are staged at a time.
const SLICE: u32 = 32u;
const KEY_SLICE: u32 = 32u;
// Steps whose operands are loaded together. They are used last first: the wait for the last then covers all of them.
const BATCH: u32 = 2u;

const THREADS: u32 = LANES * ROW_LANES;
const BLOCK_Q: u32 = 4u * ROW_LANES;
const BLOCK_K: u32 = 4u * LANES;
const VALUE_VECTORS: u32 = (VALUE_DIM + BLOCK_K - 1u) / BLOCK_K;
const VALUE_LANES: u32 = VALUE_VECTORS * LANES;
const Q_BLOCKS: u32 = ROW_LANES * (SLICE / 4u);
const BLOCKS: u32 = Q_BLOCKS + LANES * (SLICE / 4u);
const UNROLL_BLOCKS: u32 = (BLOCKS + THREADS - 1u) / THREADS;
const UNROLL_VALUES: u32 = (KEY_SLICE * VALUE_LANES + THREADS - 1u) / THREADS;
// Whole slices are unrolled here: some drivers leave so long a loop rolled, at 13 % of its instructions.
const UNROLL_SLICE: u32 = SLICE;
const UNROLL_WEIGHTS: u32 = KEY_SLICE / BATCH;
const K_STAGE: u32 = SLICE * ROW_LANES;
const V_STAGE: u32 = KEY_SLICE * ROW_LANES;
// Beside the row maxima lies a flag.
const STAGE: u32 = max(max(SLICE * (ROW_LANES + LANES), KEY_SLICE * (ROW_LANES + VALUE_LANES)), THREADS + 1u);
const UNROLL_BATCH: u32 = BATCH;
const_assert SLICE % 4u == 0u && KEY_SLICE % 4u == 0u;
const_assert BLOCK_K % KEY_SLICE == 0u;

var<workgroup> stage: array<vec4f, STAGE>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_of(dispatched);
    let place = place_of(workgroup);
    let group = place.group;
    let lane = thread % LANES;
    let row_lane = thread / LANES;
    let first_row = params.first_row + group.x * BLOCK_Q;
    let k_first = k_head_offset(group);
    let v_first = v_head_offset(group);
    let last = last_key(batch_of(group));
    let k_last = k_first + last * params.k_row;
    let v_last = v_first + last * params.v_row;
    let keys = keys_of_tile(group, first_row, BLOCK_Q);

    var o: Outputs;
    var row_max: array<f32, 4>;
    var row_sum: array<f32, 4>;
    for (var r = 0u; r < 4u; r += 1u) {
        row_max[r] = FIRST_ROW_MAX;
    }

    var scale: array<f32, 4>;
    if ROW_SCALES {
        for (var r = 0u; r < 4u; r += 1u) {
            scale[r] = row_scale(row_at(first_row + row_lane * 4u + r, group));
        }
    }
    var k_norms = 0u;
    if NORMALISE {
        k_norms = key_norms_of(batch_of(group), kv_head(group));
    }

    let visits = visits_of(place.list, keys.some, BLOCK_K);
    for (var step = visits.first_step; step < visits.steps; step += 1u) {
        let key_0 = first_key(visits, step, BLOCK_K);
        var s: Scores;
        for (var slice = 0u; slice < HEAD_DIM; slice += SLICE) {
            workgroupBarrier();
            // A block is 4 x 4: first come those of q, then those of k.
            for (var turn = 0u; turn < UNROLL_BLOCKS; turn += 1u) {
                let block = thread + turn * THREADS;
                if block < Q_BLOCKS {
                    let quad = block % ROW_LANES;
                    let column = block / ROW_LANES * 4u;
                    let d = slice + column;
                    let row = first_row + quad * 4u;
                    let a = q_row(row_at(row, group));
                    if HEAD_DIM % SLICE == 0u || d < HEAD_DIM {
                        stage_transposed(column * ROW_LANES + quad, ROW_LANES, query_row4(a, d), query_row4(q_row_after(a, row, 1u, group), d),
                            query_row4(q_row_after(a, row, 2u, group), d), query_row4(q_row_after(a, row, 3u, group), d));
                    } else {
                        stage_transposed(column * ROW_LANES + quad, ROW_LANES, vec4f(), vec4f(), vec4f(), vec4f());
                    }
                } else if BLOCKS % THREADS == 0u || block < BLOCKS {
                    let quad = (block - Q_BLOCKS) % LANES;
                    let column = (block - Q_BLOCKS) / LANES * 4u;
                    let d = slice + column;
                    let at = K_STAGE + column * LANES + quad;
                    let place = key_0 + quad * 4u;
                    let a = k_first + place * params.k_row;
                    if HEAD_DIM % SLICE == 0u || d < HEAD_DIM {
                        if TOKEN_ORDER || PAGED {
                            stage_transposed(at, LANES, key_row4(k_row_in(k_first, place, group), d), key_row4(k_row_in(k_first, place + 1u, group), d),
                                key_row4(k_row_in(k_first, place + 2u, group), d), key_row4(k_row_in(k_first, place + 3u, group), d));
                        } else {
                            stage_transposed(at, LANES, key_row4(min(a, k_last), d), key_row4(min(a + params.k_row, k_last), d),
                                key_row4(min(a + 2u * params.k_row, k_last), d), key_row4(min(a + 3u * params.k_row, k_last), d));
                        }
                    } else {
                        stage_transposed(at, LANES, vec4f(), vec4f(), vec4f(), vec4f());
                    }
                }
            }
            workgroupBarrier();
            for (var d = 0u; d < UNROLL_SLICE; d += BATCH) {
                rank1_updates(&s, d, row_lane, ROW_LANES, K_STAGE, lane, LANES);
            }
        }

        scale_scores(&s, &scale);
        let key = key_0 + lane * 4u;
        let places = min(vec4u(key, key + 1u, key + 2u, key + 3u), vec4u(last));
        var these = places;
        if TOKEN_ORDER {
            these = vec4u(key_in(places.x, group), key_in(places.y, group), key_in(places.z, group), key_in(places.w, group));
        }
        if QUANTISED {
            multiply_by_key_scales(&s, group, &these);
        }
        if NORMALISE {
            divide_by_key_norms(&s, &k_norms, &these);
        }
        if SCORE_MOD {
            modify_scores(&s, first_row, row_lane, group, &these);
        }
        if MASK_MOD || ELEMENT_BITS {
            // The same for the whole workgroup: blocks without hidden elements skip all of this.
            if step < visits.partial_steps {
                mask_scores(&s, step, key, first_row, row_lane, group, visits, places, &these);
            }
        }
        if PAGED {
            hide_missing_pages(&s, group, &these);
        }
        if key_0 + BLOCK_K > keys.every {
            hide_unseen_keys(&s, key, first_row, row_lane, group);
        }

        // Whether elements may be hidden in this step: scores of -inf hide theirs anywhere.
        var tested = false;
        var hidden = 0u;
        var odd = false;
        if HIDES {
            tested = SCORE_MOD | PAGED | (key_0 + BLOCK_K > keys.every);
            if MASK_MOD || ELEMENT_BITS {
                tested = tested | (step < visits.partial_steps);
            }
            if tested {
                find_hidden(&s, &hidden, &odd, thread, key_0, v_first, group);
            }
        }

        // Row maxima: each thread offers those of its four keys and reads those of its rows' other threads.
        workgroupBarrier();
        if tested {
            if thread == 0u {
                stage[THREADS] = vec4f();
            }
            workgroupBarrier();
            if odd {
                stage[THREADS] = vec4f(1.0);
            }
        }
        let new_max = new_row_max(&s, &row_max, row_lane, lane);
        if tested {
            odd = stage[THREADS].x != 0.0;
        }
        take_scores(&s, &o, &row_max, &row_sum, new_max);
        if tested {
            if odd {
                mark_hidden(&s, &hidden);
            }
        }

        for (var part = 0u; part < BLOCK_K; part += KEY_SLICE) {
            workgroupBarrier();
            stage_weights_and_values(&s, part, thread, row_lane, lane, key_0, v_first, v_last, group);
            workgroupBarrier();
            if HIDES && odd {
                add_seen_values(&o, row_lane, lane);
            } else {
                add_values(&o, row_lane, lane);
            }
        }
    }

    sum_rows(&row_sum, row_lane, lane);
    for (var r = 0u; r < 4u; r += 1u) {
        let index = first_row + row_lane * 4u + r;
        if SINKS {
            add_sink(&o[r], &row_max[r], &row_sum[r], row_at(index, group).head);
        }
        if index < row_count(batch_of(group)) {
            finish_row(&o[r], &row_max[r], &row_sum[r], row_at(index, group), lane, LANES);
        }
    }
}
