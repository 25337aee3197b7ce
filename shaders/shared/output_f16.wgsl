// Storage of o: f16 packed in pairs, rows of any length, anywhere.
//
// The same function as in the other output_* modules. Rows are given by the offset of their first element, columns by the
// first of four. In place of columns beyond the row's end its last element is written again. Nothing branches: drivers that
// run on the CPU compile a text with hundreds of branches for minutes. The two halves of a word may belong to different rows,
// and so to different threads: each changes its own half only, atomically.

import package::shared::widths::{value_dim};
import package::shared::vector::{UNROLL_COMPONENTS};
import package::shared::f16::{narrow_f16};

@group(0) @binding(4) var<storage, read_write> o: array<atomic<u32>>;

fn put_o4(row: u32, column: u32, value: vec4f) {
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, value_dim() - 1u);
        let element = row + at;
        let shift = element % 2u * 16u;
        let half = narrow_f16(vec2f(value[at - column], 0.0)) & 0xffffu;
        atomicAnd(&o[element / 2u], ~(0xffffu << shift));
        atomicOr(&o[element / 2u], half << shift);
    }
}
