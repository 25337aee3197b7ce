//! Attention problems, option by option.

use super::{
    Attention, BlockSparsity, Layout, Mask, Pages, QkNorm, Quantised, Rotary, Scale, Strides, TableInput,
};
use crate::{
    Dtype,
    expr::{Expr, Table},
};

impl Attention {
    /// With v and o of width `value_dim`.
    #[must_use]
    pub fn value_dim(mut self, value_dim: usize) -> Self {
        self.value_dim = value_dim;
        self
    }

    /// With this mask.
    #[must_use]
    pub fn mask(mut self, mask: impl Into<Mask>) -> Self {
        self.mask = mask.into();
        self
    }

    /// With this score expression.
    #[must_use]
    pub fn score(mut self, score: Expr) -> Self {
        self.score = Some(score);
        self
    }

    /// With a table for the mask and the score to read.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(TableInput::new(table));
        self
    }

    /// Visiting these blocks only: a [`BlockMask`](crate::block_mask::BlockMask), or a [`DeviceBlockMask`](crate::attention::DeviceBlockMask) of lists on the device.
    #[must_use]
    pub fn block_mask(mut self, blocks: impl Into<BlockSparsity>) -> Self {
        self.sparsity = blocks.into();
        self.blocks_option = None;
        self
    }

    /// With as many keys in each batch entry as the tensor `name` says.
    #[must_use]
    pub fn kv_lengths(mut self, name: impl Into<String>) -> Self {
        self.kv_lengths = Some(name.into());
        self
    }

    /// With as many queries in each batch entry as the tensor `name` says.
    #[must_use]
    pub fn q_lengths(mut self, name: impl Into<String>) -> Self {
        self.q_lengths = Some(name.into());
        self
    }

    /// With queries of as many packed sequences as B says, whose borders are in the tensor `name` `[B + 1]`.
    #[must_use]
    pub fn cu_seqlens_q(mut self, name: impl Into<String>) -> Self {
        self.cu_seqlens_q = Some(name.into());
        self
    }

    /// With keys and values of as many packed sequences as B says, whose borders are in the tensor `name` `[B + 1]`.
    #[must_use]
    pub fn cu_seqlens_k(mut self, name: impl Into<String>) -> Self {
        self.cu_seqlens_k = Some(name.into());
        self
    }

    /// With keys and values in pages.
    #[must_use]
    pub fn pages(mut self, pages: Pages) -> Self {
        self.pages = Some(pages);
        self
    }

    /// With keys and values, or queries too, that are integers with scales.
    #[must_use]
    pub fn quantised(mut self, quantised: Quantised) -> Self {
        self.quantised = Some(quantised);
        self
    }

    /// With keys in so many parts, 1 to 256, that are merged.
    #[must_use]
    pub fn splits(mut self, splits: usize) -> Self {
        self.splits = Some(splits);
        self
    }

    /// With [`Mask::Causal`].
    #[must_use]
    pub fn causal(self) -> Self {
        self.mask(Mask::Causal)
    }

    /// With this factor of the scores: a number, or [`Scale::PerHead`].
    #[must_use]
    pub fn scale(mut self, scale: impl Into<Scale>) -> Self {
        self.scale = scale.into();
        self
    }

    /// Stored as `dtype`.
    #[must_use]
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Stored in this order.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Computing `lse` too.
    #[must_use]
    pub fn with_lse(mut self) -> Self {
        self.lse = true;
        self
    }

    /// With rows of q and k normalised before they meet.
    #[must_use]
    pub fn qk_norm(mut self, norm: QkNorm) -> Self {
        self.qk_norm = Some(norm);
        self
    }

    /// With rows of q, and of k, turned by their positions before they meet.
    #[must_use]
    pub fn rotary(mut self, rotary: Rotary) -> Self {
        self.rotary = rotary;
        self
    }

    /// With a logit for each head, in the tensor `name` `[H]`, in the denominators and in `lse`.
    #[must_use]
    pub fn sink_logits(mut self, name: impl Into<String>) -> Self {
        self.sink_logits = Some(name.into());
        self
    }

    /// With these strides, in elements, of q, k and v.
    #[must_use]
    pub fn input_strides(mut self, [q, k, v]: [Strides; 3]) -> Self {
        (self.q_strides, self.k_strides, self.v_strides) = (Some(q), Some(k), Some(v));
        self
    }

    /// With these strides, in elements, of o.
    #[must_use]
    pub fn output_strides(mut self, o: Strides) -> Self {
        self.o_strides = Some(o);
        self
    }
}
