//! Where rows of q, k and v lie, and how they are stored.

use super::{Attention, Quantised, layout::Tensor};
use crate::{Dtype, Error, spec::PAGE_UNIT};

impl Attention {
    /// Batch entries of a tensor as it is stored: packed sequences are one, and pages are entries of their own.
    pub(crate) fn stored_batch(&self, tensor: Tensor) -> usize {
        match tensor {
            Tensor::Q | Tensor::O if self.cu_seqlens_q.is_some() => 1,
            Tensor::K | Tensor::V if self.cu_seqlens_k.is_some() => 1,
            Tensor::K | Tensor::V => self.pages.as_ref().map_or(self.batch, |pages| pages.count),
            Tensor::Q | Tensor::O => self.batch,
        }
    }

    /// Sizes of a tensor as it is stored: heads, positions, width in stored elements.
    pub(crate) fn sizes(&self, tensor: Tensor) -> [usize; 3] {
        let keys = || self.pages.as_ref().map_or(self.kv_len, |pages| pages.page);
        let in_a_byte = self.quantised.as_ref().map_or(1, |quantised| quantised.integers.in_a_byte());
        match tensor {
            Tensor::Q => [self.q_heads, self.q_len, self.head_dim],
            Tensor::K => [self.kv_heads, keys(), self.head_dim / in_a_byte],
            Tensor::V => [self.kv_heads, keys(), self.value_dim / in_a_byte],
            Tensor::O => [self.q_heads, self.q_len, self.value_dim],
        }
    }

    /// The storage type of a tensor.
    pub(crate) fn dtype_of(&self, tensor: Tensor) -> Dtype {
        match (&self.quantised, tensor) {
            (Some(quantised), Tensor::K | Tensor::V) => quantised.integers.dtype(),
            (Some(Quantised { q_scale: Some(_), .. }), Tensor::Q) => Dtype::I8,
            _ => self.dtype,
        }
    }

    /// Batch entries, queries and keys of a typical entry: where sequences are packed their lengths are known on the device only,
    /// and taken to be alike.
    pub(crate) fn typical_lengths(&self) -> (usize, usize) {
        let of = |packed: bool, all: usize| if packed { all.div_ceil(self.batch.max(1)) } else { all };
        (of(self.cu_seqlens_q.is_some(), self.q_len), of(self.cu_seqlens_k.is_some(), self.kv_len))
    }

    /// Scales of a key/value head.
    pub(crate) fn scales_of_head(&self) -> usize {
        let of = |quantised: &Quantised| {
            quantised.blocks.unwrap_or_else(|| self.kv_len.div_ceil(quantised.block.max(1)))
        };
        self.quantised.as_ref().map_or(0, of)
    }

    /// The name of the scales of q, where it holds integers.
    pub(crate) fn q_scale(&self) -> Option<&String> {
        self.quantised.as_ref().and_then(|quantised| quantised.q_scale.as_ref())
    }

    /// Scales of a query head.
    pub(crate) fn q_scales_of_head(&self) -> usize {
        let block = self.quantised.as_ref().filter(|of| of.q_scale.is_some()).map(|of| of.block.max(1));
        block.map_or(0, |block| self.q_len.div_ceil(block))
    }

    /// Checks of what is stored where.
    pub(super) fn validate_stored(&self) -> Result<(), Error> {
        let blocks = |name: &str| {
            let message = "cannot be combined with lists of blocks".to_owned();
            if self.is_block_sparse() { Err(Error::invalid(name, message)) } else { Ok(()) }
        };
        let alone = |name: &str, other: &str, both: bool| {
            let message = format!("cannot be combined with {other}, which says the same");
            if both { Err(Error::invalid(name, message)) } else { Ok(()) }
        };
        if self.cu_seqlens_q.is_some() {
            blocks("cu_seqlens_q")?;
            alone("cu_seqlens_q", "q_len", self.q_lengths.is_some())?;
        }
        if self.cu_seqlens_k.is_some() {
            blocks("cu_seqlens_k")?;
            alone("cu_seqlens_k", "kv_len", self.kv_lengths.is_some())?;
            alone("cu_seqlens_k", "block_table", self.pages.is_some())?;
        }
        if let Some(pages) = &self.pages {
            if pages.page == 0 || !pages.page.is_multiple_of(PAGE_UNIT) {
                let message = format!("expected a multiple of {PAGE_UNIT}, got {}", pages.page);
                return Err(Error::invalid("page", message));
            }
            if !self.kv_len.is_multiple_of(pages.page) {
                let message = format!("expected whole pages of {} keys, got {}", pages.page, self.kv_len);
                return Err(Error::invalid("kv_len", message));
            }
            if i32::try_from(pages.count).is_err() {
                let message = format!("expected at most {}, got {}", i32::MAX, pages.count);
                return Err(Error::invalid("pages", message));
            }
            if pages.count == 0 && self.kv_len > 0 {
                return Err(Error::invalid("pages", "expected at least 1, got 0"));
            }
        }
        if let Some(quantised) = &self.quantised {
            if quantised.block == 0 {
                return Err(Error::invalid("quant_block", "expected at least 1, got 0"));
            }
            if quantised.blocks == Some(0) && self.kv_len > 0 {
                return Err(Error::invalid("quant_blocks", "expected at least 1, got 0"));
            }
            let in_a_byte = quantised.integers.in_a_byte();
            for (name, dim) in [("head_dim", self.head_dim), ("value_dim", self.value_dim)] {
                if !dim.is_multiple_of(in_a_byte) {
                    return Err(Error::invalid(name, format!("expected an even number for i4, got {dim}")));
                }
            }
        }
        Ok(())
    }
}
