//! Attention and linear-attention kernels on any GPU, through wgpu.
//!
//! A problem is described by plain data, *planned* for an adapter, *prepared* (compiled, and checked against a reference
//! on this very adapter), *bound* to buffers and then recorded into the caller's own command encoder. Nothing is submitted
//! behind the caller's back.
//!
//! ```no_run
//! use foveal::{Attention, Shape, AttentionTensors, Engine, wgpu};
//!
//! # async fn example(device: wgpu::Device, queue: wgpu::Queue, q: wgpu::Buffer, k: wgpu::Buffer, v: wgpu::Buffer,
//! # o: wgpu::Buffer) -> Result<(), foveal::Error> {
//! let engine = Engine::from_device(device.clone(), queue.clone())?; // or Engine::new, on a device of its own
//! let spec = Attention::new(Shape::bhtd(1, 8, 1024, 64)).causal(); // q, k: [B, H, T, D]
//! let plan = engine.plan(&spec)?;
//! println!("{plan}"); // the variant, its tiles and memory, and why
//! let kernel = engine.prepare(&plan).await?;
//! let bound = kernel.bind(&AttentionTensors::new(&q, &k, &v, &o))?; // or &[("q", &q), ("k", &k), ("v", &v), ("o", &o)]
//!
//! // in every frame
//! let mut encoder = device.create_command_encoder(&Default::default());
//! bound.encode(&mut encoder); // cannot fail, and allocates nothing
//! queue.submit([encoder.finish()]);
//! # Ok(())
//! # }
//! ```
//!
//! Tensors in host memory are run by [`Engine::run`]. A kernel that takes longer than a frame has room for is spread over
//! many by [`BoundKernel::slices`].
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

mod device;
mod engine;
mod error;
mod kernel;
mod memory;
mod options;
mod prepare;
mod run;
mod slices;
pub mod testing;

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
    #[doc = include_str!("../../../docs/SERVING.md")]
    mod serving {}
}

pub use foveal_kernels::specs::*;
pub use foveal_kernels::{
    self as kernels, Access, AdapterKind, AdapterProfile, Constraints, Described, Dtype, HostTensor, Maths,
    MatrixUnit, Operator, OptionMap, OptionValue, Plan, Problem, Rates, RejectedVariant, TensorData,
    TensorSpec, TextSpan, Work, operator, operators,
};
pub use foveal_shaders as shaders;
/// The graphics API, in the version that buffers and encoders have to come from.
pub use wgpu;

pub use device::adapters::{AdapterInfo, adapters};
pub use engine::Engine;
pub use error::{Error, ErrorKind};
pub use kernel::binding::{Binding, NamedTensors};
pub use kernel::bound_kernel::BoundKernel;
pub use kernel::prepared::{Kernel, SelfCheckReport};
pub use kernel::tensors::*;
pub use memory::tensor::{DeviceTensor, Input};
pub use options::{AdapterChoice, MatrixUnits, Options, SelfCheck};
pub use run::roofline::Roofline;
pub use run::timing::{Clock, Timing, Timings};
pub use slices::job::{Job, Progress, Slices};
