//! Submissions of the engine's own.

pub(crate) mod host;
pub(crate) mod roofline;
pub(crate) mod submit;
pub(crate) mod timing;
