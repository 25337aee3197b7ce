// Storage of q, k, v and o: bf16 packed in pairs, rows of any length, anywhere.
//
// The same functions as in the other io_* modules. Rows are given by the offset of their first element, columns by the
// first of four.
// Columns beyond the row's end read as zero; in their place the row's last element is written again. Nothing branches:
// drivers that run on the CPU compile a text with hundreds of branches for minutes. The two halves of a word may belong to
// different rows, and so to different threads: each changes its own half only, atomically.

import package::attention::problem::{params};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::bf16::{widen_bf16, narrow_bf16};

@group(0) @binding(1) var<storage, read> q: array<u32>; // [B, H, Tq, Dk]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [B, G, Tk, Dk]
@group(0) @binding(3) var<storage, read> v: array<u32>; // [B, G, Tk, Dv]
@group(0) @binding(4) var<storage, read_write> o: array<atomic<u32>>; // [B, H, Tq, Dv]

fn q_at(element: u32) -> f32 {
    let pair = widen_bf16(q[element / 2u]);
    return select(pair.x, pair.y, element % 2u == 1u);
}

fn q4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, params.head_dim - 1u);
        value[i] = select(0.0, q_at(row + at), column + i < params.head_dim);
    }
    return value;
}

fn k_at(element: u32) -> f32 {
    let pair = widen_bf16(k[element / 2u]);
    return select(pair.x, pair.y, element % 2u == 1u);
}

fn k4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, params.head_dim - 1u);
        value[i] = select(0.0, k_at(row + at), column + i < params.head_dim);
    }
    return value;
}

fn v_at(element: u32) -> f32 {
    let pair = widen_bf16(v[element / 2u]);
    return select(pair.x, pair.y, element % 2u == 1u);
}

fn v4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, params.value_dim - 1u);
        value[i] = select(0.0, v_at(row + at), column + i < params.value_dim);
    }
    return value;
}

fn put_o4(row: u32, column: u32, value: vec4f) {
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, params.value_dim - 1u);
        let element = row + at;
        let shift = element % 2u * 16u;
        let half = narrow_bf16(vec2f(value[at - column], 0.0)) & 0xffffu;
        atomicAnd(&o[element / 2u], ~(0xffffu << shift));
        atomicOr(&o[element / 2u], half << shift);
    }
}
