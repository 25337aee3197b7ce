//! Results held against references.

mod checked;
mod compare;
pub(crate) mod random;
mod rows;

pub use checked::Checked;
pub use compare::{Comparison, Expected, Tolerance, Worst, compare};
pub use rows::Rows;
