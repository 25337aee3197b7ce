//! What can be tested without a GPU.

mod golden;
mod kernels;
mod layering;
mod plans;
mod properties;
mod reference;
mod snapshots;
