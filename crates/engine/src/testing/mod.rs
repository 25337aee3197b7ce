//! Comparing variants with their references on this adapter.

pub(crate) mod self_check;
pub(crate) mod variant_check;
