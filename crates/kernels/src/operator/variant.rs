//! Variants of an operator, and what they propose for a problem.

use super::{OperatorSpec, VariantInfo};
use crate::{AdapterProfile, Cost, spec::options::for_terminals};

/// A variant: its name, and a proposal or the reason why there is none.
pub(crate) struct Variant<S: OperatorSpec> {
    /// Name and summary.
    pub(crate) info: VariantInfo,
    pub(crate) propose: Propose<S>,
}

type Propose<S> = fn(Subject<'_, '_, S>, &AdapterProfile) -> Result<Candidate<S>, String>;

/// What a variant proposes for.
pub(crate) struct Subject<'a, 'b, S: OperatorSpec> {
    pub(crate) spec: &'a S,
    pub(crate) analysis: &'a S::Analysis<'b>,
}

impl<S: OperatorSpec> Variant<S> {
    pub(crate) fn new(name: &'static str, summary: &'static str, propose: Propose<S>) -> Self {
        Self { info: VariantInfo { name, summary: for_terminals(summary) }, propose }
    }
}

/// A variant's proposal for a problem on an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<S: OperatorSpec> {
    /// The variant's name.
    pub(crate) variant: &'static str,
    /// Tile sizes and other choices worth showing.
    pub(crate) tiles: Vec<(String, String)>,
    pub(crate) threads: u32,
    pub(crate) workgroup_bytes: u32,
    /// What it is estimated to cost.
    pub(crate) cost: Cost,
    pub(crate) schedule: S::Schedule,
}
