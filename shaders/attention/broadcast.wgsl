// Attention by broadcast, forward: a lane owns whole rows, a key is loaded once a subgroup and spread to its lanes.
//
//   o[b,h,i,:] = sum_j softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:]          g = h / (H / G)
//
// Shapes    q [B, H, Tq, Dk]   k [B, G, Tk, Dk]   v [B, G, Tk, Dv]   o [B, H, Tq, Dv]   lse [B, H, Tq]
// Dispatch  x = tiles of THREADS * ROWS rows, y = heads (folded), z = B
// Storage   registers only: ROWS rows of q and o a lane, KEYS keys and values a subgroup
// Numerics  f32 accumulation; scores in base 2, or natural where an expression or a sink wants them (see softmax.wgsl)
// Source    Dao 2023, algorithm 1; Milakov and Gimelshein 2018
//
// Made for adapters on which a load costs tens of FMAs, as software drivers' do: a loaded key element feeds
// THREADS * ROWS FMAs. Subgroups may have any width from KEYS: lane i loads key i % KEYS; eight are read from the first
// eight lanes, four from the lanes of each quad.
//
// Zero times a value that is NaN is NaN, and a row must not see it of a key that is hidden. Drivers that run on the CPU compute
// both sides of every branch, so there is none here: all is done as if values were finite, with NaN for those that are not. If a
// row ends with NaN, all is done again: once to see which of its columns see a value that is not finite, then without such values.

import package::attention::problem::{HEAD_DIM, VALUE_DIM, params, row_count, kv_head, k_head_offset, v_head_offset, batch_of, last_key, keys_of_tile};
import package::attention::blocks::{ELEMENT_BITS, KV_BLOCK, WORDS, position_of, place_of, visits_of, first_key};
import package::attention::softmax::{HIDES, FIRST_ROW_MAX, LOG2_E};
import package::attention::keys::{QUANTISED, scales_of};
import package::attention::scale::{NORMALISE, SINKS, key_norms_of, with_sink};
import package::shared::math::{is_finite};
import package::attention::broadcast_steps::{Scores, Outputs, load_rows, load_bits, load_keys, spread_keys, multiply_quad, multiply_in_turn, modify_and_mask, take_scores, load_values, spread_values, add_values, find_odd, finish_first_row};
import package::shared::grid::{workgroup_of};

// Whether to do it again is the same for a whole subgroup, which compilers cannot know.
diagnostic(off, subgroup_uniformity);

const THREADS: u32 = 8u;
// Rows a lane owns, and how many of them meet a vector of keys, or of values, before the next.
const ROWS: u32 = 4u;
const TILE_ROWS: u32 = 2u;
const VALUE_ROWS: u32 = 1u;
// Keys loaded together: 4 are swapped within quads, 8 spread by shuffles.
const KEYS: u32 = 8u;

const KEY_QUADS: u32 = KEYS / 4u;
// Keys between one look at the lists and the next: a whole block only where its bits pay for a loop in the loop.
const RUN: u32 = select(KEYS, KV_BLOCK, ELEMENT_BITS);
const K_VECTORS: u32 = HEAD_DIM / 4u;
const V_VECTORS: u32 = VALUE_DIM / 4u;
const_assert KEYS == 4u || KEYS == 8u;
const_assert ROWS % TILE_ROWS == 0u && ROWS % VALUE_ROWS == 0u;

