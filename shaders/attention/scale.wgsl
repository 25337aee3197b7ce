// Factors of scores, and the sink in a row's denominator.

import package::attention::problem::{PACKED_K, params, Row, stored_at, k_start};
import package::attention::keys::{QUANTISED_Q, q_factor};
import package::attention::softmax::{weight};

// Whether every head has a scale of its own.
const HEAD_SCALE: bool = false;
// Whether rows of q and k are divided by their norms.
const NORMALISE: bool = false;
// Whether every head has a logit that enters the denominator, and has no value.
const SINKS: bool = false;

// Whether rows have factors of their own.
const ROW_SCALES = HEAD_SCALE || NORMALISE || QUANTISED_Q;

@group(0) @binding(7) var<storage, read> head_scale: array<f32>; // [H]
@group(0) @binding(8) var<storage, read> sink_logits: array<f32>; // [H]
// One over the norms of the rows of q [B, H, Tq], then of those of k [B, G, Tk].
@group(0) @binding(9) var<storage, read> inverse_norms: array<f32>;

fn row_scale(row: Row) -> f32 {
    var scale = params.scale;
    if HEAD_SCALE {
        scale *= head_scale[row.head];
    }
    if QUANTISED_Q {
        scale *= q_factor(row.batch, row.head, row.query);
    }
    if NORMALISE {
        let at = stored_at(row);
        scale *= inverse_norms[(at.batch * params.q_heads + row.head) * params.q_len + at.position];
    }
    return scale;
}

// Where the inverse norms of a key/value head begin.
fn key_norms_of(batch: u32, kv_head: u32) -> u32 {
    let kv_heads = params.q_heads / params.group;
    if PACKED_K {
        return params.key_norms_at + kv_head * params.kv_len + k_start(batch);
    }
    return params.key_norms_at + (batch * kv_heads + kv_head) * params.kv_len;
}

// A row's denominator with its sink: the maximum, then what the sum so far and what the sink is weighted by. Scores are in
// natural units wherever there are sinks.
fn with_sink(row_max: f32, head: u32) -> vec3f {
    let logit = sink_logits[head];
    let new_max = max(row_max, logit);
    return vec3f(new_max, weight(row_max, new_max), weight(logit, new_max));
}
