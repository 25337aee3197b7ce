// Rotary positions: cosines and sines of a row's angles, exact at any position.
//
// Frequencies are turns a position with 64 fractional bits, so that whole numbers give the fraction of a turn; in f32 a product
// of 2^20 has no more than 3 digits behind the point. WGSL's own sin and cos may be off by 2^-11.
// Numerics  an angle is off by 2^-32 turns and the rounding of the remainder to f32, a cosine or sine by less than 2^-22
// Source    Su et al. 2021, RoFormer, section 3.2.2
//
// Kernels declare `row4`: four elements of a row, given the offset of its first element and the first column.

import package::kernel::{row4};
import package::shared::vector::{UNROLL_COMPONENTS};

// The pairing: 0 none, 1 elements i and i + ROPE_DIM / 2, 2 elements 2i and 2i + 1.
const ROPE: u32 = 0u;
// Elements of a row that take part.
const ROPE_DIM: u32 = 64u;
const ROPE_HALF = ROPE_DIM / 2u;
const_assert ROPE <= 2u;
const_assert ROPE_DIM % 2u == 0u;

// The upper word of a frequency, and the lower.
@group(0) @binding(8) var<storage, read> rope_turns: array<vec2u>; // [ROPE_DIM / 2]

// The upper word of a product.
fn product_above(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let left = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let right = (a & 0xffffu) * (b >> 16u) + (left & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u);
}

// Cosine and sine of the angle of a pair at a position.
fn rope_cos_sin(position: i32, pair: u32) -> vec2f {
    let turns = rope_turns[pair];
    // The size of the lowest number is that number again, as u32 the right one.
    let size = bitcast<u32>(abs(position));
    let fraction = size * turns.x + product_above(size, turns.y);
    // The nearest quarter, and what is left: at most an eighth of a turn.
    let quarter = (fraction + 0x20000000u) >> 30u;
    let left = bitcast<i32>(fraction - (quarter << 30u));
    let x = f32(left) * 1.4629180792671596e-9;
    let square = x * x;
    // Taylor's series: the first term left out is below 2^-29.
    let sine = x + x * square * (-0.16666666666666666 + square * (8.333333333333333e-3
        + square * (-1.984126984126984e-4 + square * 2.7557319223985893e-6)));
    let cosine = 1.0 + square * (-0.5 + square * (0.041666666666666664 + square * (-1.388888888888889e-3
        + square * (2.48015873015873e-5 - square * 2.755731922398589e-7))));
    let odd = (quarter & 1u) == 1u;
    let c = select(cosine, sine, odd);
    let s = select(sine, cosine, odd);
    let signed_c = select(c, -c, (quarter == 1u) | (quarter == 2u));
    let signed_s = select(s, -s, (quarter == 2u) | (quarter == 3u));
    return vec2f(signed_c, select(signed_s, -signed_s, position < 0));
}

// The column of the element that column `e` is turned with.
fn rope_partner(e: u32) -> u32 {
    if ROPE == 2u {
        return e ^ 1u;
    }
    return select(e - ROPE_HALF, e + ROPE_HALF, e < ROPE_HALF);
}

// The elements that those in four columns are turned with: `x` is what the row holds there, its width a multiple of four.
fn rope_partner4(x: vec4f, row: u32, column: u32, width: u32) -> vec4f {
    if ROPE == 1u && ROPE_HALF % 4u == 0u {
        return row4(row, min(rope_partner(column), width - 4u));
    }
    var partner = x.yxwz;
    if ROPE == 1u && ROPE_HALF % 4u != 0u {
        for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
            let e = min(rope_partner(column + i), width - 1u);
            let four = row4(row, e / 4u * 4u);
            let two = select(four.xy, four.zw, e % 4u >= 2u);
            partner[i] = select(two.x, two.y, e % 2u == 1u);
        }
    }
    return partner;
}

// Factors of four elements and of their partners, and which of them take part.
struct RopeFactors {
    own: vec4f,
    partner: vec4f,
    turned: vec4<bool>,
}

fn rope_factors(column: u32, position: i32) -> RopeFactors {
    var factors: RopeFactors;
    for (var i = 0u; i < UNROLL_COMPONENTS; i += 1u) {
        let e = column + i;
        var pair = select(e - ROPE_HALF, e, e < ROPE_HALF);
        var second = e >= ROPE_HALF;
        if ROPE == 2u {
            pair = e / 2u;
            second = e % 2u == 1u;
        }
        let cos_sin = rope_cos_sin(position, min(pair, ROPE_HALF - 1u));
        factors.own[i] = cos_sin.x;
        factors.partner[i] = select(-cos_sin.y, cos_sin.y, second);
        factors.turned[i] = e < ROPE_DIM;
    }
    return factors;
}

// Four elements, and their partners, turned.
fn rope_turned4(x: vec4f, partner: vec4f, factors: RopeFactors) -> vec4f {
    return select(x, x * factors.own + partner * factors.partner, factors.turned);
}
