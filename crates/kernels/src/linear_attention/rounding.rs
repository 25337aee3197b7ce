//! How well-conditioned an output is: how far f32 may be from it where the products of its sum cancel.
//!
//! `o = q^T S` is a sum of products that each carry the rounding of S, which grows like a random walk with the tokens, and
//! their own. Where they cancel (a memory read through its eigenmodes), little is left beside that. Tolerances are for sums
//! of ordinary products; what is far from those is said here. State errors are taken as they would be without a delta
//! rule: its erasing is trusted not to amplify them.

use crate::expr::UNIT;

/// Up to this ratio of the products' magnitudes to their sum nothing is added to tolerances: a random q leaves about
/// sqrt(Dk).
const ORDINARY: f64 = 64.0;

/// `|q|^T |S|`, added to `sums`.
pub(super) fn add_magnitudes(state: &[f64], q: &[f64], sums: &mut [f64]) {
    for (row, q) in state.chunks_exact(sums.len()).zip(q) {
        sums.iter_mut().zip(row).for_each(|(sum, s)| *sum += (q * s).abs());
    }
}

/// From the magnitudes that went into each element of a head's o, `[T, Dv]`, what each may be off by; none if they cancel
/// no more than usual. `tokens` are those that a row's state may have seen.
pub(super) fn allowances(
    o: &[f64],
    magnitudes: Vec<f64>,
    wide: usize,
    tokens: impl Fn(usize) -> usize,
) -> Vec<f64> {
    let finite = || o.iter().zip(&magnitudes).filter(|(o, magnitude)| o.is_finite() && magnitude.is_finite());
    let squares = finite().fold((0.0, 0.0), |(o, magnitude), (x, y)| (o + x * x, magnitude + y * y));
    let (o, magnitude) = (squares.0.sqrt(), squares.1.sqrt());
    if magnitude <= ORDINARY * o || magnitude == 0.0 {
        return Vec::new();
    }
    let mut allowances = magnitudes;
    for (position, row) in allowances.chunks_exact_mut(wide.max(1)).enumerate() {
        let factor = UNIT * (4.0 + crate::cost::float(tokens(position)).sqrt());
        row.iter_mut().for_each(|x| *x *= factor);
    }
    allowances
}

/// At infinite values of a recurrence NaN will do: whether infinity times a decay near zero is one or the other is a
/// matter of range.
pub(super) fn with_infinities(values: &[f64], allowance: Option<Vec<f64>>) -> Option<Vec<f64>> {
    if !values.iter().any(|value| value.is_infinite()) {
        return allowance;
    }
    let mut allowance = allowance.unwrap_or_else(|| vec![0.0; values.len()]);
    for (allowance, value) in allowance.iter_mut().zip(values) {
        if value.is_infinite() {
            *allowance = f64::INFINITY;
        }
    }
    Some(allowance)
}
