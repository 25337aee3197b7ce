//! The list of variants.

use super::{
    broadcast, decode,
    mask_program::MaskProgram,
    matrix,
    variants::{Candidate, naive, tiled},
};
use crate::{AdapterProfile, attention::Attention, operator::Variant};

pub(crate) fn variants() -> Vec<Variant<Attention>> {
    vec![
        Variant::new(
            "tiled",
            "register tiles fed through workgroup memory; default WebGPU limits, no optional feature",
            |of, adapter| unless_split(of.spec, of.analysis, adapter, tiled),
        ),
        Variant::new(
            "broadcast",
            "a lane owns rows, each key is loaded once a subgroup and spread; for drivers that run on the CPU, with \
             subgroups of any width from 4",
            |of, adapter| unless_split(of.spec, of.analysis, adapter, broadcast::propose),
        ),
        Variant::new(
            "decode",
            "for up to 16 rows a key/value head: keys and values are streamed once for all of them, in parts that fill a GPU; with \
             subgroups or without",
            |of, adapter| decode::propose(of.spec, of.analysis, adapter),
        ),
        Variant::new(
            "matrix",
            "products by the adapter's matrix units, f16 added in f32: for f16, or with `precision` f16; where the adapter lists \
             such matrices",
            |of, adapter| unless_split(of.spec, of.analysis, adapter, matrix::propose),
        ),
        Variant::new(
            "naive",
            "one thread a row, no tiles: the shortest text, to read and to compare with",
            |of, adapter| unless_split(of.spec, of.analysis, adapter, naive),
        ),
    ]
}

type Propose = fn(&Attention, &MaskProgram<'_>, &AdapterProfile) -> Result<Candidate, String>;

/// The proposal of another variant than `decode`, which alone serves few rows with a fixed number of splits: a choice by cost would
/// depend on the batch, and so would a request's bits.
fn unless_split(
    spec: &Attention,
    visibility: &MaskProgram<'_>,
    adapter: &AdapterProfile,
    propose: Propose,
) -> Result<Candidate, String> {
    if spec.splits.is_some() && decode::serves(spec, adapter) {
        Err("`splits` of few rows are left to decode, whatever the batch".into())
    } else {
        propose(spec, visibility, adapter)
    }
}
