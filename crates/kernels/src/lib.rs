//! The problems that Foveal computes: operator descriptions, references in f64, and plans.
//!
//! Nothing here touches a GPU, a clock or a file. An operator is described by plain data that implements [`Problem`];
//! [`Problem::plan`] turns the description and an [`AdapterProfile`] into a [`Plan`]: which shaders, specialised how,
//! dispatched over what, and why. [`testing::Reference::reference`] computes what the answer has to be, from the definition.
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
pub mod append;
pub mod attention;
pub mod block_mask;
mod check;
pub mod combine;
mod error;
pub mod expr;
pub mod linear_attention;
mod operator;
mod operators;
mod parallel;
mod plan;
mod rope;
mod spec;
mod suggest;

/// The operators' problems and what describes them, as the engine's root has them too.
pub mod specs {
    pub use crate::append::{Append, CacheDtype};
    pub use crate::attention::{
        Attention, BlockSparsity, DeviceBlockMask, Integers, Mask, Pages, Quantised, Rotary, Scale, Shape,
    };
    pub use crate::block_mask::{BlockGrid, BlockMask};
    pub use crate::combine::Combine;
    pub use crate::linear_attention::{Gate, Lengths, LinearAttention, LinearShape, Rule};
    pub use crate::rope::Pairing;
}

/// References, comparisons and random inputs: how results are held to what they have to be.
pub mod testing {
    pub use crate::check::{
        Checked, Comparison, Expected, GateDistribution, InputDistribution, Reference, Rows,
        TableDistribution, Tolerance, Worst, compare, unchanged,
    };
    pub use crate::operator::Case;
}

pub use adapter::{AdapterKind, AdapterProfile, Features, Limits, Maths, MatrixUnit, Rates};
pub use error::{Error, ErrorKind, TextSpan};
pub use operator::{Operator, Recipe, VariantInfo};
pub use operators::{operator, operators};
pub use plan::{
    BoundTo, Constraints, Cost, ParamValue, Pass, PassBinding, Plan, Problem, RejectedVariant, Scratch,
};
pub use spec::{
    Access, Described, Dtype, HostTensor, Layout, Name, OptionMap, OptionSpec, OptionValue, Strides,
    TensorData, TensorSpec, Work,
};
pub use suggest::did_you_mean;
