// Storage of q, k and v: f32 in one buffer, every row starting on a multiple of four elements and a multiple of four long.
//
// The same functions as in the other inputs_* modules. Rows are given by the offset of their first element, columns by the
// first of four. Written by the passes that preprocess inputs: see linear_attention/preprocess.

@group(0) @binding(1) var<storage, read> prepared: array<vec4f>;

fn prepared4(row: u32, column: u32) -> vec4f {
    return prepared[(row + column) / 4u];
}

fn q4(row: u32, column: u32) -> vec4f {
    return prepared4(row, column);
}

fn k4(row: u32, column: u32) -> vec4f {
    return prepared4(row, column);
}

fn v4(row: u32, column: u32) -> vec4f {
    return prepared4(row, column);
}
