//! The vocabulary of descriptions: storage types, layouts, tensors, option tables.

mod described;
mod dtype;
mod integers;
mod layout;
mod option_value;
pub(crate) mod options;
pub(crate) mod read;
pub(crate) mod storage;
mod tensor;
mod tensor_spec;
mod work;

/// Pages are whole steps of the loads of every variant that reads them.
pub(crate) const PAGE_UNIT: usize = 16;

pub use described::Described;
pub use dtype::Dtype;
pub use integers::Integers;
pub use layout::{Layout, Strides};
pub use option_value::{OptionMap, OptionValue};
pub use options::OptionSpec;
pub use tensor::{HostTensor, TensorData};
pub(crate) use tensor::{check_integers, integer, tensor_named};
pub use tensor_spec::{Access, Name, TensorSpec};
pub use work::Work;
