//! The language of masks and scores.
//!
//! One text serves every caller and both sides of every check: it is parsed into a tree, bound to the tables it reads
//! ([`Program`]), and then evaluated in f64 for the reference, over intervals to classify blocks, and emitted as WGSL.

pub(crate) mod analysis;
pub mod build;
pub mod emit;
mod eval;
mod expression;
mod ir;
mod random;
mod syntax;
#[cfg(test)]
mod tests;

pub(crate) use analysis::bounds::sizes_needed;
pub use analysis::bounds::{Complaint, check, check_lengths, index_needs_clamp};
pub use analysis::class::Class;
pub use analysis::classify::{Classifier, Region};
pub use analysis::interval::ValueRange;
pub use eval::{Evaluator, Scratch};
pub(crate) use eval::{StepErrors, UNIT};
pub use expression::{Expr, ExprKind, Structural};
pub use ir::program::{
    Comparison, EntryLengths, Op, OwnLengths, Program, Shape, Sizes, Step, StepId, Table, Type, Variable,
};
pub use syntax::error::ExprError;
pub use syntax::names::is_table_name;
