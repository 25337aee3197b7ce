//! The forms in which lists of blocks come and go.

pub(super) mod ascii;
pub(super) mod import;
pub(super) mod tensors;
pub(super) mod transforms;
