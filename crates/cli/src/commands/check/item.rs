//! Items of a check, and their results.

use std::path::PathBuf;

use foveal::testing::{Status, VariantCheck};
use foveal_kernels::{Name, testing::Case};

/// A case or a golden file to check.
pub(super) struct Item {
    pub(super) operator: &'static str,
    pub(super) name: String,
    /// The command that shows this case alone.
    pub(super) repro: String,
    pub(super) what: What,
}

pub(super) enum What {
    Case(Case),
    Golden(PathBuf),
}

/// The result of one item.
pub(super) struct ItemResult {
    pub(super) status: Status,
    pub(super) tried: Vec<VariantCheck>,
    pub(super) reason: Option<String>,
    pub(super) repro: String,
    /// Queries that see no key, of how many: as the reference has it.
    pub(super) blind: Option<[usize; 2]>,
    /// How far each output can be from that of unquantised inputs, by their rounding to integers alone.
    pub(super) quantisation: Vec<(Name, f64)>,
}
