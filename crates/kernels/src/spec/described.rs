//! Problems as text: the form that files and command lines have.

use super::OptionMap;

/// A problem that can be written down, and read again by [`crate::Operator`].
pub trait Described {
    /// The problem in a few words, e.g. `1x8x1024x64 f32 causal`.
    fn describe(&self) -> String;

    /// The options that [`crate::Operator::problem`] would read this problem from.
    fn options(&self) -> OptionMap;

    /// The text that [`crate::Operator::problem_of_shape`] would read this problem's sizes from.
    fn shape(&self) -> String;
}
