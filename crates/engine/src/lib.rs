//! Foveal runs attention, and what is like it, on any GPU through wgpu.
//!
//! A problem is described by plain data, *planned* for an adapter, *prepared* (compiled, and checked against a
//! reference on this very adapter) and then recorded into the caller's own command encoder. Nothing is submitted behind
//! the caller's back.
//!
//! ```no_run
//! use foveal::{Engine, HostTensor, Options, Problem};
//!
//! # async fn example(problem: &dyn Problem, inputs: &[(&str, &HostTensor)]) -> Result<(), foveal::Error> {
//! let engine = Engine::new(Options::default()).await?; // or Engine::from_device, on a device of the host's
//! let plan = engine.plan(problem)?;
//! println!("{plan}"); // which variant, which tiles, how much memory, and why
//! let kernel = engine.prepare(&plan).await?;
//! for (name, tensor) in engine.run(&kernel, inputs).await? {
//!     println!("{name}: {:?}", tensor.shape());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! To be part of a frame, use [`Kernel::encode`] with buffers of your own instead of [`Engine::run`]; to be part of many,
//! [`Kernel::slices`].
//!
//! Functions that are `async` do their waiting on the thread that polls them on native backends, so that any executor
//! will do; in a browser the event loop waits.
//!
//! Device errors come back as values of [`Error`]. This crate installs no handler on a device that it did not open,
//! never panics on what a caller or a driver does, and gives up on a device that does not answer
//! ([`Options::wait_limit`]).
#![cfg_attr(
    target_family = "wasm",
    expect(
        clippy::arc_with_non_send_sync,
        reason = "a browser's objects stay on their thread; natively they do not"
    )
)]

mod adapters;
mod bind_groups;
mod binding;
mod calibrate;
mod dispatch_offsets;
mod dispatch_timeline;
mod engine;
mod error;
mod facts;
mod gpu;
mod grid_partition;
mod kernel;
mod options;
mod params;
mod pipeline;
mod pool;
mod prepare;
mod profile;
mod roofline;
mod run;
mod scope;
mod self_check;
mod slices;
mod store;
mod submit;
mod tensor;
mod timing;
mod trusted;
mod variant_check;

/// The examples in the documents, compiled as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/EMBEDDING.md")]
    mod embedding {}
    #[doc = include_str!("../../../docs/EXPRESSIONS.md")]
    mod expressions {}
    #[doc = include_str!("../../../docs/OPERATORS.md")]
    mod operators {}
}

pub use foveal_kernels::specs::*;
pub use foveal_kernels::{
    self as kernels, Access, AdapterKind, AdapterProfile, Checked, Comparison, Constraints, Dtype, Expected,
    HostTensor, Maths, Operator, Place, Plan, Problem, Rates, RejectedVariant, Rows, TensorData, TensorSpec,
    Tolerance, Work, compare, operator, operators,
};
pub use foveal_shaders as shaders;
/// The graphics API, in the version that buffers and encoders have to come from.
pub use wgpu;

pub use adapters::{AdapterInfo, adapters};
pub use binding::Binding;
pub use engine::Engine;
pub use error::{Error, ErrorKind};
pub use kernel::{Kernel, SelfCheckReport};
pub use options::{AdapterChoice, Options, SelfCheck};
pub use roofline::Roofline;
pub use slices::{Job, Progress, Slices};
pub use tensor::{DeviceTensor, Input};
pub use timing::{Clock, Timing, Timings};
pub use variant_check::{Status, VariantCheck};
