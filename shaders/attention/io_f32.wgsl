// Storage of q, k, v and o: f32, rows of any length, anywhere.
//
// The same functions as in the other io_* modules. Rows are given by the offset of their first element, columns by the
// first of four.
// Columns beyond the row's end read as zero and are not written.

import package::attention::problem::{params};

@group(0) @binding(1) var<storage, read> q: array<f32>; // [B, H, Tq, Dk]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [B, G, Tk, Dk]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [B, G, Tk, Dv]
@group(0) @binding(4) var<storage, read_write> o: array<f32>; // [B, H, Tq, Dv]

fn q4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var UNROLL_i = 0u; UNROLL_i < 4u; UNROLL_i += 1u) {
        if column + UNROLL_i < params.head_dim {
            value[UNROLL_i] = q[row + column + UNROLL_i];
        }
    }
    return value;
}

fn k4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var UNROLL_i = 0u; UNROLL_i < 4u; UNROLL_i += 1u) {
        if column + UNROLL_i < params.head_dim {
            value[UNROLL_i] = k[row + column + UNROLL_i];
        }
    }
    return value;
}

fn v4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var UNROLL_i = 0u; UNROLL_i < 4u; UNROLL_i += 1u) {
        if column + UNROLL_i < params.value_dim {
            value[UNROLL_i] = v[row + column + UNROLL_i];
        }
    }
    return value;
}

fn put_o4(row: u32, column: u32, value: vec4f) {
    for (var UNROLL_i = 0u; UNROLL_i < 4u; UNROLL_i += 1u) {
        if column + UNROLL_i < params.value_dim {
            o[row + column + UNROLL_i] = value[UNROLL_i];
        }
    }
}
