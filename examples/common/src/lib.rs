//! What the larger examples have in common and is no matter of Foveal's: opening a device, exit codes, writing a picture.

mod failure;
mod host;
mod place;

pub use failure::Failure;
pub use host::Host;
pub use place::Place;
