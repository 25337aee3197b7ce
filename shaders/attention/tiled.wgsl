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

import package::attention::problem::{FOLD, params, row_at, row_count, q_row, q_row_after, o_row, kv_head, k_head_offset, v_head_offset, batch_of, last_key, keys_seen, keys_of_tile, put_lse};
import package::shared::inputs::{q4, k4, v4};
import package::shared::output::{put_o4};
import package::attention::hooks::{Element, hook_score, hook_visible};
import package::attention::blocks::{ARRANGED, ELEMENT_BITS, position_of, place_of, visits_of, first_key, bits_of_step, visible_by_bits};
import package::attention::softmax::{HIDES, FIRST_MAXIMUM, weight, weights, are_hidden, not_finite, inverse_of, finite_or_nan, lse_of};
import package::attention::scale::{HEAD_SCALE, NORMALISE, SINKS, inverse_norms, row_scale, key_norms_of, with_sink};
import package::shared::tile::{stage_transposed, rank1_updates};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::grid::{workgroup_of};

// Widths, rounded up to multiples of four.
const HEAD_DIM: u32 = 64u;
const VALUE_DIM: u32 = 64u;
// Threads along the keys (and the columns of o), and along the rows.
const LANES: u32 = 16u;
const ROW_LANES: u32 = 16u;
// Columns of q and k, and keys of the weights and v, that are staged at a time.
const SLICE: u32 = 32u;
const KEY_SLICE: u32 = 32u;
// Steps whose operands are loaded together. They are used last first: the wait for the last then covers all of them.
const BATCH: u32 = 2u;
const WRITE_LSE: bool = true;
const SCORE_HOOK: bool = false;
const MASK_HOOK: bool = false;

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
const_assert HEAD_DIM % 4u == 0u && VALUE_DIM % 4u == 0u && SLICE % 4u == 0u && KEY_SLICE % 4u == 0u;
const_assert BLOCK_K % KEY_SLICE == 0u;

var<workgroup> stage: array<vec4f, STAGE>;

