//! References, comparisons and random inputs, and variants held to them on this adapter.

pub(crate) mod self_check;
pub(crate) mod variant_check;

pub use foveal_kernels::testing::*;
pub use variant_check::{Status, VariantCheck};
