//! The variants: how each would go about a problem, and what that would cost.

use super::{
    LinearAttention,
    bindings::Partition,
    broadcast, chunked,
    passes::{PlanBuilder, Run},
    recurrent,
};
use crate::{AdapterProfile, Cost, Error, VariantInfo};

/// A variant's proposal for a problem on an adapter.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) variant: &'static str,
    pub(super) tiles: Vec<(String, String)>,
    pub(super) threads: u32,
    pub(super) workgroup_bytes: u32,
    pub(super) cost: Cost,
    pub(super) schedule: Schedule,
}

/// Sizes that a variant's shaders are made for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Schedule {
    /// Token by token.
    Recurrent(recurrent::Sizes),
    /// Chunk by chunk, in passes over all of them.
    Chunked(chunked::Sizes),
    /// Chunk by chunk, a subgroup a slice of the state.
    Broadcast(broadcast::Sizes),
}

impl Schedule {
    /// The passes that compute the outputs from inputs that are ready.
    pub(super) fn make(&self, builder: &mut PlanBuilder<'_>, run: &Run<'_>) -> Result<(), Error> {
        match self {
            Self::Recurrent(sizes) => sizes.make(builder, run),
            Self::Chunked(sizes) => sizes.make(builder, run),
            Self::Broadcast(sizes) => sizes.make(builder, run),
        }
    }

    /// Bytes of the largest scratch buffer that a partition needs, beside prepared inputs.
    pub(super) fn scratch_bytes(&self, spec: &LinearAttention, partition: &Partition) -> u64 {
        match self {
            Self::Recurrent(_) | Self::Broadcast(_) => 0,
            Self::Chunked(sizes) => sizes.scratch_bytes(spec, partition),
        }
    }

    /// What is worth saying about the passes of a problem in these partitions.
    pub(super) fn notes(&self, spec: &LinearAttention, partitions: &[Partition]) -> Vec<(String, String)> {
        match self {
            Self::Recurrent(_) | Self::Broadcast(_) => Vec::new(),
            Self::Chunked(sizes) => sizes.notes(spec, partitions),
        }
    }
}

/// A variant: its name, and a proposal or the reason why there is none.
pub(super) struct Variant {
    pub(super) info: VariantInfo,
    pub(super) propose: fn(&LinearAttention, &AdapterProfile) -> Result<Candidate, String>,
}

pub(super) fn variants() -> [Variant; 4] {
    [
        Variant {
            info: VariantInfo {
                name: "recurrent",
                summary: "token by token, the state in registers: for decoding and short sequences; default WebGPU limits",
            },
            propose: recurrent::propose,
        },
        Variant {
            info: VariantInfo {
                name: "chunked",
                summary: "chunk by chunk, as matrix products through workgroup memory: for long sequences; default WebGPU limits",
            },
            propose: chunked::propose,
        },
        Variant {
            info: VariantInfo {
                name: "segmented",
                summary: "chunked, with sequences cut in segments that run at once: for the delta rules, few heads and very long \
                          sequences; default WebGPU limits",
            },
            propose: chunked::propose_segmented,
        },
        Variant {
            info: VariantInfo {
                name: "broadcast",
                summary: "chunk by chunk, a lane owns columns of the state and loads a row of each chunk; for drivers that run on \
                          the CPU, with subgroups of 4 or 8",
            },
            propose: broadcast::propose,
        },
    ]
}
