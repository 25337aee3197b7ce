//! Foveal as a guest in a host's engine: the host's device, encoder, buffers, and patience.
//!
//! Without an adapter every test is SKIPPED, and says so; `FOVEAL_REQUIRE_GPU=1` makes that a failure.

mod allocations;
mod borrowed;
mod interleaved;
mod lost;
mod memory;
mod tensors;
mod threads;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: with two threads that submit, wgpu 30 can panic while it polls
/// (<https://github.com/gfx-rs/wgpu/pull/9958>), and allocations are counted.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host, or the end of the test: there is no adapter.
macro_rules! host_or_skip {
    () => {
        match foveal_tests::host::Host::open(module_path!())? {
            Some(host) => host,
            None => return Ok(()),
        }
    };
}
pub(crate) use host_or_skip;

/// Options that leave no trace on disk and find none.
fn options() -> foveal::Options {
    foveal_tests::device::options()
}
