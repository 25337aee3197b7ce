//! How well-conditioned an output is: how far f32 may be from it where the products of its sum cancel.
//!
//! `o = q^T S` is a sum of products that each carry the rounding of S, and their own. Where they cancel (a memory read
//! through its eigenmodes), little is left beside that. Tolerances are for sums of ordinary products; what is far from those
//! is said here. The roundings of S add up like those of a random walk, and decay as S does; a delta rule is trusted not to
//! amplify them.

use crate::{HostTensor, expr::UNIT};

/// Up to this ratio of the products' magnitudes to their sum nothing is added to tolerances: a random q leaves about
/// sqrt(Dk).
const ORDINARY: f64 = 64.0;

/// So many standard deviations a bound is: kernels round more often than the recurrence does.
const DEVIATIONS: f64 = 4.0;

/// `|q|^T |S|`, added to `sums`.
pub(super) fn add_magnitudes(state: &[f64], q: &[f64], sums: &mut [f64]) {
    for (row, q) in state.chunks_exact(sums.len()).zip(q) {
        sums.iter_mut().zip(row).for_each(|(sum, s)| *sum += (q * s).abs());
    }
}

/// Whether the sums `o` of products cancel more than usual.
pub(super) fn cancels(o: &[f64], magnitudes: &[f64]) -> bool {
    let finite = || o.iter().zip(magnitudes).filter(|(o, magnitude)| o.is_finite() && magnitude.is_finite());
    let squares = finite().fold((0.0, 0.0), |(o, magnitude), (x, y)| (o + x * x, magnitude + y * y));
    let (o, magnitude): (f64, f64) = (squares.0.sqrt(), squares.1.sqrt());
    magnitude > ORDINARY * o
}

/// The variance of each element of a state that is kept in f32.
pub(super) struct Variances {
    state: Vec<f64>,
    before: Vec<f64>,
}

impl Variances {
    pub(super) fn new(state: &[f64]) -> Self {
        Self { state: vec![0.0; state.len()], before: state.to_vec() }
    }

    /// A token has made `state` of what it was, in `steps` steps; `decay` is that of a row.
    pub(super) fn step(&mut self, state: &[f64], wide: usize, steps: usize, decay: impl Fn(usize) -> f64) {
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let unit = UNIT * UNIT * steps as f64;
        let rows = self.state.chunks_exact_mut(wide).zip(self.before.chunks_exact_mut(wide));
        for (d, ((variances, before), now)) in rows.zip(state.chunks_exact(wide)).enumerate() {
            let decay = decay(d).powi(2);
            for ((variance, before), &now) in variances.iter_mut().zip(before).zip(now) {
                *variance = decay * *variance + unit * (*before * *before + now * now);
                *before = now;
            }
        }
    }

    /// Replaces `magnitudes` by the allowances of `q^T S`. `factor` is what the product is multiplied with.
    pub(super) fn allow(&self, q: &[f64], factor: f64, magnitudes: &mut [f64]) {
        let mut squares = vec![0.0; magnitudes.len()];
        for (row, q) in self.state.chunks_exact(magnitudes.len()).zip(q) {
            squares.iter_mut().zip(row).for_each(|(sum, variance)| *sum += q * q * variance);
        }
        for (magnitude, square) in magnitudes.iter_mut().zip(squares) {
            *magnitude = DEVIATIONS * (UNIT * *magnitude + factor.abs() * square.sqrt());
        }
    }
}

/// At infinite values of a recurrence NaN will do: whether infinity times a decay near zero is one or the other is a
/// matter of range. Where inputs hold infinities, infinity will do for NaN too: `(q . k) v` and `q . (k v)` are the same but
/// for products of infinities that cancel.
pub(super) fn with_infinities(
    values: &[f64],
    allowance: Option<Vec<f64>>,
    inputs: &[(&str, &HostTensor)],
) -> Option<Vec<f64>> {
    if values.iter().all(|value| value.is_finite()) {
        return allowance;
    }
    let infinite = inputs.iter().any(|(_, tensor)| tensor.to_f64().iter().any(|x| x.is_infinite()));
    let odd = |value: f64| value.is_infinite() || infinite && value.is_nan();
    if !values.iter().any(|&value| odd(value)) {
        return allowance;
    }
    let mut allowance = allowance.unwrap_or_else(|| vec![0.0; values.len()]);
    for (allowance, value) in allowance.iter_mut().zip(values) {
        if odd(*value) {
            *allowance = f64::INFINITY;
        }
    }
    Some(allowance)
}
