//! New rows of k and v written into a cache, in place: what decoding does before each attention.
//!
//! Entry b has `n` new rows (`q_len[b]`, or all T) and `l` rows with them (`kv_len[b]`, or T: the cache was empty). Row t of
//! its new rows, for t < n, is at position
//!
//! ```text
//! p = l - n + t      cache[b, g, slot(p)] = rope(x[b, g, t], p)      x = k, v; v is not rotated
//! ```
//!
//! | cache | slot(p) | rows that are not written |
//! |---|---|---|
//! | contiguous | p | p < 0, p >= S |
//! | `ring` | p mod S | p < 0, and p < l - S: later ones take their places |
//! | `block_table` | slot p mod page of page `block_table[b, p / page]` | p < 0, p >= n page; pages that are none |
//!
//! With `q_rotated`, rows of q `[B, H, T, Dk]` are turned by the same positions: `q_rotated[b, h, t] = rope(q[b, h, t], p)`, for
//! all t, so that attention over the caches needs no positions.
//!
//! All other elements stay as they were. `kv_len` and `q_len` mean what they mean to `attention`: one tensor serves both.
//! A page that is written is in the table once. On the host such tables, lengths beyond the cache and pages that are none are errors;
//! on the device such rows are not written.
//!
//! **Quantised caches** hold integers, and a scale for each block of `quant_block` slots of an entry and head: element =
//! scale * integer. An append sets the scale of each block that it writes to, over the rows that the block then holds,
//!
//! ```text
//! scale = max(max |x| of new rows / N, |scale'| max |i'| of old rows / N)      i = round(x / scale)      N = 127 (i8), 7 (i4)
//! ```
//!
//! where i' and scale' are what it held; its old rows become `round(i' scale' / scale)`. So a scale grows with its rows, and a
//! ring's shrinks again when they are gone. Old rows are the slots before the new ones, in a ring those that were ever written.
//! Scales below the least normal f32 are 0, and so are their integers. A new value that is not finite, or an old scale, makes a
//! block's scale NaN, so that it shows; old integers then stay, new ones are 0.
//! Source: Kwon et al. 2023, PagedAttention; Jiang et al. 2023, Mistral 7B (rings); Su et al. 2021, RoFormer.

mod cache;
mod operator;
mod options;
mod plan;
mod reference;
mod testing;
mod values;

use crate::{
    Access, Dtype, Layout, Strides, TensorSpec,
    rope::{BASE, Pairing, Rope},
};
pub use cache::CacheDtype;
pub(crate) use operator::OPERATOR;

/// Slots of a block that shares a scale, where no other number is asked for.
const QUANT_BLOCK: usize = 64;

/// Rows `[B, G, T, Dk]` and `[B, G, T, Dv]`, to be written into caches.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Append {
    /// Batch size B; at least 1.
    pub batch: usize,
    /// Key/value heads G; at least 1.
    pub heads: usize,
    /// Heads H of q, a multiple of G, where q is rotated; G elsewhere.
    pub q_heads: usize,
    /// New rows T of an entry; 0 changes nothing.
    pub len: usize,
    /// Slots S of an entry: of pages, those of all its places in the table.
    pub capacity: usize,
    /// Width Dk of k; at least 1.
    pub key_dim: usize,
    /// Width Dv of v; at least 1.
    pub value_dim: usize,
    /// Order of the dimensions of k, v and the caches.
    pub layout: Layout,
    /// Storage of k and v. Arithmetic is f32.
    pub dtype: Dtype,
    /// Storage of the caches; that of k and v if `None`.
    pub kv_dtype: Option<CacheDtype>,
    /// Whether positions are slots modulo S.
    pub ring: bool,
    /// The name of a tensor i32 `[B]`: rows of each entry, the new ones included.
    pub kv_lengths: Option<String>,
    /// The name of a tensor i32 `[B]`: new rows of each entry.
    pub q_lengths: Option<String>,
    /// The name of a table i32 `[B, n]` of pages; -1 is none.
    pub block_table: Option<String>,
    /// Slots of a page: a multiple of 16.
    pub page: usize,
    /// Pages of the pools; one for each place of the table if 0.
    pub pages: usize,
    /// The names of the scales f32 `[B, G, ceil(S / quant_block)]` of quantised caches.
    pub k_scale: Option<String>,
    /// The same of v.
    pub v_scale: Option<String>,
    /// Slots of a block that shares a scale.
    pub quant_block: usize,
    /// Which elements of k are turned together.
    pub rope: Pairing,
    /// Base of the frequencies, from 1 to 1e30.
    pub rope_base: f64,
    /// Elements of a row that take part in rotary positions, even; all Dk if 0.
    pub rope_dim: usize,
    /// The name of a tensor i32 `[B, T]` of positions for the rotation; rows' own if `None`.
    pub positions: Option<String>,
    /// Whether q is rotated, too, into a tensor `q_rotated`.
    pub q_rotated: bool,
    /// Whether random inputs have values that are not finite.
    odd_values: bool,
}

