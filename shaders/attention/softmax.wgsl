// The softmax of a row, some keys at a time.
//
// A hidden element has the score -inf, and nothing else has: finite scores count, however low. A row's maximum begins with the
// lowest finite number, so that differences from it are never those of two infinities. Rows that see a score which is NaN or inf
// have a sum of weights that is neither finite nor zero, even if a driver's max and exp2 lose NaN, and become NaN.
//
// A value that is NaN or infinite makes NaN of its column in all rows that see its key.

import package::attention::problem::{params};
import package::shared::math::{is_finite, is_negative_infinity, nan_if};

// Whether scores are in natural units, as expressions and sinks have them, or in base 2.
const NATURAL: bool = false;
// Whether there may be elements that are hidden, beside keys beyond the last.
const HIDES: bool = true;

const FIRST_ROW_MAX: f32 = -3.4028234663852886e38;
const LOG2_E: f32 = 1.4426950408889634;

fn weight(score: f32, row_max: f32) -> f32 {
    if NATURAL {
        return exp2((score - row_max) * LOG2_E);
    }
    return exp2(score - row_max);
}

fn weights(scores: vec4f, row_max: f32) -> vec4f {
    if NATURAL {
        return exp2((scores - row_max) * LOG2_E);
    }
    return exp2(scores - row_max);
}

fn is_hidden(score: f32) -> bool {
    return is_negative_infinity(score);
}

fn are_hidden(scores: vec4f) -> vec4<bool> {
    return bitcast<vec4u>(scores) == vec4u(0xff800000u);
}

// The factor of the sum of the weighted values.
fn inverse_of(total: f32) -> f32 {
    // A row that sees no key has no weight: zero over one, not over zero.
    return nan_if(1.0 / select(total, 1.0, total == 0.0), !is_finite(total));
}

fn lse_of(row_max: f32, total: f32) -> f32 {
    // Those that see something have a weight of one, or more.
    let logarithm = log2(max(total, 1.0)) * 0.6931471805599453;
    var natural = row_max;
    if !NATURAL {
        natural *= 0.6931471805599453;
    }
    return nan_if(select(natural + logarithm, params.negative_infinity, total == 0.0), !is_finite(total));
}
