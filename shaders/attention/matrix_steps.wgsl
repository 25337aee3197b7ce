// The steps of attention by matrix units. A lane has LANE_ROWS rows of the tile, or a part of one that ROW_LANES lanes share.

import package::kernel::{packed, score_rows, weight_rows, row_factors, seen_bits, visits_o, LANES, ROW_TILES, BLOCK_Q, KEY_TILES, HEAD_TILES, VALUE_TILES, ROW_LANES, LANE_ROWS, VECTORS, SCORE_ROW, WEIGHT_ROW};
import package::attention::problem::{HEAD_DIM, VALUE_DIM, WRITE_LSE, params, row_at, row_count, q_row, o_row, put_lse, batch_of, last_key, num_visible_keys};
import package::attention::keys::{are_stored};
import package::attention::hooks::{MASK_MOD, Element, hook_score_mod, hook_mask_mod};
import package::attention::blocks::{TOKEN_ORDER, ELEMENT_BITS, Visits, position_of, bits_of_step, visible_by_bits};
import package::attention::softmax::{NATURAL, LOG2_E, weight, weights, are_hidden, inverse_of, lse_of};
import package::attention::scale::{SINKS, inverse_norms, with_sink};
import package::attention::matrix_tiles::{KEYS, KEY_WIDTH, VALUES_AT};
import package::shared::inputs::{q4};
import package::shared::output::{put_o4};
import package::shared::math::{finite_or_nan, nan_if};
import package::shared::matrix::{SIDE, MatrixA, MatrixB, MatrixC};
import package::shared::vector::{UNROLL_COMPONENTS, bits_of};

alias Scores = array<array<vec4f, VECTORS>, LANE_ROWS>;
alias Outputs = array<array<MatrixC, VALUE_TILES>, ROW_TILES>;

// Both in base 2. A row's first maximum is 2^HEADROOM by weight, and it may grow by MARGIN: f16 holds 2^15. The smallest weights keep
// that many bits more than relative to 1.
const HEADROOM: f32 = 7.0;
const MARGIN: f32 = 8.0;
const UNIT: f32 = select(1.0, 0.6931471805599453, NATURAL);

// Columns that go through workgroup memory at a time: as many as a tile has keys.
const QUADS: u32 = KEYS / 4u;

// A lane's row of the tile, and its first key.
fn row_of(lane: u32, r: u32) -> u32 {
    return lane / ROW_LANES + r * LANES;
}

fn first_of(lane: u32) -> u32 {
    return lane % ROW_LANES * (VECTORS * 4u);
}

// The keys in four places of the step.
fn keys_in(first: u32, group: vec3u) -> vec4u {
    let places = min(vec4u(first, first + 1u, first + 2u, first + 3u), vec4u(last_key(batch_of(group))));
    if TOKEN_ORDER {
        return vec4u(position_of(places.x), position_of(places.y), position_of(places.z), position_of(places.w));
    }
    return places;
}

// The rows of q, by way of the weights' memory.
fn load_queries(q: ptr<function, array<array<MatrixA, HEAD_TILES>, ROW_TILES>>, lane: u32, first_row: u32, group: vec3u) {
    for (var part = 0u; part < HEAD_TILES; part += KEY_TILES) {
        workgroupBarrier();
        for (var i = lane; i < BLOCK_Q * QUADS; i += LANES) {
            let row = i / QUADS;
            let column = part * SIDE + i % QUADS * 4u;
            var x: vec4f;
            if column < HEAD_DIM {
                x = q4(q_row(row_at(first_row + row, group)), column);
            }
            let at = row * WEIGHT_ROW + i % QUADS * 4u;
            weight_rows[at] = f16(x.x);
            weight_rows[at + 1u] = f16(x.y);
            weight_rows[at + 2u] = f16(x.z);
            weight_rows[at + 3u] = f16(x.w);
        }
        workgroupBarrier();
        for (var t = 0u; t < min(KEY_TILES, HEAD_TILES - part); t += 1u) {
            for (var r = 0u; r < ROW_TILES; r += 1u) {
                q[r][part + t] = coopLoadT<MatrixA>(&weight_rows[r * SIDE * WEIGHT_ROW + t * SIDE], WEIGHT_ROW);
            }
        }
    }
}

