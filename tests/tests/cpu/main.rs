//! Tests that need no GPU.

mod append;
mod chunks;
mod circles;
mod combine;
mod conditioning;
mod decode;
mod documents;
mod golden;
mod kernels;
mod layering;
mod linear;
mod linear_options;
mod linear_tasks;
mod loops;
mod mask_program;
mod matrix;
mod options;
mod plans;
mod properties;
mod reference;
mod self_check_problems;
mod serving;
mod snapshots;
mod types;
mod values;
