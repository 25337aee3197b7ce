//! How far f32 may be from an expression's value: a running error analysis beside the evaluation in f64.
//!
//! A step's error bound is what its operands' errors do to it, to first order or better, and its own rounding. Values of
//! tables are exact as they are stored. Where a bound is infinite (a divisor that may be zero), nothing is known.

use super::code::{Binary, Code, Instruction};
use super::{Evaluator, Scratch};

/// Half a unit in the last place of f32, relative to the value.
pub(crate) const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// From here on f32 has no numbers.
const LARGEST: f64 = f32::MAX as f64;

/// Error bounds of a thread's current element, step by step.
#[derive(Clone, Debug)]
pub(crate) struct StepErrors(Vec<f64>);

impl Evaluator<'_> {
    /// Room for the bounds of `scratch`'s values.
    pub(crate) fn step_errors(&self, scratch: &Scratch) -> StepErrors {
        let mut errors = StepErrors(vec![0.0; self.slots.max(1)]);
        self.bound(scratch, &mut errors, 0..self.ends[0], 0.0);
        errors
    }

    /// After [`Evaluator::row`]: the bounds of what a row's elements have in common.
    pub(crate) fn row_errors(&self, scratch: &Scratch, errors: &mut StepErrors) {
        self.bound(scratch, errors, self.ends[0]..self.ends[1], 0.0);
    }

    /// After [`Evaluator::score_at`], for a scaled score `s` that may be off by `error`: how far the result may be off.
    pub(crate) fn score_error(&self, scratch: &Scratch, errors: &mut StepErrors, error: f64) -> f64 {
        self.bound(scratch, errors, self.ends[1]..self.ends[3], error);
        errors.0[self.result]
    }

    fn bound(
        &self,
        scratch: &Scratch,
        errors: &mut StepErrors,
        range: std::ops::Range<usize>,
        score_error: f64,
    ) {
        for &Instruction { slot, code } in &self.instructions[range] {
            let error = self.step_error(scratch, &errors.0, slot as usize, code, score_error);
            errors.0[slot as usize] = if error.is_nan() { f64::INFINITY } else { error };
        }
    }

    fn step_error(&self, scratch: &Scratch, errors: &[f64], slot: usize, code: Code, score: f64) -> f64 {
        let error = |i: u32| errors[i as usize];
        let float = |i: u32| scratch.floats[i as usize];
        let result = scratch.floats[slot];
        match code {
            Code::Variable(super::Variable::Score) => score,
            Code::Int(_)
            | Code::Variable(_)
            | Code::Not(_)
            | Code::And(..)
            | Code::Or(..)
            | Code::CompareInt(..)
            | Code::CompareFloat(..) => 0.0,
            Code::Float(value) => nearest_error(value),
            Code::NegateInt(a) | Code::NegateFloat(a) | Code::AbsInt(a) | Code::AbsFloat(a) => error(a),
            Code::FloatOf(op, a, b) => {
                on_floats(op, Bounded(float(a), error(a)), Bounded(float(b), error(b)), result)
            }
            Code::IntOf(op, a, b) if error(a) > 0.0 || error(b) > 0.0 => {
                let int = |i: u32| as_float(scratch.ints[i as usize]);
                // Ints of floats that are rounded: as floats, to the next int.
                let (a, b) = (Bounded(int(a), error(a)), Bounded(int(b), error(b)));
                on_floats(op, a, b, as_float(scratch.ints[slot])).ceil()
            }
            Code::IntOf(..) => 0.0,
            Code::Floor(a, _) => {
                let (value, error) = (float(a), error(a));
                let jumps = (value + error).floor() - (value - error).floor();
                if jumps == 0.0 { 0.0 } else { error.ceil().max(1.0) }
            }
            Code::Sqrt(a) => square_root(Bounded(float(a), error(a)), result),
            Code::Exp(a) => {
                let (value, error) = (float(a), error(a));
                result * error.exp_m1() + result * UNIT * (4.0 + 2.0 * value.abs())
            }
            Code::Log(a) => logarithm(Bounded(float(a), error(a)), result),
            Code::Tanh(a) => {
                // The steepest slope within reach.
                let nearest = (float(a).abs() - error(a)).max(0.0).tanh();
                (error(a) * (1.0 - nearest * nearest)).min(2.0) + 4.0 * UNIT * result.abs()
            }
            Code::ToFloat(a) => {
                let value = as_float(scratch.ints[a as usize]);
                error(a) + nearest_error(value)
            }
            Code::Slope(_) => 4.0 * UNIT * result.abs(),
            Code::Lookup { first, count, .. } => {
                let indices = &self.indices[first as usize..(first + count) as usize];
                if indices.iter().all(|&i| error(i) == 0.0) { 0.0 } else { f64::INFINITY }
            }
        }
    }
}

