//! Attention problems.

use std::{borrow::Cow, sync::Arc};

use super::{
    BlockSparsity, DeviceBlockMask, Layout, Mask, Pages, Precision, QkNorm, Quantised, Rotary, Scale, Shape,
    Strides, TableInput, layout::Tensor,
};
use crate::{
    Dtype, Error,
    block_mask::BlockMask,
    expr::{Expr, OwnLengths},
};

/// An attention problem: shapes in elements, storage, mask and scale.
///
/// `None` strides mean dense storage in [`Attention::layout`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Attention {
    /// Batch size B; at least 1. Of packed sequences, their number.
    pub batch: usize,
    /// Query heads H; a multiple of `kv_heads`.
    pub q_heads: usize,
    /// Key/value heads G; at least 1.
    pub kv_heads: usize,
    /// Queries Tq; 0 gives an empty result. Of packed sequences, all of them together.
    pub q_len: usize,
    /// Keys Tk; without any, every query sees nothing: zeros, and -inf in `lse`. Of packed sequences, all of them together; in
    /// pages, those that a batch entry has room for.
    pub kv_len: usize,
    /// Width Dk of q and k, 1 to 576.
    pub head_dim: usize,
    /// Width Dv of v and o, 1 to 576.
    pub value_dim: usize,
    /// TileScheduler of the dimensions of q, k, v and o. `lse` is `[B, H, Tq]` in either.
    pub layout: Layout,
    /// Which keys a query sees.
    pub mask: Mask,
    /// An expression of the scaled scores, before the softmax; natural units. A score of -inf hides its key, as the mask does;
    /// finite scores do not, however low: a row whose scores are all -3.4e38 gets the mean of its values. Scores are f32:
    /// beyond its range they are infinite. A score that is NaN or inf makes its row NaN.
    pub score: Option<Expr>,
    /// Factor of the scores.
    pub scale: Scale,
    /// How rows of q and k are normalised.
    pub qk_norm: Option<QkNorm>,
    /// How rows of q and k are turned by their positions.
    pub rotary: Rotary,
    /// The name of a tensor `[H]` of logits that enter the denominators, and so `lse`, and nothing else.
    pub sink_logits: Option<String>,
    /// The tables that mask and score read.
    pub tables: Vec<TableInput>,
    /// The blocks that are visited; the rest is hidden.
    pub sparsity: BlockSparsity,
    /// The name of a tensor `[B]` of i32 that says how many of the `q_len` queries each batch entry has. Read on the device, by
    /// every run; queries beyond see no key. `Tq` in [`Mask::Causal`] and `nq` in expressions are then this.
    pub q_lengths: Option<String>,
    /// The name of a tensor `[B]` of i32 that says how many of the `kv_len` keys each batch entry has. Keys beyond are hidden,
    /// with any content. `Tk` in [`Mask::Causal`] and `nk` in expressions are then this. May be the tensor of
    /// `q_lengths`, and a table too.
    pub kv_lengths: Option<String>,
    /// The name of a tensor `[B + 1]` of i32, rising from 0 to at most Tq: B sequences of queries lie one after the other, q and o
    /// are `[1, H, Tq, D]` and lse `[1, H, Tq]`, and sequence b has the rows from element b to before element b + 1. Queries count
    /// from 0 in each, and its length is `nq` in expressions. Rows beyond the last sequence see no key.
    pub cu_seqlens_q: Option<String>,
    /// The same of keys and values, `[1, G, Tk, D]`.
    pub cu_seqlens_k: Option<String>,
    /// Keys and values lie in pages.
    pub pages: Option<Pages>,
    /// Keys and values, and queries too where they have scales, are integers.
    pub quantised: Option<Quantised>,
    /// Keys, from the first, that are the same for every batch entry: [`Attention::shared_prefix`]. 0 if there are none.
    pub shared_prefix: usize,
    /// Parts that the keys of a tile are divided into, each for a workgroup of its own, and merged: 1 to 256. `None` leaves it to
    /// the plan, which then depends on the batch size, unless entries have lengths of their own. With a number, and few rows a key/value head, a batch entry's bits are the
    /// same in any batch.
    pub splits: Option<usize>,
    /// Storage of q, k, v and o, but for those that are integers. Arithmetic is f32, and `lse` is stored as f32.
    pub dtype: Dtype,
    /// How precise q, k and v are in products.
    pub precision: Precision,
    /// Whether `lse` is computed too.
    pub lse: bool,
    /// Strides of q where it is not dense.
    pub q_strides: Option<Strides>,
    /// Strides of k where it is not dense.
    pub k_strides: Option<Strides>,
    /// Strides of v where it is not dense.
    pub v_strides: Option<Strides>,
    /// Strides of o where it is not dense.
    pub o_strides: Option<Strides>,
    /// The option that the lists of `sparsity` were read from.
    pub(crate) blocks_option: Option<serde_json::Value>,
    /// Stands for the part of a problem over its shared prefix: the rows of all batch entries share tiles.
    pub(crate) over_prefix: bool,
    /// Whether random inputs have values that are NaN, mostly in hidden places.
    pub(crate) odd_values: bool,
    /// Tiles are chosen as for this problem: how a small problem gets the shaders of a large one.
    pub(crate) specialized_for: Option<Arc<Self>>,
}

