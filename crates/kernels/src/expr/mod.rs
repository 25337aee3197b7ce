//! The language of masks and scores.
//!
//! One text serves every caller and both sides of every check: it is parsed into a tree, bound to the tables it reads
//! ([`Program`]), and then evaluated in f64 for the reference, over intervals to classify blocks, and emitted as WGSL.

mod arithmetic;
mod bind;
mod bounds;
pub mod build;
mod check;
mod classify;
mod dependence;
pub mod emit;
mod error;
mod eval;
pub(crate) mod examine;
mod expression;
mod fold;
mod interval;
mod lexer;
mod linear;
mod lower;
mod names;
mod nodes;
mod notes;
mod parser;
mod plan;
mod print;
mod program;
mod random;
mod runs;
mod shapes;
mod steps;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use bounds::sizes_needed;
pub use bounds::{Complaint, check, check_lengths, index_needs_clamp};
pub use classify::{Class, Classifier, Region};
pub use error::ExprError;
pub use eval::{Evaluator, Scratch};
pub(crate) use eval::{StepErrors, UNIT};
pub use expression::{Expr, ExprKind, Structural};
pub use interval::ValueRange;
pub use names::is_table_name;
pub use program::{
    Comparison, EntryLengths, Op, OwnLengths, Program, Shape, Sizes, Step, StepId, Table, Type, Variable,
};
