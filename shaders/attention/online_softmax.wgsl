// A row of the online softmax: its maximum, its sum of weights, and its output before it is divided by the sum.

import package::kernel::{VALUE_VECTORS};
import package::attention::problem::{VALUE_DIM, WRITE_LSE, Row, o_row, put_lse};
import package::attention::softmax::{inverse_of, lse_of};
import package::attention::scale::{with_sink};
import package::shared::math::{finite_or_nan};
import package::shared::output::{put_o4};

alias OutputRow = array<vec4f, VALUE_VECTORS>;

fn rescale_row(o: ptr<function, OutputRow>, rescale: f32) {
    for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
        o[c] *= rescale;
    }
}

// Lets the sink of a row's head enter its denominator.
fn add_sink(o: ptr<function, OutputRow>, row_max: ptr<function, f32>, row_sum: ptr<function, f32>, head: u32) {
    let sunk = with_sink(*row_max, head);
    *row_max = sunk.x;
    *row_sum = *row_sum * sunk.y + sunk.z;
    for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
        o[c] *= sunk.y;
    }
}

// Divides a row by its sum and writes it: the thread has every `lanes`-th vector of columns from `lane` on.
fn finish_row(
    o: ptr<function, OutputRow>,
    row_max: ptr<function, f32>, row_sum: ptr<function, f32>,
    row: Row, lane: u32, lanes: u32,
) {
    let inverse = inverse_of(*row_sum);
    for (var c = 0u; c < VALUE_VECTORS; c += 1u) {
        let column = (c * lanes + lane) * 4u;
        if column < VALUE_DIM {
            put_o4(o_row(row), column, finite_or_nan(o[c] * inverse));
        }
    }
    if WRITE_LSE && lane == 0u {
        put_lse(row, lse_of(*row_max, *row_sum));
    }
}
