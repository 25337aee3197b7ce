// Storage of q, k and v: f16 packed in pairs, every row starting on a multiple of four elements and a multiple of four long.
//
// The same functions as in the other inputs_* modules. Rows are given by the offset of their first element, columns by the
// first of four.
// Pairs lie in u32s whatever the adapter: the bytes are those of native 16-bit storage, and no feature is needed.

@group(0) @binding(1) var<storage, read> q: array<vec2u>;
@group(0) @binding(2) var<storage, read> k: array<vec2u>;
@group(0) @binding(3) var<storage, read> v: array<vec2u>;

fn q4(row: u32, column: u32) -> vec4f {
    let pairs = q[(row + column) / 4u];
    return vec4f(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}

fn k4(row: u32, column: u32) -> vec4f {
    let pairs = k[(row + column) / 4u];
    return vec4f(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}

fn v4(row: u32, column: u32) -> vec4f {
    let pairs = v[(row + column) / 4u];
    return vec4f(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}