impl Append {
    /// T new rows of k and v, `[batch, heads, len, key_dim]` and `[.., value_dim]`, for contiguous f32 caches of `capacity`
    /// slots.
    #[must_use]
    pub fn new([batch, heads, len]: [usize; 3], capacity: usize, [key_dim, value_dim]: [usize; 2]) -> Self {
        Self {
            batch,
            heads,
            q_heads: heads,
            len,
            capacity,
            key_dim,
            value_dim,
            layout: Layout::Bhtd,
            dtype: Dtype::F32,
            kv_dtype: None,
            ring: false,
            kv_lengths: None,
            q_lengths: None,
            block_table: None,
            page: 16,
            pages: 0,
            k_scale: None,
            v_scale: None,
            quant_block: QUANT_BLOCK,
            rope: Pairing::None,
            rope_base: BASE,
            rope_dim: 0,
            positions: None,
            q_rotated: false,
            odd_values: false,
        }
    }

    /// Stored in this order.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// k and v stored as `dtype`.
    #[must_use]
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Caches stored as `dtype`.
    #[must_use]
    pub fn kv_dtype(mut self, dtype: CacheDtype) -> Self {
        self.kv_dtype = Some(dtype);
        self
    }

    /// With the tensor of that name as lengths of entries, new rows included.
    #[must_use]
    pub fn kv_lengths(mut self, name: impl Into<String>) -> Self {
        self.kv_lengths = Some(name.into());
        self
    }

    /// With the tensor of that name as numbers of new rows.
    #[must_use]
    pub fn q_lengths(mut self, name: impl Into<String>) -> Self {
        self.q_lengths = Some(name.into());
        self
    }

    /// Into a ring: position p lies in slot p modulo the capacity.
    #[must_use]
    pub fn ring(mut self) -> Self {
        self.ring = true;
        self
    }

    /// Into pages of `page` slots, `pages` of them in the pools (0: one for each place of the table), which the table of
    /// that name lists.
    #[must_use]
    pub fn block_table(mut self, name: impl Into<String>, page: usize, pages: usize) -> Self {
        (self.block_table, self.page, self.pages) = (Some(name.into()), page, pages);
        self
    }

    /// Into quantised caches, with the tensors of these names as scales of blocks of `quant_block` slots.
    #[must_use]
    pub fn scales(
        mut self,
        k_scale: impl Into<String>,
        v_scale: impl Into<String>,
        quant_block: usize,
    ) -> Self {
        (self.k_scale, self.v_scale) = (Some(k_scale.into()), Some(v_scale.into()));
        self.quant_block = quant_block;
        self
    }

    /// With k turned by its positions, at frequencies of that base.
    #[must_use]
    pub fn rope(mut self, pairing: Pairing, base: f64) -> Self {
        (self.rope, self.rope_base) = (pairing, base);
        self
    }

    /// With the tensor of that name as positions for the rotation.
    #[must_use]
    pub fn positions(mut self, name: impl Into<String>) -> Self {
        self.positions = Some(name.into());
        self
    }

    /// With q of so many heads turned by the positions of the new rows.
    #[must_use]
    pub fn with_rotated_q(mut self, q_heads: usize) -> Self {
        (self.q_heads, self.q_rotated) = (q_heads, true);
        self
    }

    /// The rotation of k.
    fn rotation(&self) -> Rope {
        let dim = if self.rope_dim == 0 { self.key_dim } else { self.rope_dim };
        Rope { pairing: self.rope, base: self.rope_base, dim }
    }

    /// Strides of k, or v, of that width.
    fn strides(&self, width: usize) -> Strides {
        self.layout.strides([self.heads, self.len, width])
    }

    /// Strides of q.
    fn q_strides(&self) -> Strides {
        self.layout.strides([self.q_heads, self.len, self.key_dim])
    }

    fn q_tensor(&self, name: &'static str, access: Access) -> TensorSpec {
        let (shape, axis) = self.layout.shape([self.batch, self.q_heads, self.len, self.key_dim]);
        TensorSpec::dense(name, access, self.dtype, shape, Some(axis))
    }

    /// The tensors that are bound: inputs first, then what is changed in place.
    pub(crate) fn all_tensors(&self) -> Vec<TensorSpec> {
        let mut tensors: Vec<TensorSpec> = Vec::new();
        for (name, width) in [("k", self.key_dim), ("v", self.value_dim)] {
            let (shape, axis) = self.layout.shape([self.batch, self.heads, self.len, width]);
            tensors.push(TensorSpec::dense(name, Access::Read, self.dtype, shape, Some(axis)));
        }
        if self.q_rotated {
            tensors.push(self.q_tensor("q", Access::Read));
        }
        let integers = [
            (&self.kv_lengths, vec![self.batch]),
            (&self.q_lengths, vec![self.batch]),
            (&self.block_table, vec![self.batch, self.places()]),
            (&self.positions, vec![self.batch, self.len]),
        ];
        for (name, shape) in integers {
            // One tensor may say both lengths.
            let Some(name) = name.as_ref().filter(|name| tensors.iter().all(|t| t.name != **name)) else {
                continue;
            };
            tensors.push(TensorSpec::dense(name.clone(), Access::Read, Dtype::I32, shape, None));
        }
        for (name, width) in [("k_cache", self.key_dim), ("v_cache", self.value_dim)] {
            tensors.push(self.cache_tensor(name, width));
        }
        for name in self.k_scale.iter().chain(&self.v_scale) {
            let shape = vec![self.batch, self.heads, self.blocks()];
            tensors.push(TensorSpec::dense(name.clone(), Access::Update, Dtype::F32, shape, Some(1)));
        }
        if self.q_rotated {
            tensors.push(self.q_tensor("q_rotated", Access::Write));
        }
        tensors
    }
}
