//! Tests of the specialiser, in one program: it links naga once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

mod builtin;
mod errors;
mod inline;
mod interface;
mod interpreter;
mod passes;
mod random;
mod speed;
mod storage;
mod support;
