//! On an adapter: every operator, case and variant against the reference, and what else only a device can show.
//!
//! Without an adapter every test is SKIPPED, and says so; `FOVEAL_REQUIRE_GPU=1` makes that a failure. Tests share two
//! engines, so that most pipelines are compiled once; what fails is left in the target folder's `tmp`.

mod adversarial;
mod append;
mod cases;
mod conditioning;
mod decode;
mod deterministic;
mod expressions;
mod golden;
mod lengths;
mod linear;
mod linear_isolation;
mod linear_nonfinite;
mod lists;
mod loops;
mod lost;
mod matrix;
mod not_finite;
mod partitions;
mod rolled;
mod self_check;
mod serving;
mod shared_prefix;
mod slices;
mod split_kv;
mod strided;
mod visibility;

use std::path::Path;

/// Where failing tests leave both sides.
fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// An engine that tests share, or the end of the test: there is no adapter.
macro_rules! engine_or_skip {
    () => {
        match foveal_tests::device::shared(module_path!())? {
            Some(engine) => engine,
            None => return Ok(()),
        }
    };
}
pub(crate) use engine_or_skip;
