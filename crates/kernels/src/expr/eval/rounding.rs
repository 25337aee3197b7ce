//! How far f32 may be from an expression's value: a running error analysis beside the evaluation in f64.
//!
//! A step's error bound is what its operands' errors do to it, to first order or better, and its own rounding. Values of
//! tables are exact as they are stored. Where a bound is infinite (a divisor that may be zero), nothing is known.

use super::{
    Evaluator, Scratch,
    code::{Binary, Code, Instruction},
};

/// Half a unit in the last place of f32, relative to the value.
pub(crate) const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// From here on f32 has no numbers.
const LARGEST: f64 = f32::MAX as f64;

/// Below this f32 has few numbers, and devices may have none.
const TINY: f64 = f32::MIN_POSITIVE as f64;

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
                result * error.exp_m1() + rounding(result) * (4.0 + 2.0 * value.abs())
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

/// The error of storing a value as f32.
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
        result.abs() * UNIT + TINY
    }
}

fn on_floats(op: Binary, a: Bounded, b: Bounded, result: f64) -> f64 {
    let (Bounded(x, ex), Bounded(y, ey)) = (a, b);
    match op {
        // Sums and products of exact numbers are the nearest ones: exact, if an f32 is.
        Binary::Add | Binary::Subtract | Binary::Multiply
            if ex == 0.0 && ey == 0.0 && result.abs() <= LARGEST =>
        {
            nearest_error(result)
        }
        Binary::Add | Binary::Subtract => ex + ey + rounding(result),
        // A product with an infinite factor is exact, for any error of the other.
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
    let min = b.0.abs() - b.1;
    if a.1 == 0.0 && b.1 == 0.0 {
        0.0
    } else if min <= 0.0 {
        f64::INFINITY
    } else {
        (a.1 + quotient.abs() * b.1) / min
    }
}

fn square_root(a: Bounded, root: f64) -> f64 {
    let min = root + (a.0 - a.1).max(0.0).sqrt();
    let carried = if a.1 == 0.0 { 0.0 } else { (a.1 / min).min(a.1.sqrt()) };
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

#[cfg(test)]
mod tests {
    use super::super::on_ints;
    use super::*;
    use crate::expr::ir::arithmetic::{alibi_slope, compare, floor, to_i64};
    use crate::expr::{Expr, ExprKind, Sizes, Table, Variable};
    use crate::{Dtype, HostTensor};

    const SIZES: Sizes = Sizes { batch: 2, q_heads: 3, kv_heads: 1, q_len: 40, kv_len: 70 };

    /// The program's result at the scratch's place, each step in f32.
    #[expect(clippy::cast_possible_truncation, reason = "f32 is the purpose")]
    fn in_f32(evaluator: &Evaluator<'_>, at: &[i64; 4], s: f32) -> Option<f32> {
        let mut ints = vec![0i64; evaluator.slots.max(1)];
        let mut floats = vec![0f32; evaluator.slots.max(1)];
        for &Instruction { slot, code } in &evaluator.instructions[..evaluator.ends[3]] {
            let int = |i: u32| ints[i as usize];
            let float = |i: u32| floats[i as usize];
            let flag = |value: bool| (i64::from(value), 0.0);
            let value = match code {
                Code::Int(value) => (value, 0.0),
                Code::Float(value) => (0, value as f32),
                Code::Variable(Variable::Score) => (0, s),
                Code::Variable(variable) => (evaluator.variable(variable, at), 0.0),
                Code::Not(a) => flag(int(a) == 0),
                Code::And(a, b) => (int(a) & int(b), 0.0),
                Code::Or(a, b) => (int(a) | int(b), 0.0),
                Code::CompareInt(by, a, b) => flag(compare(by, &int(a), &int(b))),
                Code::CompareFloat(by, a, b) => flag(compare(by, &float(a), &float(b))),
                Code::NegateInt(a) => (-int(a), 0.0),
                Code::NegateFloat(a) => (0, -float(a)),
                Code::AbsInt(a) => (int(a).abs(), 0.0),
                Code::AbsFloat(a) => (0, float(a).abs()),
                Code::IntOf(op, a, b) => (on_ints(op, int(a), int(b)), 0.0),
                Code::FloatOf(op, a, b) => {
                    let (a, b) = (float(a), float(b));
                    let value = match op {
                        Binary::Add => a + b,
                        Binary::Subtract => a - b,
                        Binary::Multiply => a * b,
                        Binary::Divide => a / b,
                        Binary::Remainder => a - b * (a / b).floor(),
                        Binary::Min => a.min(b),
                        Binary::Max => a.max(b),
                    };
                    (0, value)
                }
                Code::Floor(a, bounded) => (floor(f64::from(float(a)), bounded), 0.0),
                Code::Sqrt(a) => (0, float(a).sqrt()),
                Code::Exp(a) => (0, (float(a) * std::f32::consts::LOG2_E).exp2()),
                Code::Log(a) => (0, float(a).log2() * std::f32::consts::LN_2),
                Code::Tanh(a) => (0, float(a).tanh()),
                Code::ToFloat(a) => (0, int(a) as f32),
                Code::Slope(a) => (0, alibi_slope(int(a), to_i64(SIZES.q_heads)) as f32),
                Code::Lookup { table, first, count, clamped } => {
                    let indices = &evaluator.indices[first as usize..(first + count) as usize];
                    let (int, float) = evaluator.look_up(table, indices, clamped, &ints).ok()?;
                    (int, float as f32)
                }
            };
            (ints[slot as usize], floats[slot as usize]) = value;
        }
        Some(if evaluator.ty == crate::expr::Type::Float {
            floats[evaluator.result]
        } else {
            ints[evaluator.result] as f32
        })
    }

    fn holds(text: &Expr, tables: &[Table], values: &[(&str, &HostTensor)], rng: &mut fastrand::Rng) -> f64 {
        let program = text.bind(tables).unwrap();
        let evaluator = Evaluator::new(&program, SIZES, values).unwrap();
        let mut scratch = evaluator.scratch();
        let mut errors = evaluator.step_errors(&scratch);
        let mut loosest = 0.0f64;
        for _ in 0..60 {
            let [b, h, q] = [rng.usize(..2), rng.usize(..3), rng.usize(..40)];
            evaluator.row(&mut scratch, b, h, q).unwrap();
            evaluator.row_errors(&scratch, &mut errors);
            let (key, s) = (rng.usize(..70), (rng.f32() - 0.5) * [2.0, 20.0, 300.0][rng.usize(..3)]);
            let error = f64::from(rng.f32()) * 1e-5;
            let exact = f64::from(s) + error * [1.0, -1.0, 0.3][rng.usize(..3)];
            let value = evaluator.score_at(&mut scratch, key, exact).unwrap();
            let bound = evaluator.score_error(&scratch, &mut errors, error);
            let Some(got) = in_f32(&evaluator, &scratch.at, s) else { continue };
            if !value.is_finite() || value.abs() > 1e37 {
                continue;
            }
            let difference = (f64::from(got) - value).abs();
            assert!(
                // The difference itself is rounded, to f64.
                difference <= bound + 1e-12 * value.abs(),
                "{text} at {b}, {h}, {q}, {key}, {s}: {got} and {value}, {difference:e} of {bound:e}"
            );
            loosest = loosest.max(bound / value.abs().max(1.0));
        }
        loosest
    }

    #[test]
    fn bounds_hold_for_f32() {
        let mut rng = fastrand::Rng::with_seed(11);
        let tables = [
            Table { name: "t".into(), shape: vec![1, 70], element: Dtype::F32 },
            Table { name: "u".into(), shape: vec![2, 40, 1], element: Dtype::F16 },
        ];
        let floats = |count: usize, rng: &mut fastrand::Rng| -> Vec<f32> {
            (0..count).map(|_| (rng.f32() - 0.5) * 8.0).collect()
        };
        let t = HostTensor::from_f32(vec![1, 70], &floats(70, &mut rng), Dtype::F32).unwrap();
        let u = HostTensor::from_f32(vec![2, 40, 1], &floats(80, &mut rng), Dtype::F16).unwrap();
        let values = [("t", &t), ("u", &u)];
        for text in [
            "s + 700.0",
            "s * 1000.0 - 5.3 * s * s",
            "(s + 1e6) - 1e6",
            "floor(s) * 100.0 + floor(3.0 * s) % 7",
            "s % 7.3 + s / (0.1 + abs(s))",
            "exp(min(s, 10.0)) + exp(-abs(s) * 3.7)",
            "log(max(s, 0.3)) * 40.0 + log(1.0 + s * s)",
            "sqrt(abs(s)) * sqrt(abs(s - 1.0))",
            "30.0 * tanh(s / 30.0) + tanh(s)",
            "max(s - 100000.0, -1000.0) + min(s, 2.5 * k)",
            "s - slope(h) * abs(qp - k) + t[b, k] * u[b, q, k] * 1000.0",
            "s / (s - 0.25)",
        ] {
            holds(&Expr::parse(text).unwrap(), &tables, &values, &mut rng);
        }
        for _ in 0..400 {
            let text = Expr::random(&mut rng, ExprKind::Score, &tables, &SIZES, 12).unwrap();
            let loosest = holds(&text, &tables, &values, &mut rng);
            // A bound that allows everything would hold too.
            assert!(loosest < 2e-3, "{text}: {loosest:.1e}");
        }
    }
}
