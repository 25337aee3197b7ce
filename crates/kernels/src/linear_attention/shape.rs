//! Sizes of linear attention's tensors.

/// Sizes of q and k `[B, H, T, Dk]`, v and o `[B, HV, T, Dv]`, in elements. With query heads of their own q is
/// `[B, HQ, T, Dk]` and o `[B, HQ, T, Dv]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    pub(super) batch: usize,
    pub(super) heads: usize,
    pub(super) query_heads: Option<usize>,
    pub(super) value_heads: usize,
    pub(super) len: usize,
    pub(super) head_dim: usize,
    pub(super) value_dim: usize,
}

impl LinearShape {
    /// B, H, T and D of q, k, v and o alike.
    #[must_use]
    pub fn bhtd(batch: usize, heads: usize, len: usize, dim: usize) -> Self {
        Self { batch, heads, query_heads: None, value_heads: heads, len, head_dim: dim, value_dim: dim }
    }

    /// With `heads` heads of q and o (HQ), a multiple of HV: several queries read the state of each value head.
    #[must_use]
    pub fn query_heads(mut self, heads: usize) -> Self {
        self.query_heads = Some(heads);
        self
    }

    /// With `heads` heads of v and o (HV), a multiple of H.
    #[must_use]
    pub fn value_heads(mut self, heads: usize) -> Self {
        self.value_heads = heads;
        self
    }

    /// With v and o of width `dim` (Dv).
    #[must_use]
    pub fn value_dim(mut self, dim: usize) -> Self {
        self.value_dim = dim;
        self
    }
}
