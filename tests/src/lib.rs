//! Helpers of Foveal's test tiers: adapter profiles, every planned kernel, translation, other platforms' compilers, golden files, and the harness
//! that runs a kernel between guard words.
//!
//! The tiers are this package's integration tests: `cpu` needs no GPU, `no_gpu` runs on wgpu's noop backend, `gpu` on
//! an adapter. `tools/test.sh` runs all of them.

pub mod compilers;
pub mod device;
pub mod files;
pub mod golden;
pub mod harness;
pub mod host;
pub mod linear;
pub mod parallel;
pub mod planned;
pub mod profiles;
pub mod reflection;
pub mod spirv_val;
pub mod translate;
pub mod wrong;

use std::io::Write;

/// Prints a line whether or not the test runner captures output.
pub fn say(line: &str) {
    // A test does not fail for want of a reader of its output.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Says that something was not tested. `tools/test.sh` counts these lines.
pub fn skipped(what: &str, why: &str) {
    say(&format!("SKIPPED: {what}: {why}"));
}
