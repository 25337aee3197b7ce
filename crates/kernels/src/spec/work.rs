//! The work of problems.

/// The work of a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations on visible pairs; a fused multiply-add counts two.
    pub flops: f64,
    /// The same if nothing were masked.
    pub dense_flops: f64,
    /// Bytes of all tensors, each moved once.
    pub bytes: f64,
}

impl Work {
    /// Visible pairs over all pairs.
    #[must_use]
    pub fn density(&self) -> f64 {
        if self.dense_flops > 0.0 { self.flops / self.dense_flops } else { 1.0 }
    }
}
