//! Reading what `shaders/probe/maths.wgsl` found.

use foveal_kernels::Maths;

/// Values of an operand: as many functions as the shader has.
pub(super) const FUNCTIONS: usize = 16;

const ONE: u32 = 0x3f80_0000;
const INFINITY: u32 = 0x7f80_0000;
const NEGATIVE_INFINITY: u32 = 0xff80_0000;
const NAN: u32 = 0x7fc0_0000;
const SUBNORMAL: u32 = 0x0040_0000;
const ZERO: u32 = 0;
const MINUS_ONE: u32 = 0xbf80_0000;
/// 200, 100 and their negatives.
const LARGE: u32 = 0x4348_0000;
const MINUS_LARGE: u32 = 0xc348_0000;
const HUNDRED: u32 = 0x42c8_0000;
const MINUS_HUNDRED: u32 = 0xc2c8_0000;
/// Numbers that f16 does not hold: 65,520 is the first that rounds to inf, the next is 10^6.
const JUST_BEYOND_F16: u32 = 0x477f_f000;
const BEYOND_F16: u32 = 0x4974_2400;
/// 2^-24, the least f16, and half of the least normal one.
const MIN_F16: u32 = 0x3380_0000;
const SUBNORMAL_F16: u32 = 0x3800_0000;

/// The last ones are bits of f16 that are unpacked: the least, the largest subnormal one, inf, and NaN.
pub(super) const OPERANDS: [u32; 19] = [
    ONE,
    ZERO,
    INFINITY,
    NEGATIVE_INFINITY,
    NAN,
    SUBNORMAL,
    MINUS_ONE,
    LARGE,
    MINUS_LARGE,
    HUNDRED,
    MINUS_HUNDRED,
    JUST_BEYOND_F16,
    BEYOND_F16,
    MIN_F16,
    SUBNORMAL_F16,
    0x0001,
    0x03ff,
    0x7c00,
    0x7e00,
];

#[derive(Clone, Copy)]
enum Function {
    Exp,
    Exp2,
    Log,
    Log2,
    Sqrt,
    Tanh,
    MaxLeft,
    MaxRight,
    MinLeft,
    MinRight,
    TimesOne,
    LessItself,
    Equal,
    Unequal,
    Unpack,
    Pack,
}

/// Reads the results; `None` if not even simple things are right, as where nothing is computed.
pub(super) fn of(results: &[u32]) -> Option<Maths> {
    use Function::{
        Equal, Exp, Exp2, LessItself, Log, Log2, MaxLeft, MaxRight, MinLeft, MinRight, Pack, Sqrt, Tanh,
        TimesOne, Unequal, Unpack,
    };
    let bits = |function: Function, operand: u32| {
        let row = OPERANDS.iter().position(|&known| known == operand)?;
        results.get(row * FUNCTIONS + function as usize).copied()
    };
    let is = |function, operand, value: f32| {
        bits(function, operand).is_some_and(|bits| f32::from_bits(bits) == value)
    };
    let near = |function, operand, value: f32| {
        bits(function, operand).is_some_and(|bits| (f32::from_bits(bits) - value).abs() < 1e-4)
    };
    let nan = |function, operand| bits(function, operand).is_some_and(|bits| f32::from_bits(bits).is_nan());
    let half = |operand, value: u32| bits(Pack, operand) == Some(value);
    if !(near(Exp, ONE, std::f32::consts::E)
        && near(Exp2, ONE, 2.0)
        && is(Sqrt, ONE, 1.0)
        && half(ONE, 0x3c00))
    {
        return None;
    }
    let unpacked =
        [(0x0001, 2.0_f32.powi(-24)), (0x03ff, 1023.0 * 2.0_f32.powi(-24)), (0x7c00, f32::INFINITY)];
    Some(Maths {
        exp_ends: [Exp, Exp2].into_iter().all(|f| {
            is(f, NEGATIVE_INFINITY, 0.0)
                && is(f, MINUS_LARGE, 0.0)
                && is(f, INFINITY, f32::INFINITY)
                && is(f, LARGE, f32::INFINITY)
        }),
        exp_of_nan: nan(Exp, NAN) && nan(Exp2, NAN),
        log_of_zero: is(Log, ZERO, f32::NEG_INFINITY) && is(Log2, ZERO, f32::NEG_INFINITY),
        log_of_nan: [Log, Log2].into_iter().all(|f| nan(f, MINUS_ONE) && nan(f, NAN)),
        sqrt_ends: nan(Sqrt, MINUS_ONE) && nan(Sqrt, NAN) && is(Sqrt, ZERO, 0.0),
        tanh_ends: is(Tanh, HUNDRED, 1.0) && is(Tanh, MINUS_HUNDRED, -1.0),
        tanh_of_nan: nan(Tanh, NAN),
        max_of_nan: [MaxLeft, MaxRight, MinLeft, MinRight].into_iter().all(|f| nan(f, NAN)),
        compares_nan: bits(Equal, NAN) == Some(0) && bits(Unequal, NAN) == Some(1),
        inf_less_inf: nan(LessItself, INFINITY) && nan(LessItself, NAN),
        subnormals: bits(TimesOne, SUBNORMAL) == Some(SUBNORMAL)
            && bits(MinLeft, SUBNORMAL) == Some(SUBNORMAL)
            && bits(Sqrt, SUBNORMAL).is_some_and(|bits| f32::from_bits(bits) > 0.0),
        unpacks_f16: unpacked.into_iter().all(|(operand, value)| is(Unpack, operand, value))
            && nan(Unpack, 0x7e00),
        packs_f16: half(INFINITY, 0x7c00)
            && half(NEGATIVE_INFINITY, 0xfc00)
            && bits(Pack, NAN).is_some_and(|bits| bits & 0x7fff > 0x7c00)
            && half(MIN_F16, 0x0001)
            && half(SUBNORMAL_F16, 0x0200),
        packs_large: half(JUST_BEYOND_F16, 0x7c00) && half(BEYOND_F16, 0x7c00),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_computes_nothing_says_nothing() {
        assert_eq!(of(&[0; OPERANDS.len() * FUNCTIONS]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn operands_are_what_their_names_say() {
        let value = f32::from_bits;
        assert_eq!([ONE, MINUS_ONE, LARGE, MINUS_LARGE].map(value), [1.0, -1.0, 200.0, -200.0]);
        assert_eq!(
            [HUNDRED, MINUS_HUNDRED, JUST_BEYOND_F16, BEYOND_F16].map(value),
            [100.0, -100.0, 65_520.0, 1e6]
        );
        assert_eq!([MIN_F16, SUBNORMAL_F16].map(value), [2.0_f32.powi(-24), 2.0_f32.powi(-15)]);
        assert!(value(NAN).is_nan() && value(SUBNORMAL).is_subnormal());
        assert_eq!([INFINITY, NEGATIVE_INFINITY].map(value), [f32::INFINITY, f32::NEG_INFINITY]);
        // They are found by value.
        for (index, operand) in OPERANDS.iter().enumerate() {
            assert!(!OPERANDS[..index].contains(operand), "{operand:#x} twice");
        }
    }
}
