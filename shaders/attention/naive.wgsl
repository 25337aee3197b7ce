// Attention, forward, one thread a row: the shortest text.
//
//   o[b,h,i,:] = sum_j softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:]          g = h / (H / G)
//
// Shapes    q [B, H, Tq, Dk]   k [B, G, Tk, Dk]   v [B, G, Tk, Dv]   o [B, H, Tq, Dv]   lse [B, H, Tq]
// Dispatch  x = rows / THREADS, y = heads (folded), z = B
// Storage   none; the row of o lives in registers
// Numerics  f32 accumulation; scores in base 2, or natural where an expression or a sink wants them (see softmax.wgsl)
// Source    Milakov and Gimelshein 2018, algorithm 3

import package::attention::problem::{HEAD_DIM, VALUE_DIM, params, row_at, row_count, q_row, kv_head, k_head_offset, v_head_offset, num_visible_keys};
import package::attention::keys::{PAGED, QUANTISED, key_at, k_row, v_row, is_stored, scales_of, k_factor, v_factor};
import package::attention::operands::{query_row4, key_row4};
import package::shared::kv::{value4};
import package::attention::hooks::{SCORE_MOD, MASK_MOD, Element, hook_score_mod, hook_mask_mod};
import package::attention::blocks::{KV_BLOCK, ELEMENT_BITS, position_of, place_of, visits_of, first_key, bits_of_step, visible_by_bits};
import package::attention::softmax::{FIRST_ROW_MAX, weight, is_hidden};
import package::attention::online_softmax::{add_sink, finish_row};
import package::attention::scale::{NORMALISE, SINKS, inverse_norms, row_scale, key_norms_of};
import package::shared::grid::{workgroup_of};

const THREADS: u32 = 64u;
const VALUE_VECTORS: u32 = VALUE_DIM / 4u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_of(dispatched);
    let place = place_of(workgroup);
    let group = place.group;
    let row_in_tile = thread;
    let index = params.first_row + group.x * THREADS + thread;
    let row = row_at(index, group);
    let q_first = q_row(row);
    let k_first = k_head_offset(group);
    let v_first = v_head_offset(group);
    let scale = row_scale(row);
    var k_norms = 0u;
    if NORMALISE {
        k_norms = key_norms_of(row.batch, kv_head(group));
    }
    var scales = 0u;
    if QUANTISED {
        scales = scales_of(row.batch, kv_head(group));
    }
    let keys = num_visible_keys(row.batch, row.query);
    let visits = visits_of(place.list, keys, KV_BLOCK);

    var o: array<vec4f, VALUE_VECTORS>;
    var row_max = FIRST_ROW_MAX;
    var row_sum = 0.0;
    for (var at_key = visits.first_step * KV_BLOCK; at_key < visits.steps * KV_BLOCK; at_key += 1u) {
        let step = at_key / KV_BLOCK;
        let place_of_key = first_key(visits, step, KV_BLOCK) + at_key % KV_BLOCK;
        if place_of_key >= keys {
            continue;
        }
        let key = position_of(place_of_key);
        if ELEMENT_BITS {
            let bits = bits_of_step(visits, step, KV_BLOCK);
            if step < visits.partial_steps && !visible_by_bits(bits, row_in_tile, vec4u(key)).x {
                continue;
            }
        }
        if PAGED {
            if !is_stored(row.batch, key) {
                continue;
            }
        }
        let at = key_at(row.batch, key);
        var score = 0.0;
        for (var d = 0u; d < HEAD_DIM; d += 4u) {
            score += dot(query_row4(q_first, d), key_row4(k_row(k_first, at), d));
        }
        score *= scale;
        if QUANTISED {
            score *= k_factor(scales, key);
        }
        if NORMALISE {
            score *= inverse_norms[k_norms + key];
        }
        let element = Element(row.batch, row.head, row.query, key);
        if SCORE_MOD {
            score = hook_score_mod(score, element);
            if is_hidden(score) {
                continue;
            }
        }
        if MASK_MOD {
            if step < visits.partial_steps && !hook_mask_mod(element, vec4u(key)).x {
                continue;
            }
        }
        let new_max = max(row_max, score);
        let rescale = weight(row_max, new_max);
        let w = weight(score, new_max);
        row_max = new_max;
        row_sum = fma(row_sum, rescale, w);
        var factor = 1.0;
        if QUANTISED {
            factor = v_factor(scales, key);
        }
        for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
            o[c] = fma(o[c], vec4f(rescale), w * (factor * value4(v_row(v_first, at), 4u * c)));
        }
    }

    if SINKS {
        add_sink(&o, &row_max, &row_sum, row.head);
    }
    if index < row_count(row.batch) {
        finish_row(&o, &row_max, &row_sum, row, 0u, 1u);
    }
}
