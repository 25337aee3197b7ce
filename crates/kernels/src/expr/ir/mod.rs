//! The primitive steps that an expression means, which evaluation, intervals and WGSL all follow.

pub(super) mod arithmetic;
pub(super) mod bind;
pub(super) mod dependence;
pub(super) mod lower;
pub(super) mod program;
pub(super) mod steps;