/// A value and how far it may be off.
#[derive(Clone, Copy)]
struct Bounded(f64, f64);

impl Bounded {
    fn clearly_below(self, other: Self) -> bool {
        self.0 + self.1 < other.0 - other.1
    }
}

#[expect(clippy::cast_precision_loss, reason = "ints are within i32")]
fn as_float(value: i64) -> f64 {
    value as f64
}

/// What storing a value as f32 costs.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
fn nearest_error(value: f64) -> f64 {
    if value.is_finite() { (f64::from(value as f32) - value).abs() } else { 0.0 }
}

/// The rounding of a result.
fn rounding(result: f64) -> f64 {
    if result.is_infinite() {
        0.0
    } else if result.abs() > LARGEST {
        f64::INFINITY
    } else {
        result.abs() * UNIT
    }
}

fn on_floats(op: Binary, a: Bounded, b: Bounded, result: f64) -> f64 {
    let (Bounded(x, ex), Bounded(y, ey)) = (a, b);
    match op {
        Binary::Add | Binary::Subtract => ex + ey + rounding(result),
        // What one infinite operand makes is exact, whatever the error of the other.
        Binary::Multiply if result.is_infinite() => 0.0,
        Binary::Multiply => x.abs() * ey + y.abs() * ex + ex * ey + rounding(result),
        Binary::Divide => quotient_error(a, b, result) + 5.0 * rounding(result),
        Binary::Remainder => {
            let turns = (x / y).floor();
            let error = quotient_error(a, b, x / y) + 5.0 * rounding(x / y);
            if ((x / y + error).floor() - (x / y - error).floor()).abs() > 0.0 {
                y.abs() + ey
            } else {
                ex + turns.abs() * ey + rounding(turns * y) + rounding(result)
            }
        }
        Binary::Min if a.clearly_below(b) => ex,
        Binary::Min if b.clearly_below(a) => ey,
        Binary::Max if a.clearly_below(b) => ey,
        Binary::Max if b.clearly_below(a) => ex,
        Binary::Min | Binary::Max => ex.max(ey),
    }
}

fn quotient_error(a: Bounded, b: Bounded, quotient: f64) -> f64 {
    let least = b.0.abs() - b.1;
    if a.1 == 0.0 && b.1 == 0.0 {
        0.0
    } else if least <= 0.0 {
        f64::INFINITY
    } else {
        (a.1 + quotient.abs() * b.1) / least
    }
}

fn square_root(a: Bounded, root: f64) -> f64 {
    let least = root + (a.0 - a.1).max(0.0).sqrt();
    let carried = if a.1 == 0.0 { 0.0 } else { (a.1 / least).min(a.1.sqrt()) };
    carried + 3.0 * rounding(root)
}

/// Above, `log(1 + e / x)`; below there is no bound where e reaches x, but a weight cannot lose more than itself.
fn logarithm(a: Bounded, result: f64) -> f64 {
    let share = if a.1 == 0.0 { 0.0 } else { a.1 / a.0 };
    let carried = if share < 0.5 { -(-share).ln_1p() } else { share.ln_1p().max(2f64.ln()) };
    // WGSL allows an absolute error of 2^-21 between 0.5 and 2.
    let own = if (0.5..=2.0).contains(&a.0) { 8.0 * UNIT } else { 4.0 * rounding(result) };
    carried + own
}
