//! The list of operators.

use crate::{Error, Operator, append, attention, combine, linear_attention};

/// The operators. A new one is a line here and two folders of its own.
#[must_use]
pub fn operators() -> &'static [&'static dyn Operator] {
    static OPERATORS: [&dyn Operator; 4] =
        [&attention::OPERATOR, &linear_attention::OPERATOR, &combine::OPERATOR, &append::OPERATOR];
    &OPERATORS
}

/// The operator of that name.
///
/// # Errors
/// If there is none; the message lists those there are.
pub fn operator(name: &str) -> Result<&'static dyn Operator, Error> {
    operators().iter().copied().find(|op| op.name() == name).ok_or_else(|| {
        let names: Vec<&str> = operators().iter().map(|op| op.name()).collect();
        Error::no_word("operator", &names, name)
    })
}
