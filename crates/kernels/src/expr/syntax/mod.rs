//! Text to a checked tree, and back to text.

pub(super) mod check;
pub(super) mod error;
pub(super) mod fold;
pub(super) mod lexer;
pub(super) mod names;
pub(super) mod parser;
pub(super) mod print;
pub(super) mod tree;
