//! What can be tested without a GPU.

mod chunks;
mod conditioning;
mod documents;
mod golden;
mod kernels;
mod layering;
mod linear;
mod linear_options;
mod linear_tasks;
mod loops;
mod options;
mod plans;
mod properties;
mod reference;
mod snapshots;
mod stand_ins;
mod values;
mod visibility;
