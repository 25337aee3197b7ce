// Storage of k and v: signed integers of four bits, two in a byte, the even one in its low half; every row starting on an even byte
// and a multiple of four integers long.
//
// Rows are given by the offset of their first byte.

import package::shared::integers::{halves_of};

@group(0) @binding(2) var<storage, read> k_integers: array<u32>;
@group(0) @binding(3) var<storage, read> v_integers: array<u32>;

fn key4(row: u32, column: u32) -> vec4f {
    let at = row + column / 2u;
    return vec4f(halves_of(k_integers[at / 4u] >> (at % 4u * 8u)));
}

fn value4(row: u32, column: u32) -> vec4f {
    let at = row + column / 2u;
    return vec4f(halves_of(v_integers[at / 4u] >> (at % 4u * 8u)));
}