// A bit for each column of a value.
const COLUMN_WORDS: u32 = (VALUE_DIM + 31u) / 32u;
// The attempts, in turn, where a row ends with NaN.
const ATTEMPTS: u32 = select(1u, 3u, HIDES);
const FIRST: u32 = 0u;
const MARKING: u32 = 1u;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) dispatched: vec3u,
    @builtin(local_invocation_index) thread: u32, @builtin(subgroup_invocation_id) lane: u32,
) {
    let workgroup = workgroup_of(dispatched);
    let place = place_of(workgroup);
    let group = place.group;
    let first_row = params.first_row + group.x * THREADS * ROWS;
    let k_first = k_head_offset(group);
    let v_first = v_head_offset(group);

    let batch = batch_of(group);
    let last = last_key(batch);
    let keys = keys_of_tile(group, first_row, THREADS * ROWS);

    let hidden = params.negative_infinity;
    var k_norms = 0u;
    if NORMALISE {
        k_norms = key_norms_of(batch, kv_head(group));
    }

    var scales = 0u;
    if QUANTISED {
        scales = scales_of(batch, kv_head(group));
    }

    let visits = visits_of(place.list, keys.some, RUN);
    var odd_columns: array<array<u32, COLUMN_WORDS>, ROWS>;
    for (var attempt = FIRST; attempt < ATTEMPTS; attempt += 1u) {
        // Marking, weights are above zero wherever there is no hidden element, and sums wherever they meet a value that is odd.
        let spread = select(LOG2_E, 1.1754943508222875e-38, attempt == MARKING);
        let kept = select(0xffffffffu, 0u, attempt == MARKING);
        let in_place_of_odd = select(select(0u, 0x3f800000u, attempt == MARKING), 0x7fc00000u, attempt == FIRST);
        let odd_from = select(0x7f800000u, 1u, attempt == MARKING);
        var spoilt = false;

        var q: array<array<vec4f, K_VECTORS>, ROWS>;
        var o: Outputs;
        var row_max: array<f32, ROWS>;
        var row_sum: array<f32, ROWS>;
        var seen: array<u32, ROWS>;
        // Which rows these are; only hooks and sinks ask.
        var head: array<u32, ROWS>;
        var query: array<u32, ROWS>;
        load_rows(&q, &seen, &head, &query, group, batch, first_row, thread, attempt);
        for (var r = 0u; r < ROWS; r += 1u) {
            row_max[r] = FIRST_ROW_MAX;
        }

        for (var run = visits.first_step; run < visits.steps; run += 1u) {
            let run_0 = first_key(visits, run, RUN);
            let whole = run >= visits.partial_steps;
            // Loads cost most of what bits do: each word is loaded once a run, and not at all where the run is wholly visible,
            // as drivers that run on the CPU skip the loads, if nothing else, of a branch that no lane takes.
            var run_bits: array<array<u32, WORDS>, ROWS>;
            if ELEMENT_BITS {
                load_bits(&run_bits, visits, run, whole, thread);
            }
            for (var next = 0u; next < RUN; next += KEYS) {
                let inner = next;
                let key_0 = run_0 + inner;
                // Every load comes before the first FMA, so that what follows is one straight line.
                let key = position_of(min(key_0 + lane % KEYS, last));
                var mine: array<vec4f, K_VECTORS>;
                load_keys(&mine, key, k_first, &k_norms, batch, scales);
                var s: Scores;
                var rescale: array<f32, ROWS>;
                var keys_of: array<mat4x4f, K_VECTORS>;
                if KEYS == 4u {
                    spread_keys(&keys_of, &mine);
                } else {
                    multiply_in_turn(&s, &q, &mine);
                }
                for (var first = 0u; first < ROWS; first += TILE_ROWS) {
                    if KEYS == 4u {
                        multiply_quad(&s, &q, &keys_of, first);
                    }
                    for (var r = first; r < first + TILE_ROWS; r += 1u) {
                        var new_max = row_max[r];
                        for (var g = 0u; g < KEY_QUADS; g += 1u) {
                            modify_and_mask(&s, r, g, &seen, &head, &query, &run_bits, batch, lane, key, key_0, last, whole, inner, hidden);
                            new_max = max(new_max, max(max(s[r][g].x, s[r][g].y), max(s[r][g].z, s[r][g].w)));
                        }
                        take_scores(&s, &rescale, &row_max, &row_sum, &new_max, r, spread);
                    }
                }

                var my_value: array<vec4f, V_VECTORS>;
                load_values(&my_value, key, v_first, kept, in_place_of_odd, batch, scales);
                var values_of: array<array<mat4x4f, V_VECTORS>, KEY_QUADS>;
                spread_values(&values_of, &my_value);
                add_values(&o, &s, &rescale, &values_of);
            }
        }

        // The rows leave as they came: the first is written, the others move up.
        for (var turn = 0u; turn < ROWS; turn += 1u) {
            let index = first_row + turn * THREADS + thread;
            var sunk = vec3f(0.0);
            if SINKS {
                sunk = with_sink(row_max[0], head[0]);
                row_max[0] = sunk.x;
                row_sum[0] = row_sum[0] * sunk.y + sunk.z;
            }
            var odd: array<u32, COLUMN_WORDS>;
            if HIDES {
                find_odd(&odd, &o, odd_from);
                var any_odd = 0u;
                for (var w = 0u; w < COLUMN_WORDS; w += 1u) {
                    any_odd |= odd[w];
                }
                // A sum of weights that is not finite is another matter, which doing it again does not change.
                spoilt = spoilt | ((any_odd != 0u) & is_finite(row_sum[0]));
            }
            if SINKS {
                // Not before: a sink far above all scores would hide what is odd.
                for (var c = 0u; c < V_VECTORS; c += 1u) {
                    o[0][c] *= sunk.y;
                }
            }
            if index < row_count(batch) && attempt != MARKING {
                finish_first_row(&o, &row_max, &row_sum, &odd_columns, index, group);
            }
            if HIDES {
                for (var w = 0u; w < COLUMN_WORDS; w += 1u) {
                    for (var r = 0u; r + 1u < ROWS; r += 1u) {
                        odd_columns[r][w] = odd_columns[r + 1u][w];
                    }
                    odd_columns[ROWS - 1u][w] = select(0u, odd[w], attempt == MARKING);
                }
            }
            for (var r = 0u; r + 1u < ROWS; r += 1u) {
                for (var c = 0u; c < V_VECTORS; c += 1u) {
                    o[r][c] = o[r + 1u][c];
                }
                row_sum[r] = row_sum[r + 1u];
                if SINKS {
                    head[r] = head[r + 1u];
                }
                row_max[r] = row_max[r + 1u];
            }
        }
        if HIDES {
            if !subgroupAny(spoilt | (attempt == MARKING)) {
                break;
            }
        }
    }
}
