//! What can be tested without a GPU.

mod golden;
mod kernels;
mod layering;
mod options;
mod plans;
mod properties;
mod reference;
mod snapshots;
mod stand_ins;
mod visibility;
