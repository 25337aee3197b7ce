//! What is remembered on disk. Nothing here can fail an engine, and nothing read here is trusted.

mod checks;
mod facts;
mod files;
mod pipelines;

pub(crate) use checks::PassedChecks;
pub(crate) use facts::KnownFacts;
pub(crate) use files::default_dir;
pub(crate) use pipelines::StoredPipelines;

use foveal_kernels::AdapterProfile;
use xxhash_rust::xxh3::xxh3_128;

/// Files of one version are foreign to another: plans, shaders and what is known of drivers change.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What files are named by: adapter, driver, API and Foveal's version.
fn key(profile: &AdapterProfile, more: &str) -> u128 {
    xxh3_128(format!("{VERSION}\n{}\n{more}", profile.key()).as_bytes())
}
