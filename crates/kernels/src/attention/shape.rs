//! Sizes of attention's tensors.

use crate::Error;

/// Sizes of q `[B, H, Tq, Dk]`, k `[B, G, Tk, Dk]`, v `[B, G, Tk, Dv]` and o `[B, H, Tq, Dv]`, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(super) batch: usize,
    pub(super) q_heads: usize,
    pub(super) kv_heads: usize,
    pub(super) q_len: usize,
    pub(super) kv_len: usize,
    pub(super) head_dim: usize,
    pub(super) value_dim: usize,
}

impl Shape {
    /// Self-attention: B, H, T and D of q, k, v and o alike.
    #[must_use]
    pub fn bhtd(batch: usize, heads: usize, len: usize, dim: usize) -> Self {
        Self {
            batch,
            q_heads: heads,
            kv_heads: heads,
            q_len: len,
            kv_len: len,
            head_dim: dim,
            value_dim: dim,
        }
    }

    /// With `heads` key/value heads (G), of which H is a multiple, and `len` keys (Tk).
    #[must_use]
    pub fn kv(mut self, heads: usize, len: usize) -> Self {
        (self.kv_heads, self.kv_len) = (heads, len);
        self
    }

    /// With v and o of width `dim` (Dv).
    #[must_use]
    pub fn value_dim(mut self, dim: usize) -> Self {
        self.value_dim = dim;
        self
    }

    /// The sizes of tensors that are there: q `[B, H, Tq, Dk]`, k `[B, G, Tk, Dk]` and v `[B, G, Tk, Dv]`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if k does not match q, or v does not match k, with the size that differs.
    ///
    /// ```
    /// use foveal_kernels::attention::Shape;
    ///
    /// let shape = Shape::of_tensors([1, 8, 1, 64], [1, 2, 4096, 64], [1, 2, 4096, 64])?;
    /// assert_eq!(shape, Shape::bhtd(1, 8, 1, 64).kv(2, 4096));
    /// assert!(Shape::of_tensors([1, 8, 1, 64], [1, 2, 4096, 32], [1, 2, 4096, 64]).is_err());
    /// # Ok::<(), foveal_kernels::Error>(())
    /// ```
    pub fn of_tensors(q: [usize; 4], k: [usize; 4], v: [usize; 4]) -> Result<Self, Error> {
        for (name, what, of, got, expected) in [
            ("k", "batch", "q", k[0], q[0]),
            ("k", "head_dim", "q", k[3], q[3]),
            ("v", "batch", "q", v[0], q[0]),
            ("v", "heads", "k", v[1], k[1]),
            ("v", "length", "k", v[2], k[2]),
        ] {
            if got != expected {
                let message = format!("expected {what} {expected} as in {of}, got {got}");
                return Err(Error::invalid(name, message));
            }
        }
        Ok(Self::bhtd(q[0], q[1], q[2], q[3]).kv(k[1], k[2]).value_dim(v[3]))
    }
}
