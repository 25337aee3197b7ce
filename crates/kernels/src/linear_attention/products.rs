//! A state and vectors, in f64.

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
