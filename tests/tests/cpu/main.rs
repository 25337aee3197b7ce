//! What can be tested without a GPU.

mod chunks;
mod conditioning;
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
mod self_check_problems;
mod values;
mod mask_program;
