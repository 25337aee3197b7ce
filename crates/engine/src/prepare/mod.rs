//! From a plan to a kernel.

pub(crate) mod assemble;
pub(crate) mod params;
pub(crate) mod pipeline;
