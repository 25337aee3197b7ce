//! Caches on disk. They never fail an engine, and nothing read from them is trusted.

mod checks;
mod facts;
mod files;
mod key;
mod pipelines;

pub(crate) use checks::PassedChecks;
pub(crate) use facts::KnownFacts;
pub(crate) use files::default_dir;
pub(crate) use pipelines::StoredPipelines;
