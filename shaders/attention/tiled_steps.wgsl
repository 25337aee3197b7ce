// The steps of tiled attention: what a thread does with the scores and outputs of its 4 rows.

import package::kernel::{stage, LANES, ROW_LANES, KEY_SLICE, BATCH, THREADS, BLOCK_K, VALUE_VECTORS, VALUE_LANES, UNROLL_VALUES, UNROLL_WEIGHTS, V_STAGE, UNROLL_BATCH};
import package::attention::problem::{VALUE_DIM, params, row_at, batch_of, kv_head, last_key, num_visible_keys};
import package::shared::math::{not_finite};
import package::attention::keys::{PAGED, QUANTISED, key_at, k_row, v_row, are_stored, scales_of, k_factor, v_factor};
import package::shared::kv::{value4};
import package::attention::hooks::{MASK_MOD, Element, hook_score_mod, hook_mask_mod};
import package::attention::blocks::{TOKEN_ORDER, ELEMENT_BITS, position_of, bits_of_step, visible_by_bits, Visits};
import package::attention::softmax::{weight, weights, are_hidden};
import package::attention::scale::{ROW_SCALES, inverse_norms};
import package::attention::online_softmax::{rescale_row};
import package::shared::tile::{stage_transposed};
import package::shared::vector::{UNROLL_COMPONENTS, bits_of, set_bits};

alias Scores = array<vec4f, 4>;
alias Outputs = array<array<vec4f, VALUE_VECTORS>, 4>;

// The key in a place, or in the last.
fn key_in(place: u32, group: vec3u) -> u32 {
    return position_of(min(place, last_key(batch_of(group))));
}

// Where the row of the key in a place lies.
fn k_row_in(k_first: u32, place: u32, group: vec3u) -> u32 {
    return k_row(k_first, key_at(batch_of(group), key_in(place, group)));
}

// Four elements of the value in a place.
fn value_in(v_first: u32, place: u32, column: u32, group: vec3u) -> vec4f {
    let key = key_in(place, group);
    let value = value4(v_row(v_first, key_at(batch_of(group), key)), column);
    if QUANTISED {
        return value * v_factor(scales_of(batch_of(group), kv_head(group)), key);
    }
    return value;
}

fn scale_scores(s: ptr<function, Scores>, scale: ptr<function, array<f32, 4>>) {
    for (var r = 0u; r < 4u; r += 1u) {
        if ROW_SCALES {
            s[r] *= scale[r];
        } else {
            s[r] *= params.scale;
        }
    }
}

fn divide_by_key_norms(s: ptr<function, Scores>, k_norms: ptr<function, u32>, keys: ptr<function, vec4u>) {
    let norms = vec4f(inverse_norms[*k_norms + (*keys).x], inverse_norms[*k_norms + (*keys).y],
        inverse_norms[*k_norms + (*keys).z], inverse_norms[*k_norms + (*keys).w]);
    for (var r = 0u; r < 4u; r += 1u) {
        s[r] *= norms;
    }
}

fn multiply_by_key_scales(s: ptr<function, Scores>, group: vec3u, keys: ptr<function, vec4u>) {
    let scales = scales_of(batch_of(group), kv_head(group));
    let factors = vec4f(k_factor(scales, (*keys).x), k_factor(scales, (*keys).y), k_factor(scales, (*keys).z),
        k_factor(scales, (*keys).w));
    for (var r = 0u; r < 4u; r += 1u) {
        s[r] *= factors;
    }
}

fn hide_missing_pages(s: ptr<function, Scores>, group: vec3u, keys: ptr<function, vec4u>) {
    let stored = are_stored(batch_of(group), *keys);
    for (var r = 0u; r < 4u; r += 1u) {
        s[r] = select(vec4f(params.negative_infinity), s[r], stored);
    }
}

fn modify_scores(s: ptr<function, Scores>, first_row: u32, row_lane: u32, group: vec3u, keys: ptr<function, vec4u>) {
    for (var r = 0u; r < 4u; r += 1u) {
        let row = row_at(first_row + row_lane * 4u + r, group);
        for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
            s[r][c] = hook_score_mod(s[r][c], Element(row.batch, row.head, row.query, (*keys)[c]));
        }
    }
}

// Hides what the mask and the bits of a block hide.
fn mask_scores(
    s: ptr<function, Scores>,
    step: u32, key: u32, first_row: u32, row_lane: u32, group: vec3u, visits: Visits, places: vec4u,
    keys: ptr<function, vec4u>,
) {
    for (var r = 0u; r < 4u; r += 1u) {
        let row = row_at(first_row + row_lane * 4u + r, group);
        if MASK_MOD {
            s[r] = select(vec4f(params.negative_infinity), s[r], hook_mask_mod(Element(row.batch, row.head, row.query, key), *keys));
        }
        if ELEMENT_BITS {
            let bits = bits_of_step(visits, step, BLOCK_K);
            s[r] = select(vec4f(params.negative_infinity), s[r], visible_by_bits(bits, row_lane * 4u + r, places));
        }
    }
}

