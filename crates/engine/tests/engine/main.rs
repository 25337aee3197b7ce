//! The engine on any adapter that is there, with a problem of a few lines instead of attention.
//!
//! `FOVEAL_ADAPTER` chooses the adapter; `FOVEAL_REQUIRE_GPU=1` makes a missing one a failure.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests report by panicking, as tests do")]
#![expect(clippy::cast_possible_truncation, reason = "test sizes are small")]

mod common;
mod lost;
mod roofline;
mod run;
mod self_check;
