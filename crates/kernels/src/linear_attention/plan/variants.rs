//! The variants: how each would go about a problem, and what that would cost.

use super::{
    bindings::Partition,
    broadcast, chunked,
    passes::{Passes, Run},
    recurrent,
};
use crate::{
    Error,
    linear_attention::LinearAttention,
    operator::{self, Variant},
};

pub(crate) type Candidate = operator::Candidate<LinearAttention>;

/// Sizes that a variant's shaders are made for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Schedule {
    /// Token by token.
    Recurrent(recurrent::Sizes),
    /// Chunk by chunk, in passes over all of them.
    Chunked(chunked::Sizes),
    /// Chunk by chunk, a subgroup a slice of the state.
    Broadcast(broadcast::Sizes),
}

impl Schedule {
    /// The passes that compute the outputs from inputs that are ready.
    pub(crate) fn make(&self, passes: &mut Passes<'_>, run: &Run<'_>) -> Result<(), Error> {
        match self {
            Self::Recurrent(sizes) => sizes.make(passes, run),
            Self::Chunked(sizes) => sizes.make(passes, run),
            Self::Broadcast(sizes) => sizes.make(passes, run),
        }
    }

    /// Bytes of the largest scratch buffer that a partition needs, beside prepared inputs.
    pub(crate) fn scratch_bytes(&self, spec: &LinearAttention, partition: &Partition) -> u64 {
        match self {
            Self::Recurrent(_) | Self::Broadcast(_) => 0,
            Self::Chunked(sizes) => sizes.scratch_bytes(spec, partition),
        }
    }

    /// What is worth saying about the passes of a problem in these partitions.
    pub(crate) fn notes(&self, spec: &LinearAttention, partitions: &[Partition]) -> Vec<(String, String)> {
        match self {
            Self::Recurrent(_) | Self::Broadcast(_) => Vec::new(),
            Self::Chunked(sizes) => sizes.notes(spec, partitions),
        }
    }
}

pub(crate) fn variants() -> Vec<Variant<LinearAttention>> {
    vec![
        Variant::new(
            "recurrent",
            "token by token, the state in registers: for decoding and short sequences; default WebGPU limits",
            |of, adapter| recurrent::propose(of.spec, adapter),
        ),
        Variant::new(
            "chunked",
            "chunk by chunk, as matrix products through workgroup memory: for long sequences; default WebGPU limits",
            |of, adapter| chunked::propose(of.spec, adapter),
        ),
        Variant::new(
            "segmented",
            "chunked, with sequences cut in segments that run at once: for the delta rules, few heads and very long \
             sequences; default WebGPU limits",
            |of, adapter| chunked::propose_segmented(of.spec, adapter),
        ),
        Variant::new(
            "broadcast",
            "chunk by chunk, a lane owns columns of the state and loads a row of each chunk; for drivers that run on \
             the CPU, with subgroups of 4 or 8",
            |of, adapter| broadcast::propose(of.spec, adapter),
        ),
    ]
}
