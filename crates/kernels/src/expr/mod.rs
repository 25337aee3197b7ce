//! The language of masks and scores.
//!
//! One text serves every caller and both sides of every check: it is parsed into a tree, bound to the tables it reads
//! ([`Program`]), and then evaluated in f64 for the reference, over intervals to classify blocks, and emitted as WGSL.

mod arithmetic;
mod bounds;
mod classify;
mod dependence;
pub mod emit;
mod eval;
mod interval;
mod linear;
mod nodes;
mod plan;
mod program;
mod runs;
mod shapes;
#[cfg(test)]
mod tests;

pub use bounds::{Complaint, check, index_needs_clamp};
pub use classify::{Class, Classifier, Region};
pub use eval::{Evaluator, Scratch};
pub use interval::ValueRange;
pub use program::{Comparison, Element, Op, Program, Shape, Sizes, Step, StepId, Table, Type, Variable};