// Scores of the step: q k^T.
fn multiply_keys(q: ptr<function, array<array<MatrixA, HEAD_TILES>, ROW_TILES>>, tile: u32) {
    var s: array<array<MatrixC, KEY_TILES>, ROW_TILES>;
    for (var d = 0u; d < HEAD_TILES; d += 1u) {
        for (var t = 0u; t < KEY_TILES; t += 1u) {
            let k = coopLoad<MatrixB>(&packed[tile + t * SIDE * KEY_WIDTH + d * SIDE], KEY_WIDTH);
            for (var r = 0u; r < ROW_TILES; r += 1u) {
                s[r][t] = coopMultiplyAdd(q[r][d], k, s[r][t]);
            }
        }
    }
    for (var t = 0u; t < KEY_TILES; t += 1u) {
        for (var r = 0u; r < ROW_TILES; r += 1u) {
            coopStoreT(s[r][t], &score_rows[r * SIDE * SCORE_ROW + t * SIDE], SCORE_ROW);
        }
    }
}

fn read_scores(s: ptr<function, Scores>, scale: ptr<function, array<f32, LANE_ROWS>>, lane: u32) {
    for (var r = 0u; r < LANE_ROWS; r += 1u) {
        let at = row_of(lane, r) * SCORE_ROW + first_of(lane);
        for (var c = 0u; c < VECTORS; c += 1u) {
            s[r][c] = vec4f(score_rows[at + 4u * c], score_rows[at + 4u * c + 1u], score_rows[at + 4u * c + 2u],
                score_rows[at + 4u * c + 3u]) * scale[r];
        }
    }
}

fn divide_by_key_norms(s: ptr<function, Scores>, k_norms: u32, key_0: u32, lane: u32, group: vec3u) {
    for (var c = 0u; c < VECTORS; c += 1u) {
        let these = keys_in(key_0 + first_of(lane) + 4u * c, group);
        let norms = vec4f(inverse_norms[k_norms + these.x], inverse_norms[k_norms + these.y],
            inverse_norms[k_norms + these.z], inverse_norms[k_norms + these.w]);
        for (var r = 0u; r < LANE_ROWS; r += 1u) {
            s[r][c] *= norms;
        }
    }
}

fn modify_scores(s: ptr<function, Scores>, key_0: u32, lane: u32, first_row: u32, group: vec3u) {
    for (var r = 0u; r < LANE_ROWS; r += 1u) {
        let row = row_at(first_row + row_of(lane, r), group);
        for (var c = 0u; c < VECTORS; c += 1u) {
            let these = keys_in(key_0 + first_of(lane) + 4u * c, group);
            for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
                s[r][c][i] = hook_score_mod(s[r][c][i], Element(row.batch, row.head, row.query, these[i]));
            }
        }
    }
}

// Hides what the mask and the bits of a block hide.
fn mask_scores(
    s: ptr<function, Scores>,
    step: u32, key_0: u32, lane: u32, first_row: u32, group: vec3u, visits: Visits,
) {
    for (var r = 0u; r < LANE_ROWS; r += 1u) {
        let row = row_at(first_row + row_of(lane, r), group);
        for (var c = 0u; c < VECTORS; c += 1u) {
            let key = key_0 + first_of(lane) + 4u * c;
            if MASK_MOD {
                let visible = hook_mask_mod(Element(row.batch, row.head, row.query, key), keys_in(key, group));
                s[r][c] = select(vec4f(params.negative_infinity), s[r][c], visible);
            }
            if ELEMENT_BITS {
                let places = min(vec4u(key, key + 1u, key + 2u, key + 3u), vec4u(last_key(batch_of(group))));
                let visible = visible_by_bits(bits_of_step(visits, step, KEYS), row_of(lane, r), places);
                s[r][c] = select(vec4f(params.negative_infinity), s[r][c], visible);
            }
        }
    }
}

fn hide_missing_pages(s: ptr<function, Scores>, key_0: u32, lane: u32, group: vec3u) {
    for (var c = 0u; c < VECTORS; c += 1u) {
        let stored = are_stored(batch_of(group), keys_in(key_0 + first_of(lane) + 4u * c, group));
        for (var r = 0u; r < LANE_ROWS; r += 1u) {
            s[r][c] = select(vec4f(params.negative_infinity), s[r][c], stored);
        }
    }
}

