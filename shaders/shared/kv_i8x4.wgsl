// Storage of k and v: signed bytes, every row starting on a multiple of four and a multiple of four long.

import package::shared::integers::{bytes_of};

@group(0) @binding(2) var<storage, read> k_integers: array<u32>;
@group(0) @binding(3) var<storage, read> v_integers: array<u32>;

fn key4(row: u32, column: u32) -> vec4f {
    return vec4f(bytes_of(k_integers[(row + column) / 4u]));
}

fn value4(row: u32, column: u32) -> vec4f {
    return vec4f(bytes_of(v_integers[(row + column) / 4u]));
}
