// Storage of o: f32, every row starting on a multiple of four elements and a multiple of four long.
//
// The same function as in the other output_* modules. Rows are given by the offset of their first element, columns by the
// first of four.

@group(0) @binding(4) var<storage, read_write> o: array<vec4f>;

fn put_o4(row: u32, column: u32, value: vec4f) {
    o[(row + column) / 4u] = value;
}