// Hides the keys beyond those that a row sees by its place.
fn hide_unseen_keys(s: ptr<function, Scores>, key_0: u32, lane: u32, first_row: u32, group: vec3u) {
    for (var r = 0u; r < LANE_ROWS; r += 1u) {
        let visible = num_visible_keys(batch_of(group), row_at(first_row + row_of(lane, r), group).query);
        for (var c = 0u; c < VECTORS; c += 1u) {
            let key = key_0 + first_of(lane) + 4u * c;
            s[r][c] = select(vec4f(params.negative_infinity), s[r][c], vec4u(key, key + 1u, key + 2u, key + 3u) < vec4u(visible));
        }
    }
}

// Notes which keys are not hidden: weights of zero do not tell.
fn note_seen(s: ptr<function, Scores>, lane: u32) {
    for (var r = 0u; r < LANE_ROWS; r += 1u) {
        var bits = 0u;
        for (var c = 0u; c < VECTORS; c += 1u) {
            bits |= bits_of(!are_hidden(s[r][c])) << (4u * c);
        }
        seen_bits[lane * LANE_ROWS + r] = bits;
    }
}

// Scores become weights, which go to workgroup memory.
fn weigh(
    s: ptr<function, Scores>,
    reference: ptr<function, array<f32, LANE_ROWS>>, row_sum: ptr<function, array<f32, LANE_ROWS>>,
    lane: u32,
) {
    for (var r = 0u; r < LANE_ROWS; r += 1u) {
        var highest = s[r][0];
        for (var c = 1u; c < VECTORS; c += 1u) {
            highest = max(highest, s[r][c]);
        }
        var row_max = max(max(highest.x, highest.y), max(highest.z, highest.w));
        for (var apart = 1u; apart < ROW_LANES; apart *= 2u) {
            row_max = max(row_max, subgroupShuffleXor(row_max, apart));
        }
        let before = reference[r];
        let grown = row_max > before + MARGIN * UNIT;
        let now = select(before, row_max - HEADROOM * UNIT, grown);
        let factor = select(1.0, weight(before, now), grown);
        // Nothing is to be rescaled before there is something.
        if grown & (row_sum[r] != 0.0) {
            visits_o = 1u;
        }
        reference[r] = now;
        let at = row_of(lane, r) * WEIGHT_ROW + first_of(lane);
        var total = vec4f();
        for (var c = 0u; c < VECTORS; c += 1u) {
            let w = weights(s[r][c], now);
            total += w;
            weight_rows[at + 4u * c] = f16(w.x);
            weight_rows[at + 4u * c + 1u] = f16(w.y);
            weight_rows[at + 4u * c + 2u] = f16(w.z);
            weight_rows[at + 4u * c + 3u] = f16(w.w);
        }
        row_sum[r] = fma(row_sum[r], factor, (total.x + total.y) + (total.z + total.w));
        row_factors[row_of(lane, r)] = factor;
    }
}

// Whether a row sees a value of the column that is not finite.
fn sees_odd(tile: u32, row: u32, column: u32) -> bool {
    var odd = false;
    for (var key = 0u; key < KEYS; key += 1u) {
        let value = packed[tile + VALUES_AT + column * KEYS + key];
        let of_lane = key / (VECTORS * 4u);
        let bits = seen_bits[(row % LANES * ROW_LANES + of_lane) * LANE_ROWS + row / LANES];
        let sees = ((bits >> (key % (VECTORS * 4u))) & 1u) != 0u;
        odd = odd | (sees & (bitcast<u32>(f32(value)) == 0x80000000u));
    }
    return odd;
}

