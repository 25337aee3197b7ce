// Storage of q, k and v: f16 packed in pairs, rows of any length, anywhere.
//
// The same functions as in the other inputs_* modules. Rows are given by the offset of their first element, columns by the
// first of four. Columns beyond the row's end read as zero. Nothing branches: drivers that run on the CPU compile a text with
// hundreds of branches for minutes.

import package::shared::widths::{head_dim, value_dim};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(1) var<storage, read> q: array<u32>;
@group(0) @binding(2) var<storage, read> k: array<u32>;
@group(0) @binding(3) var<storage, read> v: array<u32>;

fn q_at(element: u32) -> f32 {
    let pair = unpack2x16float(q[element / 2u]);
    return select(pair.x, pair.y, element % 2u == 1u);
}

fn q4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, head_dim() - 1u);
        value[i] = select(0.0, q_at(row + at), column + i < head_dim());
    }
    return value;
}

fn k_at(element: u32) -> f32 {
    let pair = unpack2x16float(k[element / 2u]);
    return select(pair.x, pair.y, element % 2u == 1u);
}

fn k4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, head_dim() - 1u);
        value[i] = select(0.0, k_at(row + at), column + i < head_dim());
    }
    return value;
}

fn v_at(element: u32) -> f32 {
    let pair = unpack2x16float(v[element / 2u]);
    return select(pair.x, pair.y, element % 2u == 1u);
}

fn v4(row: u32, column: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, value_dim() - 1u);
        value[i] = select(0.0, v_at(row + at), column + i < value_dim());
    }
    return value;
}
