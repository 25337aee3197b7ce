// The steps of attention by broadcast, on the rows of a lane.

import package::kernel::{THREADS, ROWS, TILE_ROWS, VALUE_ROWS, KEYS, KEY_QUADS, RUN, K_VECTORS, V_VECTORS, COLUMN_WORDS, MARKING};
import package::attention::problem::{WRITE_LSE, params, row_at, q_row, o_row, num_visible_keys, put_lse};
import package::shared::math::{not_finite, nan_where, finite_or_nan};
import package::attention::keys::{PAGED, QUANTISED, key_at, k_row, v_row, are_stored, k_factor, v_factor};
import package::attention::operands::{query_row4, key_row4};
import package::shared::kv::{value4};
import package::shared::output::{put_o4};
import package::attention::hooks::{SCORE_MOD, MASK_MOD, Element, hook_score_mod, hook_mask_mod};
import package::attention::blocks::{TOKEN_ORDER, ELEMENT_BITS, WORDS, bits_of_step, word_of_bits, visible_by_word, Visits};
import package::attention::softmax::{NATURAL, HIDES, inverse_of, lse_of};
import package::attention::scale::{NORMALISE, SINKS, inverse_norms, row_scale};
import package::shared::vector::{UNROLL_COMPONENTS, bits_of, set_bits};

alias Scores = array<array<vec4f, KEY_QUADS>, ROWS>;
alias Outputs = array<array<vec4f, V_VECTORS>, ROWS>;

// The elements that the lanes of a quad of keys hold, a column a key. Swaps within quads cost a fraction of shuffles; with them
// lane i meets the keys in the order i, i^1, i^2, i^3, and sums do not mind.
fn of_quad(mine: vec4f, quad: u32) -> mat4x4f {
    if KEYS == 4u {
        return mat4x4f(mine, quadSwapX(mine), quadSwapY(mine), quadSwapDiagonal(mine));
    }
    let first = 4u * quad;
    return mat4x4f(subgroupShuffle(mine, first), subgroupShuffle(mine, first + 1u), subgroupShuffle(mine, first + 2u),
        subgroupShuffle(mine, first + 3u));
}

