//! The list of variants.

use super::{broadcast, chunked, recurrent};
use crate::{linear_attention::LinearAttention, operator::Variant};

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
