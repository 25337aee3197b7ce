//! Bounds over blocks of queries and keys, and the facts that they prove.

pub(super) mod bounds;
pub(super) mod class;
pub(super) mod classify;
mod conditions;
pub(crate) mod examine;
pub(super) mod interval;
pub(super) mod linear;
pub(super) mod nodes;
pub(super) mod notes;
pub(super) mod operations;
pub(super) mod plan;
pub(super) mod runs;
pub(super) mod shapes;
