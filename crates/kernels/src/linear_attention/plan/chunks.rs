//! The chunks that sequences are cut into.

use super::bindings::Partition;
use crate::linear_attention::{Gate, LinearAttention};

/// Rows of a chunk.
pub(crate) const CHUNK: usize = 64;

/// Rows and columns of the tiles that workgroups of the parallel passes compute.
pub(crate) const TILE: usize = 64;

impl LinearAttention {
    /// Chunks of each sequence, if sequences are not packed.
    pub(crate) fn chunks(&self) -> usize {
        (self.len * self.kernel_steps()).div_ceil(CHUNK)
    }

    /// Slots of a partition's chunks; see `shaders/linear_attention/chunk.wgsl`.
    pub(crate) fn slots(&self, partition: &Partition) -> usize {
        match self.packed() {
            Some(count) => self.len * self.kernel_steps() / CHUNK + count,
            None => (partition.batch.1 - partition.batch.0) * self.chunks(),
        }
    }

    /// Whether kernels take each channel to have gates of its own. A bonus is a matter of channels, too.
    pub(crate) fn by_channels(&self) -> bool {
        self.gate == Gate::Vector || self.bonus.is_some()
    }

    /// Widths as the kernels have them.
    pub(crate) fn padded(&self) -> (usize, usize) {
        (self.key_dim().next_multiple_of(4), self.value_dim.next_multiple_of(4))
    }

    /// Pairs of a slot and a value head of a partition.
    pub(crate) fn pairs(&self, partition: &Partition) -> usize {
        self.slots(partition) * (partition.heads.1 - partition.heads.0)
    }
}

/// Channels below which an erase key that is not k is left to variants that go row by row.
const FEW_CHANNELS: usize = 16;

/// Why a problem is left to variants that go row by row, if it is. Unit keys of a few channels point along or against each other:
/// what is erased then grows by up to 1 + beta a row, and a chunk's inverse with it, even that of eight rows (to 3^8 with beta 2).
/// The row that erases it all again leaves a difference of large numbers of the chunk, where a state that is carried from row to
/// row is erased exactly.
pub(crate) fn grows(spec: &LinearAttention) -> Option<&'static str> {
    (spec.erase_key.is_some() && spec.key_dim() < FEW_CHANNELS).then_some(
        "an erase key of its own in fewer than 16 channels lets inverses of chunks grow beyond what f32 holds",
    )
}
