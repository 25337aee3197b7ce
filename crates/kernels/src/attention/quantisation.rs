//! How far outputs can be from those of the numbers that integers were rounded from.
//!
//! Integers i with a scale c stand for numbers within |c| / 2 of c i: half a step, if they were rounded to the nearest and none was cut
//! off. With d_q, d_k and d_v half the scales, 0 of what is no integer, and t = sqrt(2) of rows that are turned as they are read, else 1,
//! the score of a query and a key is off by at most
//!
//! ```text
//! e_j = |scale| (t_k |q|_1 d_k + t_q |k|_1 d_q + Dk d_q d_k)
//! e_j = |scale| (min(2, 2 sqrt(Dk) d_q / |q|_2) + min(2, 2 sqrt(Dk) d_k / |k|_2))     with qk_norm
//! ```
//!
//! and a score expression carries it on, comparisons taken as they fall. A weight p_j is then p_j exp(+-e_j) before the division, so that
//! with G = sum p_j (exp(e_j) - 1) and R = sum p_j exp(-e_j), sinks among the weights with an e of 0,
//!
//! ```text
//! |lse' - lse| <= min(max(ln(1 + G), -ln R), max e_j)
//! |o' - o|     <= min(sum p_j (exp(e_j) - 1) |v_j - o| / R, max |v_j - o|) + min(sum p_j exp(e_j) d_v / R, max d_v)
//! ```

use std::f64::consts::SQRT_2;

use super::{Attention, QkNorm, layout::Tensor, rounding::norm};
use crate::expr::{Evaluator, Scratch, StepErrors};

/// A row of integers, or of what they stand for, and half the step between two of them.
#[derive(Clone, Copy)]
pub(super) struct Stepped<'a> {
    pub(super) row: &'a [f64],
    pub(super) factor: f64,
    pub(super) half: f64,
}

impl Stepped<'_> {
    fn length(&self) -> f64 {
        self.factor.abs() * norm(self.row)
    }

    fn sum(&self) -> f64 {
        self.factor.abs() * self.row.iter().map(|x| x.abs()).sum::<f64>()
    }

    /// How far the row's direction may be off: two of length 1 are at most 2 apart.
    #[expect(clippy::cast_precision_loss, reason = "a width")]
    fn direction(&self) -> f64 {
        let error = 2.0 * (self.row.len() as f64).sqrt() * self.half;
        // 0 / 0 is a row of zeros that are exact.
        if error == 0.0 { 0.0 } else { (error / self.length()).min(2.0) }
    }
}

/// The bounds of all rows so far, and the errors of the scores of the current one.
#[derive(Debug, Default)]
pub(super) struct QuantisationErrors {
    steps: Option<StepErrors>,
    scores: Vec<f64>,
    /// The largest bound of lse, and of elements of o.
    pub(super) largest: [f64; 2],
}

impl QuantisationErrors {
    /// Begins a row; the evaluator has moved to it.
    pub(super) fn begin(&mut self, score: Option<(&Evaluator<'_>, &Scratch)>) {
        self.scores.clear();
        if let Some((evaluator, scratch)) = score {
            let steps = self.steps.get_or_insert_with(|| evaluator.step_errors(scratch));
            evaluator.row_errors(scratch, steps);
        }
    }

    /// Adds a visible key, of whose scaled score the evaluator has just made the score.
    pub(super) fn add(
        &mut self,
        spec: &Attention,
        scale: f64,
        [q, k]: [Stepped<'_>; 2],
        evaluator: Option<(&Evaluator<'_>, &Scratch)>,
    ) {
        let turned = |tensor| if spec.turns(tensor) { SQRT_2 } else { 1.0 };
        #[expect(clippy::cast_precision_loss, reason = "a width")]
        let width = q.row.len() as f64;
        let off = match spec.qk_norm {
            Some(QkNorm::L2) => q.direction() + k.direction(),
            None => {
                let of_q = if q.half > 0.0 { turned(Tensor::Q) * k.sum() * q.half } else { 0.0 };
                turned(Tensor::K) * q.sum() * k.half + of_q + width * q.half * k.half
            }
        };
        let mut error = scale.abs() * off;
        if let (Some((evaluator, scratch)), Some(steps)) = (evaluator, &mut self.steps) {
            error = evaluator.score_error(scratch, steps, error);
        }
        self.scores.push(if error.is_nan() { f64::INFINITY } else { error });
    }

    /// Ends a row: `scores` are (key, score) in the order in which they were added; a value is its factor, half its step and its row.
    pub(super) fn end<'a>(
        &mut self,
        scores: &[(usize, f64)],
        sink: Option<f64>,
        (lse, output): (f64, &[f64]),
        value: impl Fn(usize) -> Stepped<'a>,
    ) {
        let of_sink = sink.map_or(0.0, |sink| (sink - lse).exp());
        let (mut gain, mut rest, mut largest) = (0.0f64, of_sink, 0.0f64);
        let (mut stepped, mut widest) = (0.0f64, 0.0f64);
        let mut moved = vec![0.0f64; output.len()];
        let mut reach: Vec<f64> = output.iter().map(|o| if sink.is_some() { o.abs() } else { 0.0 }).collect();
        for (&(key, score), &error) in scores.iter().zip(&self.scores) {
            let weight = (score - lse).exp();
            let more = weight * error.exp_m1();
            let value = value(key);
            gain += more;
            rest += weight * (-error).exp();
            largest = largest.max(error);
            stepped += (weight + more) * value.half;
            widest = widest.max(value.half);
            for (c, &o) in output.iter().enumerate() {
                let distance = (value.factor * value.row[c] - o).abs();
                moved[c] += more * distance;
                reach[c] = reach[c].max(distance);
            }
        }
        // `min` passes over NaN: an infinite share of nothing.
        let of_values = (stepped / rest).min(widest);
        let of_lse = gain.ln_1p().max(-rest.ln()).min(largest);
        let bounds = moved.iter().zip(&reach).map(|(moved, &reach)| (moved / rest).min(reach) + of_values);
        let [lse, o] = &mut self.largest;
        *lse = lse.max(of_lse);
        *o = bounds.fold(*o, f64::max);
    }
}
