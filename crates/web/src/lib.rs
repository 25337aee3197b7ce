//! Foveal in the browser: the engine behind `js/foveal.js`, which is what pages import.
//!
//! This layer is thin and knows no operator by name. Problems come as an operator's name, options as JSON text and a list
//! of tensors; results go back the same way. Types, classes and checks of arguments are the JavaScript's, whose interface
//! is `js/foveal.d.ts`. Functions here are not meant to be called by anybody else.

mod describe;
mod device;
mod explain;
mod failure;
mod kernels;
mod mask;
mod objects;
mod prepared;
mod shaders;
mod tensors;
mod variant_check;

pub use describe::{inputs, recipes, reference};
pub use device::Device;
pub use failure::on_panic;
pub use mask::mask;
pub use prepared::{Bound, Encoder, PreparedKernel};
pub use shaders::case_shaders;
pub use variant_check::{Trial, cases};
