// Storage of q, k, v and o: f32, every row starting on a multiple of four elements and a multiple of four long.
//
// The same functions as in the other io_* modules. Rows are given by the offset of their first element, columns by the
// first of four.

@group(0) @binding(1) var<storage, read> q: array<vec4f>; // [B, H, Tq, Dk]
@group(0) @binding(2) var<storage, read> k: array<vec4f>; // [B, G, Tk, Dk]
@group(0) @binding(3) var<storage, read> v: array<vec4f>; // [B, G, Tk, Dv]
@group(0) @binding(4) var<storage, read_write> o: array<vec4f>; // [B, H, Tq, Dv]

fn q4(row: u32, column: u32) -> vec4f {
    return q[(row + column) / 4u];
}

fn k4(row: u32, column: u32) -> vec4f {
    return k[(row + column) / 4u];
}

fn v4(row: u32, column: u32) -> vec4f {
    return v[(row + column) / 4u];
}

fn put_o4(row: u32, column: u32, value: vec4f) {
    o[(row + column) / 4u] = value;
}
