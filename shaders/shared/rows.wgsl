// Rows of q, k and v of any length, anywhere: elements of the type that the storage's module has.
//
// Rows are given by the offset of their first element, columns by the first of four. Columns beyond the row's end read as zero.
// Nothing branches: drivers that run on the CPU compile a text with hundreds of branches for minutes.

import package::shared::inputs::{Stored, element};
import package::shared::widths::{head_dim, value_dim};
import package::shared::vector::{UNROLL_COMPONENTS};

@group(0) @binding(1) var<storage, read> q: array<Stored>;
@group(0) @binding(2) var<storage, read> k: array<Stored>;
@group(0) @binding(3) var<storage, read> v: array<Stored>;

fn load4(rows: ptr<storage, array<Stored>>, row: u32, column: u32, width: u32) -> vec4f {
    var value: vec4f;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let x = element(rows, row + min(column + i, width - 1u));
        value[i] = select(0.0, x, column + i < width);
    }
    return value;
}

fn q4(row: u32, column: u32) -> vec4f {
    return load4(&q, row, column, head_dim());
}

fn k4(row: u32, column: u32) -> vec4f {
    return load4(&k, row, column, head_dim());
}

fn v4(row: u32, column: u32) -> vec4f {
    return load4(&v, row, column, value_dim());
}
