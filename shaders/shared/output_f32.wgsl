// Storage of o: f32, rows of any length, anywhere.
//
// The same function as in the other output_* modules. Rows are given by the offset of their first element, columns by the
// first of four. In place of columns beyond the row's end its last element is written again. Nothing branches: drivers that
// run on the CPU compile a text with hundreds of branches for minutes.

import package::shared::widths::{value_dim};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(4) var<storage, read_write> o: array<f32>;

fn put_o4(row: u32, column: u32, value: vec4f) {
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, value_dim() - 1u);
        o[row + at] = value[at - column];
    }
}
