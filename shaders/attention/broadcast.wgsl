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

import package::attention::problem::{FOLD, params, row_at, row_count, q_row, o_row, kv_head, k_head_offset, v_head_offset, batch_of, last_key, keys_seen, keys_of_tile, put_lse};
import package::shared::inputs::{q4, k4, v4};
import package::shared::output::{put_o4};
import package::attention::hooks::{Element, hook_score, hook_visible};
import package::attention::blocks::{ARRANGED, ELEMENT_BITS, KV_BLOCK, position_of, place_of, visits_of, first_key, bits_of_step, word_of_bits, visible_by_word};
import package::attention::softmax::{NATURAL, HIDES, FIRST_ROW_MAX, LOG2_E, inverse_of, finite_or_nan, lse_of};
import package::attention::scale::{NORMALISE, SINKS, inverse_norms, row_scale, key_norms_of, with_sink};
import package::shared::math::{is_finite};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::grid::{workgroup_of};

// Whether to do it again is the same for a whole subgroup, which compilers cannot know.
diagnostic(off, subgroup_uniformity);

// Widths, rounded up to multiples of four.
const HEAD_DIM: u32 = 64u;
const VALUE_DIM: u32 = 64u;
const THREADS: u32 = 8u;
// Rows a lane owns, and how many of them meet a vector of keys, or of values, before the next.
const ROWS: u32 = 4u;
const TILE_ROWS: u32 = 2u;
const VALUE_ROWS: u32 = 1u;
// Keys loaded together: 4 are swapped within quads, 8 spread by shuffles.
const KEYS: u32 = 8u;
const WRITE_LSE: bool = true;
const SCORE_HOOK: bool = false;
const MASK_HOOK: bool = false;

const KEY_QUADS: u32 = KEYS / 4u;
// Keys between one look at the lists and the next: a whole block only where its bits pay for a loop in the loop.
const RUN: u32 = select(KEYS, KV_BLOCK, ELEMENT_BITS);
// Words of bits that a row has for a block.
const WORDS: u32 = KV_BLOCK / 32u;
const K_VECTORS: u32 = HEAD_DIM / 4u;
const V_VECTORS: u32 = VALUE_DIM / 4u;
const_assert HEAD_DIM % 4u == 0u && VALUE_DIM % 4u == 0u;
const_assert KEYS == 4u || KEYS == 8u;
const_assert ROWS % TILE_ROWS == 0u && ROWS % VALUE_ROWS == 0u;


// A bit for each column of a value.
const COLUMN_WORDS: u32 = (VALUE_DIM + 31u) / 32u;
// What is done in turn where a row ends with NaN.
const ATTEMPTS: u32 = select(1u, 3u, HIDES);
const FIRST: u32 = 0u;
const MARKING: u32 = 1u;

// The elements that the four lanes of a quad hold, a column a key. Swaps cost a fraction of broadcasts; with them lane i
// meets the keys in the order i, i^1, i^2, i^3, and sums do not mind.
fn swapped(mine: vec4f) -> mat4x4f {
    return mat4x4f(mine, quadSwapX(mine), quadSwapY(mine), quadSwapDiagonal(mine));
}

// The elements that four lanes hold, from lane `first` on.
fn shuffled(mine: vec4f, first: u32) -> mat4x4f {
    return mat4x4f(subgroupShuffle(mine, first), subgroupShuffle(mine, first + 1u), subgroupShuffle(mine, first + 2u),
        subgroupShuffle(mine, first + 3u));
}

// The keys that four lanes hold, in the order in which a lane meets them.
fn keys_met(mine: u32, group: u32) -> vec4u {
    if KEYS == 4u {
        return vec4u(mine, quadSwapX(mine), quadSwapY(mine), quadSwapDiagonal(mine));
    }
    let first = 4u * group;
    return vec4u(subgroupShuffle(mine, first), subgroupShuffle(mine, first + 1u), subgroupShuffle(mine, first + 2u),
        subgroupShuffle(mine, first + 3u));
}

// Which keys of a quad the columns of its matrices are.
fn key_order(lane: u32) -> vec4u {
    if KEYS == 4u {
        return vec4u(lane % 4u) ^ vec4u(0u, 1u, 2u, 3u);
    }
    return vec4u(0u, 1u, 2u, 3u);
}

