//! Kernels: prepared, bound to tensors, recorded whole or in part.

pub(crate) mod bind_groups;
pub(crate) mod binding;
pub(crate) mod bound_kernel;
pub(crate) mod dispatch;
pub(crate) mod dispatch_offsets;
pub(crate) mod dispatch_timeline;
pub(crate) mod grid_partition;
pub(crate) mod kernel_pass;
pub(crate) mod prepared;
pub(crate) mod tensors;