// The key in a place, or in the last.
fn key_in(place: u32, group: vec3u) -> u32 {
    return position_of(min(place, last_key(batch_of(group))));
}

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

    var o: array<array<vec4f, VALUE_VECTORS>, 4>;
    var maximum: array<f32, 4>;
    var weight_sum: array<f32, 4>;
    for (var r = 0u; r < 4u; r += 1u) {
        maximum[r] = FIRST_MAXIMUM;
    }

    var scale: array<f32, 4>;
    if HEAD_SCALE || NORMALISE {
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
        var s: array<vec4f, 4>;
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
                        stage_transposed(column * ROW_LANES + quad, ROW_LANES, q4(a, d), q4(q_row_after(a, row, 1u, group), d),
                            q4(q_row_after(a, row, 2u, group), d), q4(q_row_after(a, row, 3u, group), d));
                    } else {
                        stage_transposed(column * ROW_LANES + quad, ROW_LANES, vec4f(), vec4f(), vec4f(), vec4f());
                    }
                } else if BLOCKS % THREADS == 0u || block < BLOCKS {
                    let quad = (block - Q_BLOCKS) % LANES;
                    let column = (block - Q_BLOCKS) / LANES * 4u;
                    let d = slice + column;
                    let at = K_STAGE + column * LANES + quad;
                    let a = k_first + (key_0 + quad * 4u) * params.k_row;
                    if ARRANGED {
                        if HEAD_DIM % SLICE == 0u || d < HEAD_DIM {
                            let from_place = key_0 + quad * 4u;
                            stage_transposed(at, LANES, k4(k_first + key_in(from_place, group) * params.k_row, d),
                                k4(k_first + key_in(from_place + 1u, group) * params.k_row, d),
                                k4(k_first + key_in(from_place + 2u, group) * params.k_row, d),
                                k4(k_first + key_in(from_place + 3u, group) * params.k_row, d));
                        } else {
                            stage_transposed(at, LANES, vec4f(), vec4f(), vec4f(), vec4f());
                        }
                    } else if HEAD_DIM % SLICE == 0u || d < HEAD_DIM {
                        stage_transposed(at, LANES, k4(min(a, k_last), d), k4(min(a + params.k_row, k_last), d),
                            k4(min(a + 2u * params.k_row, k_last), d), k4(min(a + 3u * params.k_row, k_last), d));
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

        for (var r = 0u; r < 4u; r += 1u) {
            if HEAD_SCALE || NORMALISE {
                s[r] *= scale[r];
            } else {
                s[r] *= params.scale;
            }
        }
        let key = key_0 + lane * 4u;
        let places = min(vec4u(key, key + 1u, key + 2u, key + 3u), vec4u(last));
        var these = places;
        if ARRANGED {
            these = vec4u(key_in(places.x, group), key_in(places.y, group), key_in(places.z, group), key_in(places.w, group));
        }
        if NORMALISE {
            let norms = vec4f(inverse_norms[k_norms + these.x], inverse_norms[k_norms + these.y],
                inverse_norms[k_norms + these.z], inverse_norms[k_norms + these.w]);
            for (var r = 0u; r < 4u; r += 1u) {
                s[r] *= norms;
            }
        }
        if SCORE_HOOK {
            for (var r = 0u; r < 4u; r += 1u) {
                let row = row_at(first_row + row_lane * 4u + r, group);
                for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
                    s[r][c] = hook_score(s[r][c], Element(row.batch, row.head, row.query, these[c]));
                }
            }
        }
        if MASK_HOOK || ELEMENT_BITS {
            // The same for the whole workgroup: blocks without hidden elements skip all of this.
            if step < visits.partial_steps {
                for (var r = 0u; r < 4u; r += 1u) {
                    let row = row_at(first_row + row_lane * 4u + r, group);
                    if MASK_HOOK {
                        s[r] = select(vec4f(params.negative_infinity), s[r], hook_visible(Element(row.batch, row.head, row.query, key), these));
                    }
                    if ELEMENT_BITS {
                        let bits = bits_of_step(visits, step, BLOCK_K);
                        s[r] = select(vec4f(params.negative_infinity), s[r], visible_by_bits(bits, row_lane * 4u + r, places));
                    }
                }
            }
        }
        if key_0 + BLOCK_K > keys.every {
            for (var r = 0u; r < 4u; r += 1u) {
                let seen = keys_seen(batch_of(group), row_at(first_row + row_lane * 4u + r, group).query);
                s[r] = select(vec4f(params.negative_infinity), s[r], vec4u(key, key + 1u, key + 2u, key + 3u) < vec4u(seen));
            }
        }

        // Whether elements may be hidden in this step: scores of -inf hide theirs anywhere.
        var tested = false;
        var hidden = 0u;
        var odd = false;
        if HIDES {
            tested = SCORE_HOOK | (key_0 + BLOCK_K > keys.every);
            if MASK_HOOK || ELEMENT_BITS {
                tested = tested | (step < visits.partial_steps);
            }
            if tested {
                for (var r = 0u; r < 4u; r += 1u) {
                    let four = select(vec4u(0u), vec4u(1u, 2u, 4u, 8u), are_hidden(s[r]));
                    hidden |= (four.x | four.y | four.z | four.w) << (4u * r);
                }
                var values = vec4<bool>(false);
                for (var block = thread; block < BLOCK_K * VALUE_LANES; block += THREADS) {
                    let column = block % VALUE_LANES * 4u;
                    if 4u * VALUE_LANES == VALUE_DIM || column < VALUE_DIM {
                        let from_key = v_first + key_in(key_0 + block / VALUE_LANES, group) * params.v_row;
                        values = values | not_finite(v4(from_key, column));
                    }
                }
                odd = any(values);
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
        var offered: vec4f;
        for (var r = 0u; r < 4u; r += 1u) {
            offered[r] = max(max(s[r].x, s[r].y), max(s[r].z, s[r].w));
        }
        stage[lane * ROW_LANES + row_lane] = offered;
        workgroupBarrier();
        var raised = vec4f(maximum[0], maximum[1], maximum[2], maximum[3]);
        for (var i = 0u; i < LANES; i += 1u) {
            raised = max(raised, stage[i * ROW_LANES + row_lane]);
        }
        if tested {
            odd = stage[THREADS].x != 0.0;
        }
        for (var r = 0u; r < 4u; r += 1u) {
            let shrink = weight(maximum[r], raised[r]);
            maximum[r] = raised[r];
            s[r] = weights(s[r], raised[r]);
            weight_sum[r] = fma(weight_sum[r], shrink, s[r].x + s[r].y + s[r].z + s[r].w);
            for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
                o[r][c] *= shrink;
            }
        }
        if tested {
            if odd {
                // No weight is below zero: hidden elements are told by it.
                for (var r = 0u; r < 4u; r += 1u) {
                    let these_hidden = (vec4u(hidden >> (4u * r)) & vec4u(1u, 2u, 4u, 8u)) != vec4u(0u);
                    s[r] = select(s[r], vec4f(-1.0), these_hidden);
                }
            }
        }

        for (var part = 0u; part < BLOCK_K; part += KEY_SLICE) {
            workgroupBarrier();
            if lane / (KEY_SLICE / 4u) == part / KEY_SLICE {
                let at = (lane * 4u - part) * ROW_LANES + row_lane;
                stage_transposed(at, ROW_LANES, s[0], s[1], s[2], s[3]);
            }
            for (var turn = 0u; turn < UNROLL_VALUES; turn += 1u) {
                let block = thread + turn * THREADS;
                let column = block % VALUE_LANES * 4u;
                // The last key's values stand in for those of keys beyond it: their weight is zero, and zero times what
                // else lies there need not be.
                let inside = KEY_SLICE * VALUE_LANES % THREADS == 0u || block < KEY_SLICE * VALUE_LANES;
                if inside && (4u * VALUE_LANES == VALUE_DIM || column < VALUE_DIM) {
                    if ARRANGED {
                        let from_key = v_first + key_in(key_0 + part + block / VALUE_LANES, group) * params.v_row;
                        stage[V_STAGE + block] = v4(from_key, column);
                    } else {
                        let from_key = v_first + (key_0 + part + block / VALUE_LANES) * params.v_row;
                        stage[V_STAGE + block] = v4(min(from_key, v_last), column);
                    }
                }
            }
            workgroupBarrier();
            if HIDES && odd {
                for (var first = 0u; first < KEY_SLICE; first += BATCH) {
                    for (var u = 0u; u < UNROLL_BATCH; u += 1u) {
                        let j = first + BATCH - 1u - u;
                        let p = stage[j * ROW_LANES + row_lane];
                        for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
                            let b = stage[V_STAGE + j * VALUE_LANES + c * LANES + lane];
                            for (var r = 0u; r < 4u; r += 1u) {
                                o[r][c] = select(o[r][c], fma(vec4f(p[r]), b, o[r][c]), p[r] >= 0.0);
                            }
                        }
                    }
                }
            } else {
                for (var turn = 0u; turn < UNROLL_WEIGHTS; turn += 1u) {
                    let j = turn * BATCH;
                    var p: array<vec4f, BATCH>;
                    var b: array<array<vec4f, VALUE_VECTORS>, BATCH>;
                    for (var u = 0u; u < BATCH; u += 1u) {
                        p[u] = stage[(j + u) * ROW_LANES + row_lane];
                        for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
                            b[u][c] = stage[V_STAGE + (j + u) * VALUE_LANES + c * LANES + lane];
                        }
                    }
                    for (var u = 0u; u < BATCH; u += 1u) {
                        for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
                            for (var r = 0u; r < 4u; r += 1u) {
                                o[r][c] = fma(vec4f(p[BATCH - 1u - u][r]), b[BATCH - 1u - u][c], o[r][c]);
                            }
                        }
                    }
                }
            }
        }
    }

    workgroupBarrier();
    stage[lane * ROW_LANES + row_lane] = vec4f(weight_sum[0], weight_sum[1], weight_sum[2], weight_sum[3]);
    workgroupBarrier();
    var total: vec4f;
    for (var i = 0u; i < LANES; i += 1u) {
        total += stage[i * ROW_LANES + row_lane];
    }
    for (var r = 0u; r < 4u; r += 1u) {
        let index = first_row + row_lane * 4u + r;
        if SINKS {
            let sunk = with_sink(maximum[r], row_at(index, group).head);
            maximum[r] = sunk.x;
            total[r] = total[r] * sunk.y + sunk.z;
            for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
                o[r][c] *= sunk.y;
            }
        }
        if index < row_count() {
            let row = row_at(index, group);
            let inverse = inverse_of(total[r]);
            for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
                let column = (c * LANES + lane) * 4u;
                if column < VALUE_DIM {
                    put_o4(o_row(row), column, finite_or_nan(o[r][c] * inverse));
                }
            }
            if WRITE_LSE && lane == 0u {
                put_lse(row, lse_of(maximum[r], total[r]));
            }
        }
    }
}
