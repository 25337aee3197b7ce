//! Results held against references.

mod checked;
mod compare;
mod distribution;
pub(crate) mod random;
mod reference;
mod rows;

pub use checked::Checked;
pub use compare::{Comparison, Expected, Tolerance, Worst, compare, unchanged};
pub use distribution::{GateDistribution, InputDistribution, TableDistribution};
pub use reference::Reference;
pub use rows::Rows;
