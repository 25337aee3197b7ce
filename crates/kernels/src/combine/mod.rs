//! Partial softmaxes merged into one: what ring attention, tree attention and flash-decoding end with.
//!
//! For each row, of N parts that each saw keys of their own, with the sink there on request:
//!
//! ```text
//! w_n = exp(lse_n - M)      o = sum_n w_n o_n / W      lse = M + ln W      M = max_n lse_n, W = sum_n w_n + exp(sink_h - M)
//! ```
//!
//! A part with `lse = -inf` is empty: its o is not read. A row of empty parts has `o = 0` and, without a sink,
//! `lse = -inf`. NaN in a part that is not empty makes NaN of its column, and so do infinities; in an lse, of its row.
//! Source: Milakov and Gimelshein 2018, section 3.1; Dao et al. 2023, Flash-Decoding.

mod operator;
mod plan;
mod reference;
mod testing;

use crate::{
    Access, Dtype, Layout, Strides, TensorSpec,
    spec::options::{OptionRow, Options, layout_row, name_row},
};
pub(crate) use operator::OPERATOR;
pub(crate) use plan::Merge;

/// N partial results of shape `[B, H, T, Dv]`, to be merged.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Combine {
    /// Parts N; at least 1.
    pub parts: usize,
    /// Batch size B; at least 1.
    pub batch: usize,
    /// Heads H; at least 1.
    pub heads: usize,
    /// Rows T of a head; 0 gives an empty result.
    pub len: usize,
    /// Width Dv of o; at least 1.
    pub value_dim: usize,
    /// Order of the dimensions of o, and of each part of it. `lse` is `[B, H, T]` in either.
    pub layout: Layout,
    /// The name of a tensor `[H]` of logits that enter the denominators, and so `lse`, and nothing else.
    pub sink_logits: Option<String>,
    /// Storage of o and its parts. Arithmetic is f32, and `lse` is stored as f32.
    pub dtype: Dtype,
    /// Whether random inputs have NaN where results show it.
    odd_values: bool,
}

impl Combine {
    /// `parts` parts of o `[B, H, T, Dv]`, in f32.
    #[must_use]
    pub fn new(parts: usize, [batch, heads, len, value_dim]: [usize; 4]) -> Self {
        let (layout, dtype) = (Layout::Bhtd, Dtype::F32);
        Self { parts, batch, heads, len, value_dim, layout, sink_logits: None, dtype, odd_values: false }
    }

    /// Stored in this order.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Stored as `dtype`.
    #[must_use]
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// With the tensor of that name as logits of sinks.
    #[must_use]
    pub fn sink_logits(mut self, name: impl Into<String>) -> Self {
        self.sink_logits = Some(name.into());
        self
    }

    /// Rows of a part.
    fn rows(&self) -> usize {
        self.batch * self.heads * self.len
    }

    /// Strides of o, and of each part of it.
    fn strides(&self) -> Strides {
        self.layout.strides([self.heads, self.len, self.value_dim])
    }

    /// Where a row begins in o, and in a part of it.
    fn place(&self, row: usize) -> usize {
        let (pair, Strides { batch, head, position }) = (row / self.len, self.strides());
        pair / self.heads * batch + pair % self.heads * head + row % self.len * position
    }

    /// The tensors that are bound: inputs first, then outputs.
    pub(crate) fn all_tensors(&self) -> Vec<TensorSpec> {
        let (batch, heads, len) = (self.batch, self.heads, self.len);
        let (o, axis) = self.layout.shape([batch, heads, len, self.value_dim]);
        let lse = vec![batch, heads, len];
        let of_parts = |of: &[usize]| [&[self.parts], of].concat();
        let mut tensors = vec![
            TensorSpec::dense("o_parts", Access::Read, self.dtype, of_parts(&o), Some(axis + 1)),
            TensorSpec::dense("lse_parts", Access::Read, Dtype::F32, of_parts(&lse), Some(2)),
        ];
        if let Some(name) = &self.sink_logits {
            tensors.push(TensorSpec::dense(name.clone(), Access::Read, Dtype::F32, vec![heads], Some(0)));
        }
        tensors.push(TensorSpec::dense("o", Access::Write, self.dtype, o, Some(axis)));
        tensors.push(TensorSpec::dense("lse", Access::Write, Dtype::F32, lse, Some(1)));
        tensors
    }
}

impl Options for Combine {
    const OPERATOR: &'static str = "combine";

    const OPTIONS: &'static [OptionRow<Self>] = &[
        layout_row!("order of the dimensions of o and its parts (default: bhtd)"),
        name_row!(
            "sink_logits",
            sink_logits,
            "a tensor [H] of logits that enter the softmax denominators, and nothing else",
            "sinks"
        ),
    ];

    fn dtype_mut(&mut self) -> &mut Dtype {
        &mut self.dtype
    }

    fn stored_as(&self) -> Dtype {
        self.dtype
    }
}
