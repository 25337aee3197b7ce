// Rows of q, k and v that start on a multiple of four elements and are a multiple of four long: four are stored as one.
//
// Rows are given by the offset of their first element, columns by the first of four.

import package::shared::inputs::{Stored, unpacked};

@group(0) @binding(1) var<storage, read> q: array<Stored>;
@group(0) @binding(2) var<storage, read> k: array<Stored>;
@group(0) @binding(3) var<storage, read> v: array<Stored>;

fn q4(row: u32, column: u32) -> vec4f {
    return unpacked(q[(row + column) / 4u]);
}

fn k4(row: u32, column: u32) -> vec4f {
    return unpacked(k[(row + column) / 4u]);
}

fn v4(row: u32, column: u32) -> vec4f {
    return unpacked(v[(row + column) / 4u]);
}
