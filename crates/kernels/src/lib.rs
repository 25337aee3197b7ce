//! What Foveal computes: operator descriptions, references in f64, and plans.
//!
//! Nothing here touches a GPU, a clock or a file. An operator is described by plain data that implements [`Problem`];
//! [`Problem::plan`] turns the description and an [`AdapterProfile`] into a [`Plan`]: which shaders, specialised how,
//! dispatched over what, and why. [`Problem::reference`] computes what the answer has to be, from the definition.
//!
//! ```
//! use foveal_kernels::{AdapterProfile, Constraints, Problem, attention::{Attention, Shape}};
//!
//! let spec = Attention::new(Shape::bhtd(1, 8, 1024, 64)).causal();
//! let plan = spec.plan(&AdapterProfile::webgpu_floor(), &Constraints::default())?;
//! assert_eq!(plan.variant, "tiled");
//! println!("{plan}");
//! # Ok::<(), foveal_kernels::Error>(())
//! ```

mod adapter;
pub mod attention;
pub mod block_mask;
mod checked;
mod choose;
pub mod combine;
mod compare;
mod cost;
mod dtype;
mod error;
mod explain;
pub mod expr;
mod layout;
pub mod linear_attention;
mod operator;
mod operator_spec;
mod options;
mod parallel;
mod plan;
mod plan_builder;
mod random;
mod ranges;
mod read;
mod storage;
mod suggest;
mod tensor;
mod turns;

/// The operators' problems and what describes them, as the engine's root has them too.
pub mod specs {
    pub use crate::attention::{Attention, DeviceBlockMask, Mask, Shape};
    pub use crate::block_mask::{BlockGrid, BlockMask};
    pub use crate::combine::Combine;
    pub use crate::linear_attention::{Gate, LinearAttention, LinearShape, Rule};
}

pub use adapter::{AdapterKind, AdapterProfile, Features, Limits, Maths, Rates};
pub use checked::Checked;
pub use compare::{Comparison, Expected, Tolerance, Worst, compare};
pub use dtype::Dtype;
pub use error::{Error, ErrorKind, Place};
pub use layout::{Layout, Strides};
pub use operator::{
    Case, Constraints, Operator, OptionSpec, Problem, Recipe, Rows, VariantInfo, Work, operator, operators,
};
pub use plan::{
    Access, Cost, Name, ParamValue, Pass, PassBinding, Plan, RejectedVariant, Scratch, Source, TensorSpec,
};
pub use suggest::did_you_mean;
pub use tensor::{HostTensor, TensorData};
