// Storage of q, k and v: f32, every row starting on a multiple of four elements and a multiple of four long.
//
// The same functions as in the other inputs_* modules. Rows are given by the offset of their first element, columns by the
// first of four.

@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;

fn q4(row: u32, column: u32) -> vec4f {
    return q[(row + column) / 4u];
}

fn k4(row: u32, column: u32) -> vec4f {
    return k[(row + column) / 4u];
}

fn v4(row: u32, column: u32) -> vec4f {
    return v[(row + column) / 4u];
}
