// Partial softmaxes merged, exactly.
//
//   w_n = exp(lse_n - M)      o = sum_n w_n o_n / W      lse = M + ln W      M = max_n lse_n, W = sum_n w_n + exp(sink - M)
//
// Shapes    parts of o (bound as v) [N, B, H, T, Dv] or [N, B, T, H, Dv]   lse_parts [N, B, H, T]
//           o [B, H, T, Dv] or [B, T, H, Dv]   lse [B, H, T]   sink_logits [H]
// Dispatch  x = T LANES / THREADS, y = H, z = B; LANES threads share a row, each takes every LANES-th four of its columns
// Numerics  f32; lse in natural units. A part whose lse is -inf is empty and is not read; a row of empty parts has o = 0 and
// lse = -inf. A value that is not finite, in a part that is not empty, makes NaN of its column, and an lse of its row.
// Source    Milakov and Gimelshein 2018, section 3.1; Dao et al. 2023, Flash-Decoding

import package::shared::grid::{workgroup_of};
import package::shared::inputs::{v4};
import package::shared::math::{is_finite, is_negative_infinity, nan_if, finite_or_nan};
import package::shared::output::{put_o4};

const VALUE_DIM: u32 = 64u;
const THREADS: u32 = 64u;
const LANES: u32 = 1u;
const WRITE_LSE: bool = true;
// Whether every head has a logit that enters the denominators, and has no value.
const SINKS: bool = false;
const_assert VALUE_DIM % 4u == 0u;
const_assert THREADS % LANES == 0u;

const LOWEST: f32 = -3.4028234663852886e38;

struct Combine {
    parts: u32,
    // Rows of a head.
    len: u32,
    // Workgroups count from here.
    first_batch: u32, first_head: u32, first_row: u32,
    // Strides of part, batch entry, head and row; where [0, 0, 0, 0] lies relative to a binding that may begin later, modulo 2^32.
    o_parts_part: u32, o_parts_batch: u32, o_parts_head: u32, o_parts_row: u32,
    lse_parts_part: u32, lse_parts_batch: u32, lse_parts_head: u32,
    o_base: u32, o_batch: u32, o_head: u32, o_row: u32,
    lse_base: u32, lse_batch: u32, lse_head: u32,
}

@group(0) @binding(0) var<uniform> combine: Combine;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;
@group(0) @binding(6) var<storage, read> lse_parts: array<f32>;
@group(0) @binding(8) var<storage, read> sink_logits: array<f32>;

fn part_weight(score: f32, maximum: f32) -> f32 {
    return exp2((score - maximum) * 1.4426950408889634);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let lane = thread % LANES;
    let batch = combine.first_batch + group.z;
    let head = combine.first_head + group.y;
    let row = combine.first_row + group.x * (THREADS / LANES) + thread / LANES;
    if row >= combine.len {
        return;
    }
    let o_part = batch * combine.o_parts_batch + head * combine.o_parts_head + row * combine.o_parts_row;
    let lse_part = batch * combine.lse_parts_batch + head * combine.lse_parts_head + row;

    // Begins with the lowest finite number, so that no difference is one of two infinities.
    var maximum = LOWEST;
    for (var part = 0u; part < combine.parts; part += 1u) {
        maximum = max(maximum, lse_parts[lse_part + part * combine.lse_parts_part]);
    }
    var total = 0.0;
    if SINKS {
        maximum = max(maximum, sink_logits[head]);
        total = part_weight(sink_logits[head], maximum);
    }
    for (var part = 0u; part < combine.parts; part += 1u) {
        total += part_weight(lse_parts[lse_part + part * combine.lse_parts_part], maximum);
    }
    // A row of empty parts has no weight: zero over one, not over zero.
    let inverse = nan_if(1.0 / select(total, 1.0, total == 0.0), !is_finite(total));

    let o_row = combine.o_base + batch * combine.o_batch + head * combine.o_head + row * combine.o_row;
    for (var column = 4u * lane; column < VALUE_DIM; column += 4u * LANES) {
        var sum = vec4f();
        for (var part = 0u; part < combine.parts; part += 1u) {
            let score = lse_parts[lse_part + part * combine.lse_parts_part];
            if !is_negative_infinity(score) {
                sum += part_weight(score, maximum) * v4(o_part + part * combine.o_parts_part, column);
            }
        }
        put_o4(o_row, column, finite_or_nan(sum * inverse));
    }
    if WRITE_LSE && lane == 0u {
        // The largest has a weight of one, unless all are empty.
        let merged = bitcast<u32>(maximum + log2(max(total, 1.0)) * 0.6931471805599453);
        let or_empty = bitcast<f32>(select(merged, 0xff800000u, total == 0.0));
        lse[combine.lse_base + batch * combine.lse_batch + head * combine.lse_head + row] = nan_if(or_empty, !is_finite(total));
    }
}
