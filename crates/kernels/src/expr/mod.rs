//! The language of masks and scores.
//!
//! One text serves every caller and both sides of every check: it is parsed into a tree, bound to the tables it reads
//! ([`Program`]), and then evaluated in f64 for the reference, over intervals to classify blocks, and emitted as WGSL.

mod bind;
pub mod build;
mod check;
mod error;
mod expression;
mod fold;
mod lexer;
mod lower;
mod names;
mod parser;
mod print;
mod program;
mod random;
mod steps;
mod tree;

pub use error::ExprError;
pub use expression::{Expr, ExprKind, Structural};
pub use names::is_table_name;
pub use program::{Comparison, Element, Op, Program, Shape, Sizes, Step, StepId, Table, Type, Variable};