/// More parts of keys than this cost more to merge than they save.
pub(crate) const MAX_SPLITS: usize = 256;

/// The widest head that is served.
pub(crate) const MAX_DIM: usize = 576;

impl Attention {
    /// The problem of tensors of that shape: nothing masked, f32, dense in the order bhtd.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let Shape { batch, q_heads, kv_heads, q_len, kv_len, head_dim, value_dim } = shape;
        Self {
            batch,
            q_heads,
            kv_heads,
            q_len,
            kv_len,
            head_dim,
            value_dim,
            layout: Layout::Bhtd,
            mask: Mask::None,
            score: None,
            scale: Scale::default(),
            qk_norm: None,
            rotary: Rotary::default(),
            sink_logits: None,
            tables: Vec::new(),
            sparsity: BlockSparsity::Dense,
            blocks_option: None,
            q_lengths: None,
            kv_lengths: None,
            cu_seqlens_q: None,
            cu_seqlens_k: None,
            pages: None,
            quantised: None,
            shared_prefix: 0,
            splits: None,
            dtype: Dtype::F32,
            precision: Precision::default(),
            lse: false,
            q_strides: None,
            k_strides: None,
            v_strides: None,
            o_strides: None,
            over_prefix: false,
            odd_values: false,
            specialized_for: None,
        }
    }

    /// Query heads that a key/value head serves.
    #[must_use]
    pub fn group(&self) -> usize {
        self.q_heads / self.kv_heads.max(1)
    }

    /// The factor of the scores, without those of single heads.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "head_dim is at most 576")]
    pub fn resolved_scale(&self) -> f64 {
        match self.scale {
            Scale::Factor(scale) => scale,
            Scale::InverseSqrt | Scale::PerHead(_) => 1.0 / (self.head_dim as f64).sqrt(),
        }
    }

    /// Whether only some blocks of keys are visited.
    #[must_use]
    pub fn is_block_sparse(&self) -> bool {
        !matches!(self.sparsity, BlockSparsity::Dense)
    }

    /// The lists of blocks that the plan holds.
    pub(crate) fn host_blocks(&self) -> Option<&Arc<BlockMask>> {
        if let BlockSparsity::Host(blocks) = &self.sparsity { Some(blocks) } else { None }
    }

    /// The lists of blocks that lie on the device.
    pub(crate) fn device_blocks(&self) -> Option<&DeviceBlockMask> {
        if let BlockSparsity::Device(blocks) = &self.sparsity { Some(blocks) } else { None }
    }

    /// The tensor of scales of heads.
    pub(crate) fn head_scale(&self) -> Option<&String> {
        if let Scale::PerHead(name) = &self.scale { Some(name) } else { None }
    }

    /// How many keys, from the first, query `i` may see by the mask's structure.
    #[must_use]
    pub fn num_visible_keys(&self, query: usize) -> usize {
        self.num_visible_keys_of(query, self.q_len, self.kv_len)
    }

    /// The same, of a batch entry with so many queries and keys.
    pub(crate) fn num_visible_keys_of(&self, query: usize, q_len: usize, kv_len: usize) -> usize {
        match *self.effective_mask() {
            Mask::None | Mask::Expression(_) => kv_len,
            Mask::Causal => (query + kv_len + 1).saturating_sub(q_len).min(kv_len),
            Mask::CausalTopLeft => (query + 1).min(kv_len),
        }
    }

    /// Checks that the problem makes sense.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the dimension, what was expected and what came.
    pub fn validate(&self) -> Result<(), Error> {
        let at_least_one = [("batch", self.batch), ("q_heads", self.q_heads), ("kv_heads", self.kv_heads)];
        for (name, size) in at_least_one {
            if size == 0 {
                return Err(Error::invalid(name, "expected at least 1, got 0"));
            }
        }
        if !self.q_heads.is_multiple_of(self.kv_heads) {
            return Err(Error::invalid(
                "q_heads",
                format!("expected a multiple of the {} key/value heads, got {}", self.kv_heads, self.q_heads),
            ));
        }
        for (name, dim) in [("head_dim", self.head_dim), ("value_dim", self.value_dim)] {
            if !(1..=MAX_DIM).contains(&dim) {
                return Err(Error::invalid(name, format!("expected 1 to {MAX_DIM}, got {dim}")));
            }
        }
        if !self.dtype.is_float() {
            return Err(Error::invalid("dtype", format!("expected f32, f16 or bf16, got {}", self.dtype)));
        }
        if !self.resolved_scale().is_finite() {
            return Err(Error::invalid(
                "scale",
                format!("expected a finite number, got {}", self.resolved_scale()),
            ));
        }
        crate::spec::read::fits_f32("scale", self.resolved_scale())?;
        if let Some(splits) = self.splits.filter(|splits| !(1..=MAX_SPLITS).contains(splits)) {
            return Err(Error::invalid(
                "splits",
                format!("expected auto or 1 to {MAX_SPLITS}, got {splits}"),
            ));
        }
        self.validate_stored()?;
        self.validate_rotary()?;
        self.validate_precision()?;
        for tensor in Tensor::ALL {
            self.span(tensor)
                .ok_or_else(|| Error::invalid(tensor.name(), "has more elements than can be addressed"))?;
        }
        self.validate_visibility()?;
        let o = self.strides(Tensor::O);
        if self.o_strides.is_some()
            && !o.writes_once(self.stored_batch(Tensor::O), self.q_heads, self.q_len, self.value_dim)
        {
            return Err(Error::invalid("o", format!("its strides {o:?} make rows of the output overlap")));
        }
        Ok(())
    }

    /// The problem that tiles are chosen for: this one, unless it stands in for another.
    pub(crate) fn specialized(&self) -> &Self {
        self.specialized_for.as_deref().unwrap_or(self)
    }

    pub(crate) fn strides(&self, tensor: Tensor) -> Strides {
        let given = match tensor {
            Tensor::Q => self.q_strides,
            Tensor::K => self.k_strides,
            Tensor::V => self.v_strides,
            Tensor::O => self.o_strides,
        };
        let [heads, len, dim] = self.sizes(tensor);
        let times = |a: usize, b: usize| a.saturating_mul(b);
        given.unwrap_or_else(|| match self.layout {
            Layout::Bhtd => {
                Strides { batch: times(heads, times(len, dim)), head: times(len, dim), position: dim }
            }
            Layout::Bthd => {
                Strides { batch: times(len, times(heads, dim)), head: dim, position: times(heads, dim) }
            }
        })
    }

    /// Elements from a tensor's first to its last, or `None` if they cannot be counted.
    pub(crate) fn span(&self, tensor: Tensor) -> Option<usize> {
        let [heads, len, dim] = self.sizes(tensor);
        let batch = self.stored_batch(tensor);
        if batch == 0 || heads == 0 || len == 0 {
            return Some(0);
        }
        let strides = self.strides(tensor);
        let last = (batch - 1)
            .checked_mul(strides.batch)?
            .checked_add((heads - 1).checked_mul(strides.head)?)?
            .checked_add((len - 1).checked_mul(strides.position)?)?
            .checked_add(dim)?;
        (last <= isize::MAX as usize / 8).then_some(last)
    }
}

impl Attention {
    /// The mask as kernels take it: beside lists of blocks, which say by themselves what is full, one that is known by
    /// structure is an expression as any other.
    pub(super) fn effective_mask(&self) -> Cow<'_, Mask> {
        let known = matches!(self.mask, Mask::Causal | Mask::CausalTopLeft);
        if known && self.is_block_sparse() {
            let text = self.mask.to_string();
            // The canonical name of a mask parses.
            return Expr::parse_mask(&text)
                .map_or(Cow::Borrowed(&self.mask), |expr| Cow::Owned(Mask::Expression(expr)));
        }
        Cow::Borrowed(&self.mask)
    }

    /// Which lengths batch entries have of their own.
    pub(crate) fn own_lengths(&self) -> OwnLengths {
        OwnLengths {
            queries: self.q_lengths.is_some() || self.cu_seqlens_q.is_some(),
            keys: self.kv_lengths.is_some() || self.cu_seqlens_k.is_some(),
        }
    }
}
