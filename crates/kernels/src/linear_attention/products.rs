//! Rows, states and their products, in f64.

use crate::Strides;

/// Rows of one tensor, found by batch entry, head and position.
pub(super) struct Rowed {
    pub(super) elements: Vec<f64>,
    pub(super) strides: Strides,
    pub(super) dim: usize,
}

impl Rowed {
    pub(super) fn row(&self, batch: usize, head: usize, position: usize) -> &[f64] {
        let at = batch * self.strides.batch + head * self.strides.head + position * self.strides.position;
        &self.elements[at..at + self.dim]
    }
}

/// `x^T S` for S `[Dk, Dv]`.
pub(super) fn times(state: &[f64], x: &[f64], wide: usize) -> Vec<f64> {
    let mut product = vec![0.0; wide];
    for (row, x) in state.chunks_exact(wide).zip(x) {
        product.iter_mut().zip(row).for_each(|(sum, s)| *sum += x * s);
    }
    product
}

/// `S += x y^T`.
pub(super) fn add_outer(state: &mut [f64], x: &[f64], y: &[f64]) {
    for (row, x) in state.chunks_exact_mut(y.len()).zip(x) {
        row.iter_mut().zip(y).for_each(|(s, y)| *s += x * y);
    }
}
