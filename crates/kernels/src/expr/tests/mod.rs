//! Tests of what is done with programs; these are put together from steps, without a parser.

mod bounds;
mod build;
mod emission;
mod naive;
mod random;
mod soundness;
