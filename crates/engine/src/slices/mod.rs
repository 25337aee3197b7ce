//! Kernels spread over frames.

pub(crate) mod calibrate;
pub(crate) mod job;
