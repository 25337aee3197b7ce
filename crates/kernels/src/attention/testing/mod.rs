//! Cases, recipes, random problems and their inputs.

pub(super) mod cases;
pub(super) mod fill;
pub(super) mod random_case;
pub(super) mod recipes;
pub(super) mod self_check_problem;
mod serving;
mod turned;
