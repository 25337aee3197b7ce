//! How well-conditioned a row is: how far f32 may be from its lse and o, found from the reference's own numbers.
//!
//! A score of size S that is stored as f32 is off by up to S * 2^-24, and what comes after cannot know. With e_j the bound of
//! key j's score and p_j its weight, lse is off by at most about `sum_j p_j e_j` and o by `sum_j p_j e_j |v_j - o|`. The
//! bounds here hold for large e_j too; however large, o stays among the values that are visible.

use super::{Attention, QkNorm, layout::Tensor};
use crate::expr::{Evaluator, Scratch, StepErrors, UNIT};

/// Below this mean error of a row's weights, tolerances are for what f32 does to it, and nothing is added to them.
const ORDINARY: f64 = 1e-5;

/// The norm of a row of q or k.
pub(super) fn norm(row: &[f64]) -> f64 {
    row.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The errors of a row's scores, and the allowance that follows from them.
#[derive(Debug, Default)]
pub(super) struct RowErrors {
    steps: Option<StepErrors>,
    /// Of each visible key.
    scores: Vec<f64>,
    /// The scale times the query's norm.
    query: f64,
    /// Roundings of products with rows' norms: those of the sum, and what turning rows costs.
    of_norms: f64,
    /// Roundings of a scaled score itself.
    roundings: f64,
    /// Of lse and of each element of o; none where the row is an ordinary one.
    allowance: Option<(f64, Vec<f64>)>,
}

impl RowErrors {
    /// Begins a row; the evaluator has moved to it.
    pub(super) fn begin(
        &mut self,
        spec: &Attention,
        query: &[f64],
        scale: f64,
        score: Option<(&Evaluator<'_>, &Scratch)>,
    ) {
        self.scores.clear();
        self.allowance = None;
        let normalised = matches!(spec.qk_norm, Some(QkNorm::L2));
        self.query = scale.abs() * norm(query);
        self.roundings = if normalised { 7.0 } else { 3.0 };
        // Two elements of a pair, each within 2^-21 of its length: less than 12 units of it, and those of many pairs seldom agree.
        #[expect(clippy::cast_precision_loss, reason = "a width")]
        let of_pairs = 12.0 / (spec.rotation().dim as f64 / 2.0).max(1.0).sqrt();
        let turned = |tensor| if spec.turns(tensor) { of_pairs } else { 0.0 };
        self.of_norms = 2.0 + turned(Tensor::Q) + turned(Tensor::K);
        if let Some((evaluator, scratch)) = score {
            let steps = self.steps.get_or_insert_with(|| evaluator.step_errors(scratch));
            evaluator.row_errors(scratch, steps);
        }
    }

    /// Adds a visible key of such a norm, or 1 where rows are normalised, whose scaled score is `scaled`, which the evaluator has just made `score` of.
    pub(super) fn add(
        &mut self,
        key_norm: f64,
        scaled: f64,
        score: f64,
        evaluator: Option<(&Evaluator<'_>, &Scratch)>,
    ) {
        // A sum of D products may be off by more than its size says; the norms bound the products.
        let mut error = UNIT * (self.of_norms * self.query * key_norm + self.roundings * scaled.abs());
        if let (Some((evaluator, scratch)), Some(steps)) = (evaluator, &mut self.steps) {
            // Kernels compute in powers of 2: a rounding of the product with log2(e), and that of the constant.
            error = evaluator.score_error(scratch, steps, error) + 2.0 * UNIT * score.abs();
        }
        self.scores.push(if error.is_nan() { f64::INFINITY } else { error });
    }

    /// Ends a row: `scores` are (key, score) in the order in which they were added, and values have factors.
    pub(super) fn end<'a>(
        &mut self,
        scores: &[(usize, f64)],
        sink: Option<f64>,
        (lse, output): (f64, &[f64]),
        value: impl Fn(usize) -> (f64, &'a [f64]),
    ) {
        let infinite = output.iter().any(|o| o.is_infinite());
        let sink = sink.map(|sink| Weight::new(sink - lse, 2.0 * UNIT * sink.abs()));
        let weights =
            scores.iter().zip(&self.scores).map(|(&(_, score), &error)| Weight::new(score - lse, error));
        let weights: Vec<Weight> = weights.collect();
        let all = || weights.iter().chain(&sink);
        let gain: f64 = all().map(|weight| weight.gain).sum();
        if gain <= ORDINARY && !infinite {
            return;
        }
        let loss: f64 = all().map(|weight| weight.loss).sum();
        let mut bounds = vec![0.0; output.len()];
        let mut reach = vec![0.0; output.len()];
        let mut add = |weight: &Weight, at: &dyn Fn(usize) -> f64| {
            for (c, (bound, reach)) in bounds.iter_mut().zip(&mut reach).enumerate() {
                let distance = (at(c) - output[c]).abs();
                if weight.gain > 0.0 {
                    *bound += weight.gain * distance;
                    *reach = distance.max(*reach);
                }
            }
        };
        for (weight, &(key, _)) in weights.iter().zip(scores) {
            let (factor, row) = value(key);
            add(weight, &|c| factor * row[c]);
        }
        if let Some(sink) = &sink {
            add(sink, &|_| 0.0);
        }
        for ((bound, reach), &o) in bounds.iter_mut().zip(reach).zip(output) {
            *bound = if o.is_infinite() {
                f64::INFINITY
            } else if gain <= ORDINARY {
                0.0
            } else if loss < 1.0 {
                (*bound / (1.0 - loss)).min(reach)
            } else {
                reach
            };
        }
        let of_lse = if gain <= ORDINARY {
            0.0
        } else {
            let up = gain.ln_1p();
            let down = if loss < 1.0 { -(-loss).ln_1p() } else { f64::INFINITY };
            // Where every weight may vanish, the largest error bounds lse.
            let max = || all().map(|weight| weight.error).fold(0.0, f64::max);
            let carried = if up.is_finite() && down.is_finite() { up.max(down) } else { max() };
            carried + 4.0 * UNIT * lse.abs()
        };
        self.allowance = Some((of_lse, bounds));
    }

    /// The allowance of the last row, for lse and for each element of o; none where the row is an ordinary one.
    pub(super) fn take(&mut self) -> Option<(f64, Vec<f64>)> {
        self.allowance.take()
    }
}

/// Gain and loss of a key's weight, `exp(score - lse)`, by the error of its score.
struct Weight {
    gain: f64,
    loss: f64,
    error: f64,
}

impl Weight {
    fn new(exponent: f64, error: f64) -> Self {
        let weight = exponent.exp();
        // Where the error is large the weight may be zero and its gain not.
        let gain = if error < 1.0 { weight * error.exp_m1() } else { (exponent + error).exp() };
        Self { gain, loss: -weight * (-error).exp_m1(), error }
    }
}