// Differences of scores as powers of two; see `spread`.
fn apart(difference: f32, spread: f32) -> f32 {
    if NATURAL {
        return difference * spread;
    }
    return difference;
}

fn all_apart(differences: vec4f, spread: f32) -> vec4f {
    if NATURAL {
        return differences * spread;
    }
    return differences;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) dispatched: vec3u,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
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
        var o: array<array<vec4f, V_VECTORS>, ROWS>;
        var row_max: array<f32, ROWS>;
        var row_sum: array<f32, ROWS>;
        var seen: array<u32, ROWS>;
        // Which rows these are; only hooks and sinks ask.
        var head: array<u32, ROWS>;
        var query: array<u32, ROWS>;
        // One row is loaded a turn, and those before it move up: a software driver spends milliseconds of compile time on each
        // load in the text, next to nothing on a move.
        for (var turn = 0u; turn < ROWS; turn += 1u) {
            for (var r = 0u; r + 1u < ROWS; r += 1u) {
                for (var c = 0u; c < K_VECTORS; c += 1u) {
                    q[r][c] = q[r + 1u][c];
                }
                seen[r] = seen[r + 1u];
                if SCORE_HOOK || MASK_HOOK || SINKS {
                    head[r] = head[r + 1u];
                    query[r] = query[r + 1u];
                }
            }
            let row = row_at(first_row + turn * THREADS + thread, group);
            var scale = row_scale(row);
            if HIDES && !NATURAL {
                // All scores alike, and so all weights.
                scale = select(scale, 0.0, attempt == MARKING);
            }
            for (var c = 0u; c < K_VECTORS; c += 1u) {
                q[ROWS - 1u][c] = q4(q_row(row), 4u * c) * scale;
            }
            seen[ROWS - 1u] = keys_seen(batch, row.query);
            if SCORE_HOOK || MASK_HOOK || SINKS {
                head[ROWS - 1u] = row.head;
                query[ROWS - 1u] = row.query;
            }
        }
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
                for (var r = 0u; r < ROWS; r += 1u) {
                    for (var w = 0u; w < WORDS; w += 1u) {
                        run_bits[r][w] = 0xffffffffu;
                    }
                }
                if !whole {
                    let bits = bits_of_step(visits, run, RUN);
                    for (var r = 0u; r < ROWS; r += 1u) {
                        for (var w = 0u; w < WORDS; w += 1u) {
                            run_bits[r][w] = word_of_bits(bits, r * THREADS + thread, 32u * w);
                        }
                    }
                }
            }
            for (var inner = 0u; inner < RUN; inner += KEYS) {
                let key_0 = run_0 + inner;
                // Every load comes before the first FMA, so that what follows is one straight line.
                let key = position_of(min(key_0 + lane % KEYS, last));
                var mine: array<vec4f, K_VECTORS>;
                for (var c = 0u; c < K_VECTORS; c += 1u) {
                    mine[c] = k4(k_first + key * params.k_row, 4u * c);
                }
                if NORMALISE {
                    let norm = inverse_norms[k_norms + key];
                    for (var c = 0u; c < K_VECTORS; c += 1u) {
                        mine[c] *= norm;
                    }
                }
                // Column j of a matrix is four elements of the quad's j-th key, to be met as dot products.
                var keys_of: array<array<mat4x4f, K_VECTORS>, KEY_QUADS>;
                for (var g = 0u; g < KEY_QUADS; g += 1u) {
                    for (var c = 0u; c < K_VECTORS; c += 1u) {
                        if KEYS == 4u {
                            keys_of[g][c] = swapped(mine[c]);
                        } else {
                            keys_of[g][c] = shuffled(mine[c], 4u * g);
                        }
                    }
                }

                var s: array<array<vec4f, KEY_QUADS>, ROWS>;
                var rescale: array<f32, ROWS>;
                for (var first = 0u; first < ROWS; first += TILE_ROWS) {
                    for (var c = 0u; c < K_VECTORS; c += 1u) {
                        for (var r = first; r < first + TILE_ROWS; r += 1u) {
                            for (var g = 0u; g < KEY_QUADS; g += 1u) {
                                s[r][g] += q[r][c] * keys_of[g][c];
                            }
                        }
                    }
                    for (var r = first; r < first + TILE_ROWS; r += 1u) {
                        var new_max = row_max[r];
                        for (var g = 0u; g < KEY_QUADS; g += 1u) {
                            let these = key_0 + 4u * g + key_order(lane);
                            var here = min(these, vec4u(last));
                            if ARRANGED {
                                here = keys_met(key, g);
                            }
                            if SCORE_HOOK {
                                for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
                                    let at = Element(batch, head[r], query[r], here[i]);
                                    s[r][g][i] = hook_score(s[r][g][i], at);
                                }
                            }
                            if MASK_HOOK {
                                let at = Element(batch, head[r], query[r], key_0);
                                s[r][g] = select(vec4f(hidden), s[r][g], hook_visible(at, here) | vec4<bool>(whole));
                            }
                            if ELEMENT_BITS {
                                var word = run_bits[r][0];
                                for (var w = 1u; w < WORDS; w += 1u) {
                                    word = select(word, run_bits[r][w], inner >= 32u * w);
                                }
                                s[r][g] = select(vec4f(hidden), s[r][g], visible_by_word(word, these));
                            }
                            s[r][g] = select(vec4f(hidden), s[r][g], these < vec4u(seen[r]));
                            new_max = max(new_max, max(max(s[r][g].x, s[r][g].y), max(s[r][g].z, s[r][g].w)));
                        }
                        rescale[r] = exp2(apart(row_max[r] - new_max, spread));
                        row_max[r] = new_max;
                        row_sum[r] *= rescale[r];
                        for (var g = 0u; g < KEY_QUADS; g += 1u) {
                            s[r][g] = exp2(all_apart(s[r][g] - new_max, spread));
                            row_sum[r] += s[r][g].x + s[r][g].y + s[r][g].z + s[r][g].w;
                        }
                    }
                }

                var my_value: array<vec4f, V_VECTORS>;
                for (var c = 0u; c < V_VECTORS; c += 1u) {
                    my_value[c] = v4(v_first + key * params.v_row, 4u * c);
                    if HIDES {
                        let bits = bitcast<vec4u>(my_value[c]);
                        let odd = (bits & vec4u(0x7f800000u)) == vec4u(0x7f800000u);
                        my_value[c] = bitcast<vec4f>(select(bits & vec4u(kept), vec4u(in_place_of_odd), odd));
                    }
                }
                // Column j is one element of the quad's four values: dot products again, whose partial sums are never stored.
                var values_of: array<array<mat4x4f, V_VECTORS>, KEY_QUADS>;
                for (var g = 0u; g < KEY_QUADS; g += 1u) {
                    for (var c = 0u; c < V_VECTORS; c += 1u) {
                        if KEYS == 4u {
                            values_of[g][c] = transpose(swapped(my_value[c]));
                        } else {
                            values_of[g][c] = transpose(shuffled(my_value[c], 4u * g));
                        }
                    }
                }
                for (var first = 0u; first < ROWS; first += VALUE_ROWS) {
                    for (var c = 0u; c < V_VECTORS; c += 1u) {
                        for (var r = first; r < first + VALUE_ROWS; r += 1u) {
                            o[r][c] *= rescale[r];
                            for (var g = 0u; g < KEY_QUADS; g += 1u) {
                                o[r][c] += s[r][g] * values_of[g][c];
                            }
                        }
                    }
                }
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
                for (var c = 0u; c < V_VECTORS; c += 1u) {
                    let found = (bitcast<vec4u>(o[0][c]) & vec4u(0x7fffffffu)) >= vec4u(odd_from);
                    let four = select(vec4u(0u), vec4u(1u, 2u, 4u, 8u), found);
                    odd[c / 8u] |= (four.x | four.y | four.z | four.w) << (4u * (c % 8u));
                }
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
            if index < row_count() && attempt != MARKING {
                let row = row_at(index, group);
                let inverse = inverse_of(row_sum[0]);
                for (var c = 0u; c < V_VECTORS; c += 1u) {
                    var value = finite_or_nan(o[0][c] * inverse);
                    if HIDES {
                        let seen_odd = (vec4u(odd_columns[0][c / 8u] >> (4u * (c % 8u))) & vec4u(1u, 2u, 4u, 8u)) != vec4u(0u);
                        value = bitcast<vec4f>(select(bitcast<vec4u>(value), vec4u(0x7fc00000u), seen_odd));
                    }
                    put_o4(o_row(row), 4u * c, value);
                }
                if WRITE_LSE {
                    put_lse(row, lse_of(row_max[0], row_sum[0]));
                }
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
