// Decays within chunks, as linear_attention/chunk_gates writes them.
//
// With G_r the sum of a chunk's gates to row r, inclusive: `pre` is exp(G_r), `suf` is exp(G_last - G_r), `total` is the step
// of the whole chunk's decay, see `decay_step`. All are at most 1; nothing is divided by a decay.

import package::linear_attention::chunk::{CHUNK};

@group(0) @binding(16) var<storage, read> gates: array<vec4f>;

// Of gates that are a number a row: (pre, suf, and the base-2 logarithm of pre as a whole number and the rest of it).
fn row_decays(pair: u32, j: u32) -> vec4f {
    return gates[pair * (CHUNK + 1u) + j];
}

// The same without the row's own gate.
fn row_decays_before(pair: u32, j: u32) -> vec4f {
    return select(row_decays(pair, max(j, 1u) - 1u), vec4f(1.0, 1.0, 0.0, 0.0), j == 0u);
}

// exp(G_r - G_j) for four j: differences of whole numbers and of rests are small exactly where the result is not, so that
// strong gates before both take nothing from its precision.
fn between(r: vec4f, whole: vec4f, rest: vec4f) -> vec4f {
    let whole_difference = vec4f(vec4i(i32(r.z)) - vec4i(whole));
    return exp2(min(whole_difference + (vec4f(r.w) - rest), vec4f()));
}

// Of gates of channels: four channels of `width` of a row; `part` is one of these.
const DECAY: u32 = 0u;
const PRE: u32 = 1u;
const SUF: u32 = 2u;

fn channel_decays(pair: u32, part: u32, j: u32, channel: u32, width: u32) -> vec4f {
    return gates[((pair * (3u * CHUNK + 1u) + part * CHUNK + j) * width + channel) / 4u];
}

// `pre` without the row's own gate.
fn channel_decays_before(pair: u32, j: u32, channel: u32, width: u32) -> vec4f {
    return select(channel_decays(pair, PRE, max(j, 1u) - 1u, channel, width), vec4f(1.0), j == 0u);
}

// Four channels of `total`.
fn channel_totals(pair: u32, channel: u32, width: u32) -> vec4f {
    return gates[((pair * (3u * CHUNK + 1u) + 3u * CHUNK) * width + channel) / 4u];
}

fn row_total(pair: u32) -> f32 {
    return gates[pair * (CHUNK + 1u) + CHUNK].x;
}
