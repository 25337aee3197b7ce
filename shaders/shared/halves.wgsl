// Rows of o of any length, anywhere, in a type of 16 bits, whose pairs are packed in words.
//
// Rows are given by the offset of their first element, columns by the first of four. In place of columns beyond the row's end
// its last element is written again. Nothing branches: drivers that run on the CPU compile a text with hundreds of branches for
// minutes. The two halves of a word may belong to different rows, and so to different threads: each changes its own half only,
// atomically.

import package::shared::output::{narrow};
import package::shared::widths::{value_dim};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(4) var<storage, read_write> o: array<atomic<u32>>;

fn put_o4(row: u32, column: u32, value: vec4f) {
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let at = min(column + i, value_dim() - 1u);
        let element = row + at;
        let shift = element % 2u * 16u;
        let half = narrow(vec2f(value[at - column], 0.0)) & 0xffffu;
        atomicAnd(&o[element / 2u], ~(0xffffu << shift));
        atomicOr(&o[element / 2u], half << shift);
    }
}