// Hides the keys beyond those that a row sees by its place.
fn hide_unseen_keys(s: ptr<function, Scores>, key: u32, first_row: u32, row_lane: u32, group: vec3u) {
    for (var r = 0u; r < 4u; r += 1u) {
        let seen = num_visible_keys(batch_of(group), row_at(first_row + row_lane * 4u + r, group).query);
        s[r] = select(vec4f(params.negative_infinity), s[r], vec4u(key, key + 1u, key + 2u, key + 3u) < vec4u(seen));
    }
}

// Which elements are hidden, a bit each, and whether a value of the step that the thread reads is not finite.
fn find_hidden(
    s: ptr<function, Scores>,
    hidden: ptr<function, u32>,
    odd: ptr<function, bool>,
    thread: u32, key_0: u32, v_first: u32, group: vec3u,
) {
    for (var r = 0u; r < 4u; r += 1u) {
        *hidden |= bits_of(are_hidden(s[r])) << (4u * r);
    }
    var values = vec4<bool>(false);
    for (var block = thread; block < BLOCK_K * VALUE_LANES; block += THREADS) {
        let column = block % VALUE_LANES * 4u;
        if 4u * VALUE_LANES == VALUE_DIM || column < VALUE_DIM {
            values = values | not_finite(value_in(v_first, key_0 + block / VALUE_LANES, column, group));
        }
    }
    *odd = any(values);
}

// The maxima of the rows: each thread offers those of its four keys and reads those of its rows' other threads.
fn new_row_max(s: ptr<function, Scores>, row_max: ptr<function, array<f32, 4>>, row_lane: u32, lane: u32) -> vec4f {
    var offered: vec4f;
    for (var r = 0u; r < 4u; r += 1u) {
        offered[r] = max(max(s[r].x, s[r].y), max(s[r].z, s[r].w));
    }
    stage[lane * ROW_LANES + row_lane] = offered;
    workgroupBarrier();
    var new_max = vec4f(row_max[0], row_max[1], row_max[2], row_max[3]);
    for (var i = 0u; i < LANES; i += 1u) {
        new_max = max(new_max, stage[i * ROW_LANES + row_lane]);
    }
    return new_max;
}

// Scores become weights of the new maxima, and what came before is rescaled to these.
fn take_scores(
    s: ptr<function, Scores>,
    o: ptr<function, Outputs>,
    row_max: ptr<function, array<f32, 4>>, row_sum: ptr<function, array<f32, 4>>,
    new_max: vec4f,
) {
    for (var r = 0u; r < 4u; r += 1u) {
        let rescale = weight(row_max[r], new_max[r]);
        row_max[r] = new_max[r];
        s[r] = weights(s[r], new_max[r]);
        row_sum[r] = fma(row_sum[r], rescale, s[r].x + s[r].y + s[r].z + s[r].w);
        rescale_row(&o[r], rescale);
    }
}

// No weight is below zero: hidden elements are told by it.
fn mark_hidden(s: ptr<function, Scores>, hidden: ptr<function, u32>) {
    for (var r = 0u; r < 4u; r += 1u) {
        s[r] = select(s[r], vec4f(-1.0), set_bits(*hidden >> (4u * r)));
    }
}

fn stage_weights_and_values(
    s: ptr<function, Scores>,
    part: u32, thread: u32, row_lane: u32, lane: u32, key_0: u32, v_first: u32, v_last: u32, group: vec3u,
) {
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
            if TOKEN_ORDER || PAGED || QUANTISED {
                stage[V_STAGE + block] = value_in(v_first, key_0 + part + block / VALUE_LANES, column, group);
            } else {
                let from_key = v_first + (key_0 + part + block / VALUE_LANES) * params.v_row;
                stage[V_STAGE + block] = value4(min(from_key, v_last), column);
            }
        }
    }
}

// Adds the staged values, by their weights.
fn add_values(o: ptr<function, Outputs>, row_lane: u32, lane: u32) {
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

// The same, of seen elements only: hidden ones may have values that are not finite.
fn add_seen_values(o: ptr<function, Outputs>, row_lane: u32, lane: u32) {
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
}

// The sums of the rows over all of their threads.
fn sum_rows(row_sum: ptr<function, array<f32, 4>>, row_lane: u32, lane: u32) {
    workgroupBarrier();
    stage[lane * ROW_LANES + row_lane] = vec4f(row_sum[0], row_sum[1], row_sum[2], row_sum[3]);
    workgroupBarrier();
    var total: vec4f;
    for (var i = 0u; i < LANES; i += 1u) {
        total += stage[i * ROW_LANES + row_lane];
    }
    for (var r = 0u; r < 4u; r += 1u) {
        row_sum[r] = total[r];
    }
}
