// Results of attention of few rows: what rows end with, and where they are written.

import package::kernel::{ROWS, LANES, SPLITS, V_VECTORS};
import package::attention::problem::{VALUE_DIM, WRITE_LSE, Row, row_at, row_count, batch_of, o_row, lse, lse_at};
import package::shared::output::{put_o4};
import package::attention::softmax::{inverse_of, lse_of};
import package::shared::math::{finite_or_nan};
import package::attention::scale::{SINKS, with_sink};
import package::attention::decode_steps::{Outputs, splits};

// A row's factor of o, and its lse.
fn row_end(row_max: f32, row_sum: f32, row: Row) -> vec2f {
    if SINKS {
        let sunk = with_sink(row_max, row.head);
        let total = row_sum * sunk.y + sunk.z;
        return vec2f(sunk.y * inverse_of(total), lse_of(sunk.x, total));
    }
    return vec2f(inverse_of(row_sum), lse_of(row_max, row_sum));
}

// Where a row of o, or of a part of it, begins.
fn o_row_of(row: Row, split: u32) -> u32 {
    if SPLITS {
        return o_row(row) + split * splits.o_part;
    }
    return o_row(row);
}

// Writes four columns of a row, if it has them.
fn put_vector(from_row: u32, vector: u32, value: vec4f) {
    if vector < VALUE_DIM / 4u {
        put_o4(from_row, 4u * vector, finite_or_nan(value));
    }
}

fn put_row_lse(row: Row, split: u32, value: f32) {
    var at = lse_at(row);
    if SPLITS {
        at += split * splits.lse_part;
    }
    lse[at] = value;
}

// Writes the rows of the first group, whose results are those of all. They leave as they came: the first is written, the others
// move up.
fn finish_rows(
    o: ptr<function, Outputs>,
    row_max: ptr<function, array<f32, ROWS>>,
    row_sum: ptr<function, array<f32, ROWS>>,
    group: vec3u,
    first_row: u32,
    split: u32,
    thread: u32,
) {
    for (var turn = 0u; turn < ROWS; turn += 1u) {
        if (first_row + turn < row_count(batch_of(group))) & (thread < LANES) {
            let row = row_at(first_row + turn, group);
            let end = row_end(row_max[0], row_sum[0], row);
            let from_row = o_row_of(row, split);
            // Only the last vector may be beyond the row's end. SwiftShader compiles dozens of branches for minutes.
            for (var c = 0u; c < V_VECTORS; c += 1u) {
                if (c + 1u) * LANES * 4u <= VALUE_DIM {
                    put_o4(from_row, 4u * (c * LANES + thread), finite_or_nan(o[0][c] * end.x));
                } else {
                    put_vector(from_row, c * LANES + thread, o[0][c] * end.x);
                }
            }
            if WRITE_LSE && thread == 0u {
                put_row_lse(row, split, end.y);
            }
        }
        for (var r = 0u; r + 1u < ROWS; r += 1u) {
            for (var c = 0u; c < V_VECTORS; c += 1u) {
                o[r][c] = o[r + 1u][c];
            }
            row_max[r] = row_max[r + 1u];
            row_sum[r] = row_sum[r + 1u];
        }
    }
}
