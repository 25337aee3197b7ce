//! Arithmetic on what a value can be at most: the bounds that hold over a whole block.
//!
//! Bounds are sound for the device as well as for the reference: the results of f32 arithmetic lie within them.

use crate::expr::ir::arithmetic::{floor_divide, floor_remainder};

/// The least and the greatest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ints {
    pub(crate) lo: i64,
    pub(crate) hi: i64,
}

/// The same of a float that is certainly finite in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Floats {
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

/// Bounds of a value. A float without bounds may also be NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Int(Ints),
    Float(Floats),
    Unknown,
}

/// The least and the greatest value of a table's elements, as the caller knows them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRange {
    /// No element is less.
    pub min: f64,
    /// No element is greater.
    pub max: f64,
}

/// f32's relative rounding error is 2^-24 an operation; drivers may be off by tens of units in the last place, and may
/// regroup sums and products.
pub(super) const SLACK: f64 = 1e-5;
/// Beyond this f32 may have overflowed.
const LARGEST: f64 = 3e38;
/// Below this a device may have written zero.
pub(super) const SMALLEST_F32: f64 = 1.2e-38;

impl Ints {
    /// Every int there is.
    pub(crate) const ALL: Self = Self { lo: i64::MIN, hi: i64::MAX };

    pub(crate) fn new(lo: i64, hi: i64) -> Self {
        Self { lo, hi }
    }

    pub(crate) fn one(value: i64) -> Self {
        Self { lo: value, hi: value }
    }

    pub(crate) fn contains(self, value: i64) -> bool {
        self.lo <= value && value <= self.hi
    }

    /// Whether the device's ints hold every value.
    pub(crate) fn fits_i32(self) -> bool {
        self.lo >= i64::from(i32::MIN) && self.hi <= i64::from(i32::MAX)
    }

    /// From corners of which some may not fit an i64: then anything is possible.
    pub(super) fn spanning(corners: &[Option<i64>]) -> Self {
        let mut span = Self { lo: i64::MAX, hi: i64::MIN };
        for corner in corners {
            let Some(value) = *corner else { return Self::ALL };
            span = Self { lo: span.lo.min(value), hi: span.hi.max(value) };
        }
        span
    }

    fn union(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    pub(super) fn abs(self) -> Self {
        let (lo, hi) = (self.lo.checked_abs(), self.hi.checked_abs());
        let ends = Self::spanning(&[lo, hi]);
        if self.contains(0) { ends.union(Self::one(0)) } else { ends }
    }

    /// The part of a divisor's range with one sign, and whether it can be zero.
    fn signs(self) -> ([Option<Self>; 2], bool) {
        let below = (self.lo < 0).then(|| Self::new(self.lo, self.hi.min(-1)));
        let above = (self.hi > 0).then(|| Self::new(self.lo.max(1), self.hi));
        ([below, above], self.contains(0))
    }

    pub(super) fn divide(self, by: Self) -> Self {
        let (parts, zero) = by.signs();
        let mut result = zero.then(|| Self::one(0));
        for part in parts.into_iter().flatten() {
            // Monotone in either operand while the divisor keeps its sign.
            let quotient = |a: i64, b: i64| (a != i64::MIN || b != -1).then(|| floor_divide(a, b));
            let span = Self::spanning(&[
                quotient(self.lo, part.lo),
                quotient(self.lo, part.hi),
                quotient(self.hi, part.lo),
                quotient(self.hi, part.hi),
            ]);
            result = Some(result.map_or(span, |so_far| so_far.union(span)));
        }
        result.unwrap_or(Self::ALL)
    }

    pub(super) fn remainder(self, by: Self) -> Self {
        if by.lo == by.hi && by.lo != 0 && floor_divide(self.lo, by.lo) == floor_divide(self.hi, by.lo) {
            let (a, b) = (floor_remainder(self.lo, by.lo), floor_remainder(self.hi, by.lo));
            return Self::new(a.min(b), a.max(b));
        }
        let (parts, zero) = by.signs();
        let mut result = zero.then(|| Self::one(0));
        for part in parts.into_iter().flatten() {
            // A remainder has its divisor's sign and is smaller; a value of that sign also bounds it.
            let span = if part.lo > 0 {
                let below = part.hi - 1;
                Self::new(0, if self.lo >= 0 { below.min(self.hi) } else { below })
            } else {
                let above = part.lo + 1;
                Self::new(if self.hi <= 0 { above.max(self.lo) } else { above }, 0)
            };
            result = Some(result.map_or(span, |so_far| so_far.union(span)));
        }
        result.unwrap_or(Self::ALL)
    }
}

impl Floats {
    /// The bounds as f32 arithmetic with an error of `slack` may find them; nothing, where it may have overflowed.
    pub(super) fn rounded(lo: f64, hi: f64, slack: f64) -> Value {
        let (mut lo, mut hi) = (lo - lo.abs() * slack, hi + hi.abs() * slack);
        if lo > 0.0 && lo < SMALLEST_F32 {
            lo = 0.0;
        }
        if hi < 0.0 && hi > -SMALLEST_F32 {
            hi = 0.0;
        }
        // Written so that NaN fails.
        if lo >= -LARGEST && hi <= LARGEST { Value::Float(Self { lo, hi }) } else { Value::Unknown }
    }

    fn spanning(corners: [f64; 4]) -> Value {
        if corners.iter().any(|corner| corner.is_nan()) {
            return Value::Unknown;
        }
        let lo = corners.into_iter().fold(f64::INFINITY, f64::min);
        let hi = corners.into_iter().fold(f64::NEG_INFINITY, f64::max);
        Self::rounded(lo, hi, SLACK)
    }

    pub(super) fn abs(self) -> Self {
        let ends = (self.lo.abs(), self.hi.abs());
        let lo = if self.lo <= 0.0 && self.hi >= 0.0 { 0.0 } else { ends.0.min(ends.1) };
        Self { lo, hi: ends.0.max(ends.1) }
    }

    pub(super) fn negated(self) -> Self {
        Self { lo: -self.hi, hi: -self.lo }
    }

    pub(super) fn divide(self, by: Self) -> Value {
        if by.lo <= 0.0 && by.hi >= 0.0 {
            return Value::Unknown;
        }
        Self::spanning([self.lo / by.lo, self.lo / by.hi, self.hi / by.lo, self.hi / by.hi])
    }

    pub(super) fn multiply(self, by: Self) -> Value {
        Self::spanning([self.lo * by.lo, self.lo * by.hi, self.hi * by.lo, self.hi * by.hi])
    }

    pub(super) fn remainder(self, by: Self) -> Value {
        let Value::Float(quotient) = self.divide(by) else { return Value::Unknown };
        let (first, last) = (quotient.lo.floor(), quotient.hi.floor());
        if first == last {
            let Value::Float(whole) = by.multiply(Self { lo: first, hi: first }) else {
                return Value::Unknown;
            };
            return Self::rounded(self.lo - whole.hi, self.hi - whole.lo, SLACK);
        }
        // The rounding of a remainder is in proportion to the value it was taken of.
        let magnitude = self.abs().hi.max(by.abs().hi);
        let stray = magnitude * 4.0 * SLACK;
        Self::rounded(by.lo.min(0.0) - stray, by.hi.max(0.0) + stray, SLACK)
    }
}
