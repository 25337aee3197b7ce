// A tensor's rows, mapped and spread, as f32 in one buffer that later passes read.
//
//   out[b,h,r * out_stride + out_phase,:] = factor * row_factor[b,h,r] * map(x[b,h,r,:])
//
// Shapes    x [B, H, R, W]   weight [H, W, F]   out [B, H, R * out_stride, W or 2 F, rounded up to a multiple of four]
// Dispatch  x = rows / THREADS, y = heads, z = batch
// Storage   none; a thread maps a row
// Numerics  f32; softmax relative to the row's largest element
// Source    the maps of Katharopoulos et al. 2020 (elu + 1), Zhang et al. 2024, Hedgehog (learned), and the plain ones
//
// Rows of rules that take several steps a token are spread out: the steps' rows follow each other. A factor of zero writes
// zeros even if x is NaN.

import package::linear_attention::problem::{expm1, bounded};
import package::shared::math::{is_nan};
import package::shared::inputs::{q4};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::grid::{workgroup_of};

struct Prepare {
    rows: u32,
    first_batch: u32,
    first_head: u32,
    x_base: u32, x_batch: u32, x_head: u32, x_row: u32,
    // Width of x, and of its rows once they are mapped.
    width: u32,
    mapped_width: u32,
    out_base: u32, out_batch: u32, out_head: u32, out_row: u32,
    out_stride: u32,
    out_phase: u32,
    factor: f32,
    // Of row_factor: of [0, 0, 0], and strides of batch, head and row; 0 where a number serves all.
    factor_base: u32, factor_batch: u32, factor_head: u32, factor_row: u32,
}

@group(0) @binding(0) var<uniform> prepare: Prepare;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(3) var<storage, read> weight: array<f32>; // [H, W, F]
@group(0) @binding(4) var<storage, read> row_factor: array<f32>; // [B, R, H] or [H]

const THREADS: u32 = 64u;
// The map: 0 identity, 1 relu, 2 elu + 1, 3 relu squared, 4 silu, 5 rows of unit length, 6 softmax, 7 learned: softmax of a
// projection and its negative, 8 what a decay takes: 1 - exp(x) for x <= 0.
const MAP: u32 = 0u;
const SOFTMAX: bool = MAP == 6u || MAP == 7u;
// Whether `out` holds sums already, to which rows are added.
const ADD: bool = false;
// Whether rows have factors.
const BY: bool = false;

// Drivers' max, min and exp make a number of NaN: `x` where it is none.
fn kept_nan(mapped: vec4f, x: vec4f) -> vec4f {
    return select(mapped, x, vec4<bool>(is_nan(x.x), is_nan(x.y), is_nan(x.z), is_nan(x.w)));
}

fn each(x: vec4f) -> vec4f {
    if MAP == 1u {
        return kept_nan(max(x, vec4f()), x);
    }
    if MAP == 2u {
        return kept_nan(select(exp(min(x, vec4f())), x + 1.0, x > vec4f()), x);
    }
    if MAP == 3u {
        let positive = max(x, vec4f());
        return kept_nan(positive * positive, x);
    }
    if MAP == 4u {
        return kept_nan(x / (1.0 + exp(min(-x, vec4f(80.0)))), x);
    }
    if MAP == 8u {
        var taken: vec4f;
        for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
            taken[c] = -expm1(bounded(x[c]));
        }
        return taken;
    }
    return x;
}

// Columns beyond the row's end become zero, under any map.
fn within(x: vec4f, column: u32) -> vec4f {
    let columns = vec4u(column) + vec4u(0u, 1u, 2u, 3u);
    return select(vec4f(), x, columns < vec4u(prepare.mapped_width));
}

// Four elements, from `column` on, of the projection and its negative.
fn projected4(head: u32, x_at: u32, column: u32) -> vec4f {
    let features = prepare.mapped_width / 2u;
    var value: vec4f;
    for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
        let at = min(column + c, prepare.mapped_width - 1u);
        let feature = at % features;
        var sum = 0.0;
        for (var d = 0u; d < prepare.width; d += 1u) {
            sum += q4(x_at, d / 4u * 4u)[d % 4u] * weight[(head * prepare.width + d) * features + feature];
        }
        value[c] = select(-sum, sum, at < features);
    }
    return value;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) dispatched: vec3u, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_of(dispatched);
    let row = group.x * THREADS + thread;
    if row >= prepare.rows {
        return;
    }
    let batch = prepare.first_batch + group.z;
    let head = prepare.first_head + group.y;
    let x_at = prepare.x_base + batch * prepare.x_batch + head * prepare.x_head + row * prepare.x_row;
    let out_at = (prepare.out_base + batch * prepare.out_batch + head * prepare.out_head
        + (row * prepare.out_stride + prepare.out_phase) * prepare.out_row) / 4u;
    var factor = prepare.factor;
    if BY {
        factor *= row_factor[prepare.factor_base + batch * prepare.factor_batch + head * prepare.factor_head + row * prepare.factor_row];
    }
    let vectors = (prepare.mapped_width + 3u) / 4u;
    if prepare.factor == 0.0 {
        for (var i = 0u; i < vectors; i += 1u) {
            out[out_at + i] = vec4f();
        }
        return;
    }
    // A first turn writes what the map makes of each element, or the projection; if rows are normalised, a second follows.
    var largest = -3.4e38;
    var square = 0.0;
    for (var i = 0u; i < vectors; i += 1u) {
        var value: vec4f;
        if MAP == 7u {
            value = projected4(head, x_at, 4u * i);
        } else {
            value = each(q4(x_at, 4u * i));
        }
        if MAP == 5u {
            let inside = within(value, 4u * i);
            square += dot(inside, inside);
        }
        if SOFTMAX {
            for (var c = 0u; c < UNROLL_COMPONENTS; c += 1u) {
                largest = select(largest, max(largest, value[c]), 4u * i + c < prepare.mapped_width);
            }
        }
        let mapped = within(value * factor, 4u * i);
        if ADD {
            out[out_at + i] += mapped;
        } else {
            out[out_at + i] = mapped;
        }
    }
    if MAP == 5u {
        let inverse = select(1.0 / max(sqrt(square), 1e-12), square, is_nan(square));
        for (var i = 0u; i < vectors; i += 1u) {
            out[out_at + i] *= inverse;
        }
    }
    if SOFTMAX {
        var sum = 0.0;
        for (var i = 0u; i < vectors; i += 1u) {
            let logits = out[out_at + i];
            let weights = within(kept_nan(exp(logits - largest), logits), 4u * i);
            sum += weights.x + weights.y + weights.z + weights.w;
            out[out_at + i] = weights;
        }
        for (var i = 0u; i < vectors; i += 1u) {
            out[out_at + i] /= sum;
        }
    }
}