// The keys themselves, in the order in which a lane meets them.
fn keys_met(mine: u32, quad: u32) -> vec4u {
    if KEYS == 4u {
        return vec4u(mine, quadSwapX(mine), quadSwapY(mine), quadSwapDiagonal(mine));
    }
    let first = 4u * quad;
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

// Loads the rows of q, a row a turn, while those before it move up: a software driver spends milliseconds of compile time on each
// load in the text, next to nothing on a move.
fn load_rows(
    q: ptr<function, array<array<vec4f, K_VECTORS>, ROWS>>,
    seen: ptr<function, array<u32, ROWS>>, head: ptr<function, array<u32, ROWS>>, query: ptr<function, array<u32, ROWS>>,
    group: vec3u, batch: u32, first_row: u32, thread: u32, attempt: u32,
) {
    for (var turn = 0u; turn < ROWS; turn += 1u) {
        for (var r = 0u; r + 1u < ROWS; r += 1u) {
            for (var c = 0u; c < K_VECTORS; c += 1u) {
                q[r][c] = q[r + 1u][c];
            }
            seen[r] = seen[r + 1u];
            if SCORE_MOD || MASK_MOD || SINKS {
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
            q[ROWS - 1u][c] = query_row4(q_row(row), 4u * c) * scale;
        }
        seen[ROWS - 1u] = num_visible_keys(batch, row.query);
        if SCORE_MOD || MASK_MOD || SINKS {
            head[ROWS - 1u] = row.head;
            query[ROWS - 1u] = row.query;
        }
    }
}

// The bits of a run, or ones where it is wholly visible.
fn load_bits(
    run_bits: ptr<function, array<array<u32, WORDS>, ROWS>>,
    visits: Visits, run: u32, whole: bool, thread: u32,
) {
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

fn load_keys(mine: ptr<function, array<vec4f, K_VECTORS>>, key: u32, k_first: u32, k_norms: ptr<function, u32>, batch: u32, scales: u32) {
    let from_row = k_row(k_first, key_at(batch, key));
    for (var c = 0u; c < K_VECTORS; c += 1u) {
        mine[c] = key_row4(from_row, 4u * c);
    }
    if QUANTISED {
        let factor = k_factor(scales, key);
        for (var c = 0u; c < K_VECTORS; c += 1u) {
            mine[c] *= factor;
        }
    }
    if NORMALISE {
        let norm = inverse_norms[*k_norms + key];
        for (var c = 0u; c < K_VECTORS; c += 1u) {
            mine[c] *= norm;
        }
    }
}

// Column j of a matrix is four elements of the quad's j-th key, to be met as dot products.
fn spread_keys(keys_of: ptr<function, array<mat4x4f, K_VECTORS>>, mine: ptr<function, array<vec4f, K_VECTORS>>) {
    for (var c = 0u; c < K_VECTORS; c += 1u) {
        keys_of[c] = of_quad(mine[c], 0u);
    }
}

// The scores of TILE_ROWS rows with a quad of keys.
fn multiply_quad(s: ptr<function, Scores>, q: ptr<function, array<array<vec4f, K_VECTORS>, ROWS>>, keys_of: ptr<function, array<mat4x4f, K_VECTORS>>, first: u32) {
    for (var c = 0u; c < K_VECTORS; c += 1u) {
        for (var r = first; r < first + TILE_ROWS; r += 1u) {
            s[r][0] += q[r][c] * keys_of[c];
        }
    }
}

// The scores of all rows with one key after the other, in a loop that stays one: unrolled, each key's text would come anew from a cache that brings
// 16 bytes a cycle, half of what multiplies and adds take. Its sums stay in registers; selects put them where they belong.
fn multiply_in_turn(s: ptr<function, Scores>, q: ptr<function, array<array<vec4f, K_VECTORS>, ROWS>>, mine: ptr<function, array<vec4f, K_VECTORS>>) {
    for (var turn = 0u; turn < KEYS; turn += 1u) {
        var own: array<f32, ROWS>;
        for (var c = 0u; c < K_VECTORS; c += 1u) {
            let key = subgroupShuffle(mine[c], turn);
            for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
                for (var r = 0u; r < ROWS; r += 1u) {
                    own[r] += q[r][c][i] * key[i];
                }
            }
        }
        for (var g = 0u; g < KEY_QUADS; g += 1u) {
            let here = vec4u(turn) == 4u * g + vec4u(0u, 1u, 2u, 3u);
            for (var r = 0u; r < ROWS; r += 1u) {
                s[r][g] = select(s[r][g], vec4f(own[r]), here);
            }
        }
    }
}

// Modifies a row's scores of four keys, and hides what the row does not see.
fn modify_and_mask(
    s: ptr<function, Scores>,
    r: u32, g: u32,
    seen: ptr<function, array<u32, ROWS>>, head: ptr<function, array<u32, ROWS>>, query: ptr<function, array<u32, ROWS>>,
    run_bits: ptr<function, array<array<u32, WORDS>, ROWS>>,
    batch: u32, lane: u32, key: u32, key_0: u32, last: u32, whole: bool, inner: u32, hidden: f32,
) {
    let these = key_0 + 4u * g + key_order(lane);
    var here = min(these, vec4u(last));
    if TOKEN_ORDER {
        here = keys_met(key, g);
    }
    if SCORE_MOD {
        for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
            let at = Element(batch, head[r], query[r], here[i]);
            s[r][g][i] = hook_score_mod(s[r][g][i], at);
        }
    }
    if PAGED {
        s[r][g] = select(vec4f(hidden), s[r][g], are_stored(batch, here));
    }
    if MASK_MOD {
        let at = Element(batch, head[r], query[r], key_0);
        s[r][g] = select(vec4f(hidden), s[r][g], hook_mask_mod(at, here) | vec4<bool>(whole));
    }
    if ELEMENT_BITS {
        var word = run_bits[r][0];
        for (var w = 1u; w < WORDS; w += 1u) {
            word = select(word, run_bits[r][w], inner >= 32u * w);
        }
        s[r][g] = select(vec4f(hidden), s[r][g], visible_by_word(word, these));
    }
    s[r][g] = select(vec4f(hidden), s[r][g], these < vec4u(seen[r]));
}

// A row's scores become weights of its new maximum.
fn take_scores(
    s: ptr<function, Scores>,
    rescale: ptr<function, array<f32, ROWS>>, row_max: ptr<function, array<f32, ROWS>>, row_sum: ptr<function, array<f32, ROWS>>,
    new_max: ptr<function, f32>,
    r: u32, spread: f32,
) {
    rescale[r] = exp2(apart(row_max[r] - *new_max, spread));
    row_max[r] = *new_max;
    row_sum[r] *= rescale[r];
    for (var g = 0u; g < KEY_QUADS; g += 1u) {
        s[r][g] = exp2(all_apart(s[r][g] - *new_max, spread));
        row_sum[r] += s[r][g].x + s[r][g].y + s[r][g].z + s[r][g].w;
    }
}

fn load_values(
    my_value: ptr<function, array<vec4f, V_VECTORS>>,
    key: u32, v_first: u32, kept: u32, in_place_of_odd: u32, batch: u32, scales: u32,
) {
    let from_row = v_row(v_first, key_at(batch, key));
    var factor = 1.0;
    if QUANTISED {
        factor = v_factor(scales, key);
    }
    for (var c = 0u; c < V_VECTORS; c += 1u) {
        my_value[c] = value4(from_row, 4u * c);
        if QUANTISED {
            my_value[c] *= factor;
        }
        if HIDES {
            let bits = bitcast<vec4u>(my_value[c]) & vec4u(kept);
            my_value[c] = bitcast<vec4f>(select(bits, vec4u(in_place_of_odd), not_finite(my_value[c])));
        }
    }
}

// Column j is one element of the quad's four values: dot products again, whose partial sums are never stored.
fn spread_values(values_of: ptr<function, array<array<mat4x4f, V_VECTORS>, KEY_QUADS>>, my_value: ptr<function, array<vec4f, V_VECTORS>>) {
    for (var g = 0u; g < KEY_QUADS; g += 1u) {
        for (var c = 0u; c < V_VECTORS; c += 1u) {
            values_of[g][c] = transpose(of_quad(my_value[c], g));
        }
    }
}

fn add_values(
    o: ptr<function, Outputs>,
    s: ptr<function, Scores>,
    rescale: ptr<function, array<f32, ROWS>>,
    values_of: ptr<function, array<array<mat4x4f, V_VECTORS>, KEY_QUADS>>,
) {
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

// Which columns of the first row are not finite, a bit each.
fn find_odd(odd: ptr<function, array<u32, COLUMN_WORDS>>, o: ptr<function, Outputs>, odd_from: u32) {
    for (var c = 0u; c < V_VECTORS; c += 1u) {
        let found = (bitcast<vec4u>(o[0][c]) & vec4u(0x7fffffffu)) >= vec4u(odd_from);
        odd[c / 8u] |= bits_of(found) << (4u * (c % 8u));
    }
}

// Divides the first row by its sum and writes it, with NaN where a column has seen a value that is not finite.
fn finish_first_row(
    o: ptr<function, Outputs>,
    row_max: ptr<function, array<f32, ROWS>>, row_sum: ptr<function, array<f32, ROWS>>,
    odd_columns: ptr<function, array<array<u32, COLUMN_WORDS>, ROWS>>,
    index: u32, group: vec3u,
) {
    let row = row_at(index, group);
    let inverse = inverse_of(row_sum[0]);
    for (var c = 0u; c < V_VECTORS; c += 1u) {
        var value = finite_or_nan(o[0][c] * inverse);
        if HIDES {
            let seen_odd = set_bits(odd_columns[0][c / 8u] >> (4u * (c % 8u)));
            value = nan_where(value, seen_odd);
        }
        put_o4(o_row(row), 4u * c, value);
    }
    if WRITE_LSE {
        put_lse(row, lse_of(row_max[0], row_sum[0]));
    }
}
