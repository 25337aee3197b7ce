//! The buffer of preprocessed inputs: its regions, and where a partition's rows lie in them.

use super::{
    bindings::{Partition, heads_for},
    params::RowLayout,
};
use crate::{
    Error, Limits, Strides,
    linear_attention::{Direction, FeatureMap, Gate, Key, LinearAttention, Rule},
    plan::builder::{Params, u32_params},
};

/// The tensors of the buffer, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    Q,
    K,
    V,
    X,
    G,
}

impl LinearAttention {
    /// Whether the inputs go through the buffer on adapters with these limits.
    pub(crate) fn is_prepared(&self, limits: &Limits) -> bool {
        self.feature_map != FeatureMap::Identity
            || self.erases_by_another()
            || self.dt.is_some()
            || self.key == Key::Decay
            || self.direct_bindings() > limits.max_storage_buffers_per_shader_stage as usize
    }

    /// Whether what is erased is read with another key than k.
    pub(crate) fn erases_by_another(&self) -> bool {
        self.rule == Rule::Dplr || self.erase_key.is_some()
    }

    /// Rows a token of what the kernels see. The rule dplr is two delta steps: one that only erases, by a and -b, and one that
    /// only writes.
    pub(crate) fn kernel_steps(&self) -> usize {
        if self.rule == Rule::Dplr { 2 } else { self.steps }
    }

    /// Whether gates are multiplied by step sizes.
    pub(crate) fn scales_gates(&self) -> bool {
        self.dt.is_some() && self.gate != Gate::None
    }

    /// Whether something that is computed apart is added to outputs.
    pub(crate) fn adds_to_outputs(&self) -> bool {
        self.direction == Direction::Both || self.skip.is_some()
    }

    /// Strides of what is added to outputs, as f32: those of one query of each state.
    pub(crate) fn partial_strides(&self) -> Strides {
        let width = self.value_dim.next_multiple_of(4);
        let head = self.len * width;
        Strides { batch: self.value_heads * head, head, position: width }
    }

    fn regions(&self) -> Vec<Region> {
        let mut regions = vec![Region::Q, Region::K, Region::V];
        regions.extend(self.erases_by_another().then_some(Region::X));
        regions.extend(self.scales_gates().then_some(Region::G));
        regions
    }

    /// Heads, rows and padded width of a region.
    fn region_size(&self, region: Region) -> (usize, usize, usize) {
        let rows = self.len * self.kernel_steps();
        let (key_dim, value_dim) = (self.key_dim().next_multiple_of(4), self.value_dim.next_multiple_of(4));
        match region {
            Region::Q => (self.heads_of_q(), self.len, key_dim),
            Region::K | Region::X => (self.heads, rows, key_dim),
            Region::V => (self.value_heads, rows, value_dim),
            Region::G if self.gate == Gate::Vector => (self.value_heads, self.len, key_dim),
            Region::G => (self.value_heads, self.len, 4),
        }
    }

    pub(crate) fn heads_of(&self, region: Region, partition: &Partition) -> (usize, usize) {
        heads_for(self.region_size(region).0, self.value_heads, partition)
    }

    /// Where a region of a partition lies, and the element after its end.
    pub(crate) fn region(&self, region: Region, partition: &Partition) -> (RowLayout, usize) {
        let mut base = 0;
        for each in self.regions() {
            let (_, rows, dim) = self.region_size(each);
            let heads = self.heads_of(each, partition);
            let strides =
                Strides { batch: (heads.1 - heads.0) * rows * dim, head: rows * dim, position: dim };
            let end = base + (partition.batch.1 - partition.batch.0) * strides.batch;
            if each == region {
                let first = partition.batch.0 * strides.batch + heads.0 * strides.head;
                #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 on purpose")]
                let base = (base as u32).wrapping_sub(first as u32);
                return (RowLayout { base, strides }, end);
            }
            base = end;
        }
        (RowLayout::default(), base)
    }

    /// Bytes of the buffer for a partition.
    pub(crate) fn preprocessed_bytes(&self, partition: &Partition) -> u64 {
        let last = self.regions().last().copied().unwrap_or(Region::V);
        4 * self.region(last, partition).1 as u64
    }
}

/// The uniform of `shaders/shared/widths.wgsl`: only formats of uneven rows ask for it.
pub(crate) fn width_params(head_dim: usize, value_dim: usize) -> Result<Params, Error> {
    u32_params([("head_dim", head_dim), ("value_dim", value_dim)])
}
