// Storage of q, k, v and o: f32, rows of any length, anywhere.
//
// The same functions as in the other io_* modules. Rows are given by the offset of their first element, columns by the
// first of four.
// Columns beyond the row's end read as zero and are not written.

import package::attention::problem::{params};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(1) var<storage, read> q: array<f32>; // [B, H, Tq, Dk]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [B, G, Tk, Dk]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [B, G, Tk, Dv]
@group(0) @binding(4) var<storage, read_write> o: array<f32>; // [B, H, Tq, Dv]

fn q4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        if column + i < params.head_dim {
            value[i] = q[row + column + i];
        }
    }
    return value;
}

fn k4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        if column + i < params.head_dim {
            value[i] = k[row + column + i];
        }
    }
    return value;
}

fn v4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        if column + i < params.value_dim {
            value[i] = v[row + column + i];
        }
    }
    return value;
}

fn put_o4(row: u32, column: u32, value: vec4f) {
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        if column + i < params.value_dim {
            o[row + column + i] = value[i];
        }
    }
}
