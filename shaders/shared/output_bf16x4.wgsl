// Storage of o: bf16 packed in pairs, every row starting on a multiple of four elements and a multiple of four long.
//
// The same function as in the other output_* modules. Rows are given by the offset of their first element, columns by the
// first of four.
// Pairs lie in u32s on every adapter: the bytes are those of native 16-bit storage, and no feature is needed.

import package::shared::bf16::{narrow_bf16};

@group(0) @binding(4) var<storage, read_write> o: array<vec2u>;

fn put_o4(row: u32, column: u32, value: vec4f) {
    o[(row + column) / 4u] = vec2u(narrow_bf16(value.xy), narrow_bf16(value.zw));
}
