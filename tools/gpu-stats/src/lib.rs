//! Compiles WGSL compute shaders with the compilers of real GPUs, and reports the result.
//!
//! Mesa's Vulkan driver RADV has a null device: it needs no hardware, yet compiles pipelines for a GPU of choice with the
//! ACO back end that games run through. [`survey`] or a [`Compiler`] turns a [`Job`] into a [`Report`]: the driver's
//! statistics, the assembly, and the program cut into [`Part`]s with their instructions counted by class. [`model()`]
//! and [`whole`] estimate from these which share of the GPU's multiply-add peak the code can reach. [`shims`] does less for more:
//! registers, spills and occupancy of every planned kernel on newer GPUs of four makers.
//!
//! Tests compare reports with snapshots; where the driver is missing they see [`Error::NoDriver`] and are skipped.
//! README.md tells how to read the numbers and where the model ends.

pub mod assembly;
pub mod branches;
mod family;
pub mod flow;
mod model;
mod parts;
pub mod planned;
mod process;
mod report;
pub mod shims;
mod spirv;
mod vulkan;
mod worker;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use family::{Family, Unit};
pub use model::{Cost, Pipe, Setting, Whole, model, whole, whole_all_sides};
pub use parts::{Counts, HOT_FMAS, HOT_SHARE, Part, analyse, analyse_without, inner_loops, per_tile};
pub use process::LIMIT;
pub use report::{Report, Statistics};
pub use spirv::{Binding, BindingKind, Job, Spirv, translate};
pub use worker::{Compiler, ICD_VARIABLE, serve_if_asked, survey};

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Error {
    /// The driver is not installed, or has no such device. Tests report SKIPPED.
    NoDriver {
        /// The request.
        message: String,
    },
    /// The shader does not get through naga or the driver.
    Shader {
        /// The job's label.
        label: String,
        /// The compiler's message.
        message: String,
    },
    /// The driver's compiler did not finish.
    TooLong {
        /// The job's label.
        label: String,
        /// How long it was given.
        seconds: u64,
    },
    /// The worker process could not be started, or died.
    Worker {
        /// The failure.
        message: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver { message } => write!(f, "no device to compile for: {message}"),
            Self::Shader { label, message } => write!(f, "{label}: {message}"),
            Self::TooLong { label, seconds } => {
                write!(f, "{label}: the compiler was still busy after {seconds} s")
            }
            Self::Worker { message } => write!(f, "worker: {message}"),
        }
    }
}

impl std::error::Error for Error {}
