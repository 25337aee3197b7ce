//! The device: adapters, error scopes, what is known of it and remembered on disk.

pub(crate) mod adapters;
pub(crate) mod facts;
pub(crate) mod gpu;
pub(crate) mod matrix;
mod matrix_probe;
pub(crate) mod profile;
pub(crate) mod scope;
pub(crate) mod store;
pub(crate) mod trusted;
