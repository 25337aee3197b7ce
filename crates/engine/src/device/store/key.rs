//! Names of files.

use foveal_kernels::AdapterProfile;
use xxhash_rust::xxh3::xxh3_128;

/// Files of one version are foreign to another: plans, shaders and what is known of drivers change.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// File names: adapter, driver, API and Foveal's version.
pub(crate) fn key(profile: &AdapterProfile, more: &str) -> u128 {
    xxh3_128(format!("{VERSION}\n{}\n{more}", profile.key()).as_bytes())
}
