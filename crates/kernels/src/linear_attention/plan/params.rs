//! The uniform of the linear attention kernels: `shaders/linear_attention/problem.wgsl` declares it.

use super::bindings::Partition;
use crate::{
    Error, Name, ParamValue, Strides,
    linear_attention::{LinearAttention, StateLayout},
    plan::{
        builder::{Params, u32_params},
        partition::u32_of,
    },
};

/// Where a tensor's rows lie relative to its binding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowLayout {
    /// Of element `[0, 0, 0, 0]` of the whole tensor, modulo 2^32.
    pub(crate) base: u32,
    pub(crate) strides: Strides,
}

impl RowLayout {
    /// The rows of every `queries`-th head from head `query` on.
    pub(crate) fn of_query(self, query: usize, queries: usize) -> Self {
        let Strides { head, .. } = self.strides;
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 on purpose")]
        let base = self.base.wrapping_add((query * head) as u32);
        Self { base, strides: Strides { head: head * queries, ..self.strides } }
    }
}

impl Default for RowLayout {
    fn default() -> Self {
        Self { base: 0, strides: Strides { batch: 0, head: 0, position: 0 } }
    }
}

/// Where all tensors lie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowLayouts {
    pub(crate) q: RowLayout,
    pub(crate) k: RowLayout,
    pub(crate) v: RowLayout,
    pub(crate) x: RowLayout,
    pub(crate) o: RowLayout,
    pub(crate) g: RowLayout,
    pub(crate) beta: RowLayout,
    pub(crate) state: u32,
    /// `states` and `window_states`.
    pub(crate) kept: [u32; 2],
}

/// Where a dispatch begins, and how it cuts sequences.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct First {
    pub(crate) sequence: usize,
    pub(crate) head: usize,
    pub(crate) slot: usize,
    pub(crate) segments: Segments,
}

/// How sequences are cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    /// Chunks of a segment.
    pub(crate) chunks: usize,
    /// Segments of a sequence, at most.
    pub(crate) count: usize,
}

impl Default for Segments {
    fn default() -> Self {
        Self { chunks: 1, count: 1 }
    }
}

impl LinearAttention {
    /// All fields of the problem's uniform, for a dispatch of a partition.
    pub(crate) fn params(
        &self,
        places: &RowLayouts,
        partition: &Partition,
        first: First,
    ) -> Result<Params, Error> {
        let (key_dim, value_dim) = (self.key_dim(), self.value_dim);
        let (channel, column) = match self.state_layout {
            StateLayout::Kv => (value_dim, 1),
            StateLayout::Vk => (1, key_dim),
        };
        let mut params = u32_params([
            ("len", self.len),
            ("value_heads", self.value_heads),
            ("group", self.group()),
            ("key_dim", key_dim),
            ("value_width", value_dim),
            ("first_sequence", first.sequence),
            ("first_head", first.head),
            ("piece_sequence", partition.batch.0),
            ("piece_head", partition.heads.0),
            ("sequences", self.states()),
            ("chunks", self.chunks()),
            ("slots", self.slots(partition)),
            ("first_slot", first.slot),
            ("piece_sequences", self.sequences_of(partition)),
            ("segment_chunks", first.segments.chunks),
            ("segments", first.segments.count),
            ("state_pair", key_dim * value_dim),
            ("state_channel", channel),
            ("state_column", column),
            ("checkpoint_rows", self.checkpoint_rows()),
            ("checkpoints", self.checkpoints()),
            ("window", self.state_window.unwrap_or(0)),
        ])?;
        // Positions are compared with signed lengths.
        if self.len > i32::MAX as usize / 2 {
            return Err(Error::limit("u32 range", format!("len is {}, at most 2^30 is served", self.len)));
        }
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what the device computes in")]
        let [scale, eps] = [self.resolved_scale() as f32, self.eps as f32];
        params.push(("scale".into(), ParamValue::F32(scale)));
        params.push(("eps".into(), ParamValue::F32(eps)));
        params.push(("state_base".into(), ParamValue::U32(places.state)));
        params.push(("checkpoints_base".into(), ParamValue::U32(places.kept[0])));
        params.push(("window_base".into(), ParamValue::U32(places.kept[1])));
        for (fields, place) in [
            (["q_base", "q_batch", "q_head", "q_row"], places.q),
            (["k_base", "k_batch", "k_head", "k_row"], places.k),
            (["v_base", "v_batch", "v_head", "v_row"], places.v),
            (["x_base", "x_batch", "x_head", "x_row"], places.x),
            (["o_base", "o_batch", "o_head", "o_row"], places.o),
            (["g_base", "g_batch", "g_head", "g_row"], places.g),
            (["beta_base", "beta_batch", "beta_head", "beta_row"], places.beta),
        ] {
            let Strides { batch, head, position } = place.strides;
            let values = [
                place.base,
                u32_of("batch stride", batch)?,
                u32_of("head stride", head)?,
                u32_of("row stride", position)?,
            ];
            params.extend(fields.map(Name::from).into_iter().zip(values.map(ParamValue::U32)));
        }
        Ok(params)
    }
}