// Multiplies o by the rows' factors, and makes NaN of columns whose value is not finite.
fn follow_references(o: ptr<function, Outputs>, tile: u32, odd: bool, lane: u32) {
    for (var part = 0u; part < VALUE_TILES; part += KEY_TILES) {
        for (var t = 0u; t < min(KEY_TILES, VALUE_TILES - part); t += 1u) {
            for (var r = 0u; r < ROW_TILES; r += 1u) {
                coopStoreT(o[r][part + t], &score_rows[r * SIDE * SCORE_ROW + t * SIDE], SCORE_ROW);
            }
        }
        workgroupBarrier();
        for (var i = lane; i < BLOCK_Q * KEYS; i += LANES) {
            let row = i / KEYS;
            let at = row * SCORE_ROW + i % KEYS;
            let column = part * SIDE + i % KEYS;
            if column < VALUE_TILES * SIDE {
                var x = score_rows[at] * row_factors[row];
                if odd {
                    x = nan_if(x, sees_odd(tile, row, column));
                }
                score_rows[at] = x;
            }
        }
        workgroupBarrier();
        for (var t = 0u; t < min(KEY_TILES, VALUE_TILES - part); t += 1u) {
            for (var r = 0u; r < ROW_TILES; r += 1u) {
                o[r][part + t] = coopLoadT<MatrixC>(&score_rows[r * SIDE * SCORE_ROW + t * SIDE], SCORE_ROW);
            }
        }
        workgroupBarrier();
    }
}

// Adds the values, by their weights.
fn multiply_values(o: ptr<function, Outputs>, tile: u32) {
    for (var t = 0u; t < KEY_TILES; t += 1u) {
        var p: array<MatrixA, ROW_TILES>;
        for (var r = 0u; r < ROW_TILES; r += 1u) {
            p[r] = coopLoadT<MatrixA>(&weight_rows[r * SIDE * WEIGHT_ROW + t * SIDE], WEIGHT_ROW);
        }
        for (var d = 0u; d < VALUE_TILES; d += 1u) {
            let v = coopLoad<MatrixB>(&packed[tile + VALUES_AT + d * SIDE * KEYS + t * SIDE], KEYS);
            for (var r = 0u; r < ROW_TILES; r += 1u) {
                o[r][d] = coopMultiplyAdd(p[r], v, o[r][d]);
            }
        }
    }
}

// Divides the rows by their sums and writes them.
fn finish(
    o: ptr<function, Outputs>,
    reference: ptr<function, array<f32, LANE_ROWS>>, row_sum: ptr<function, array<f32, LANE_ROWS>>,
    lane: u32, first_row: u32, group: vec3u,
) {
    workgroupBarrier();
    for (var r = 0u; r < LANE_ROWS; r += 1u) {
        let index = first_row + row_of(lane, r);
        let row = row_at(index, group);
        for (var apart = 1u; apart < ROW_LANES; apart *= 2u) {
            row_sum[r] += subgroupShuffleXor(row_sum[r], apart);
        }
        var factor = 1.0;
        if SINKS {
            let sunk = with_sink(reference[r], row.head);
            reference[r] = sunk.x;
            row_sum[r] = row_sum[r] * sunk.y + sunk.z;
            factor = sunk.y;
        }
        row_factors[row_of(lane, r)] = factor * inverse_of(row_sum[r]);
        if WRITE_LSE {
            if index < row_count(batch_of(group)) && lane % ROW_LANES == 0u {
                put_lse(row, lse_of(reference[r], row_sum[r]));
            }
        }
    }
    for (var part = 0u; part < VALUE_TILES; part += KEY_TILES) {
        workgroupBarrier();
        for (var t = 0u; t < min(KEY_TILES, VALUE_TILES - part); t += 1u) {
            for (var r = 0u; r < ROW_TILES; r += 1u) {
                coopStoreT(o[r][part + t], &score_rows[r * SIDE * SCORE_ROW + t * SIDE], SCORE_ROW);
            }
        }
        workgroupBarrier();
        for (var i = lane; i < BLOCK_Q * QUADS; i += LANES) {
            let index = first_row + i / QUADS;
            let column = part * SIDE + i % QUADS * 4u;
            if column < VALUE_DIM && index < row_count(batch_of(group)) {
                let at = i / QUADS * SCORE_ROW + i % QUADS * 4u;
                let x = vec4f(score_rows[at], score_rows[at + 1u], score_rows[at + 2u], score_rows[at + 3u]);
                put_o4(o_row(row_at(index, group)), column, finite_or_nan(x * row_factors[i / QUADS]));
            }
        }
    }
}
