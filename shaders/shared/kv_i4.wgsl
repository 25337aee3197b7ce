// Storage of k and v: signed integers of four bits, two in a byte, the even one in its low half; rows of any even length, anywhere.
//
// Rows are given by the offset of their first byte.

import package::shared::integers::{byte_at, half_at};
import package::shared::widths::{head_dim, value_dim};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(2) var<storage, read> k_integers: array<u32>;
@group(0) @binding(3) var<storage, read> v_integers: array<u32>;

fn load_integers(rows: ptr<storage, array<u32>>, row: u32, column: u32, width: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let inside = min(column + i, width - 1u);
        let at = row + inside / 2u;
        value[i] = select(0.0, f32(half_at(byte_at(rows[at / 4u], at), inside)), column + i < width);
    }
    return value;
}

fn key4(row: u32, column: u32) -> vec4f {
    return load_integers(&k_integers, row, column, head_dim());
}

fn value4(row: u32, column: u32) -> vec4f {
    return load_integers(&v_integers, row, column, value_dim());
}
