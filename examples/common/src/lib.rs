//! Parts of the larger examples that have nothing to do with Foveal: opening a device, exit codes, printing, reading
//! and writing a picture.

mod failure;
mod host;
mod pixels;
mod place;
mod report;

pub use failure::{Failure, exit};
pub use host::Host;
pub use pixels::pixels;
pub use place::Place;
pub use report::{say, self_check, thousands, time};
