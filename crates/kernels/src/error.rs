//! The crate's one error type.

use std::fmt;

/// An error that its caller can act on: the argument, what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    kind: ErrorKind,
    argument: String,
    message: String,
    place: Option<TextSpan>,
}

/// Where in an expression's text something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextSpan {
    /// The first wrong character, counted from 0. At the end of the text where something is missing there.
    pub column: usize,
    /// How many characters are wrong, at least 1.
    pub length: usize,
}

/// Kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's input makes no sense: a shape, an option, a name.
    Invalid,
    /// The input makes sense but this version does not do it. Checks report such cases as skipped.
    Unsupported,
    /// The input makes sense but an adapter limit is in the way; the message names the limit.
    Limit,
    /// A fault of ours.
    Internal,
}

impl Error {
    /// The input `argument` makes no sense: `message` says what was expected and what came.
    pub fn invalid(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, argument: argument.into(), message: message.into(), place: None }
    }

    /// The input `argument` asks for something this version does not do.
    pub fn unsupported(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, argument: argument.into(), message: message.into(), place: None }
    }

    /// The adapter limit `limit` is in the way.
    pub fn limit(limit: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Limit, argument: limit.into(), message: message.into(), place: None }
    }

    /// A fault of ours, in the part named `part`.
    pub fn internal(part: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Internal, argument: part.into(), message: message.into(), place: None }
    }

    /// The option `argument` is `got`, which is none of `words`; the message names the one that was probably meant.
    pub(crate) fn no_word(argument: impl Into<String>, words: &[&str], got: &str) -> Self {
        let meant = crate::suggest::did_you_mean(got, words.iter().copied());
        Self::invalid(argument, format!("expected one of {}, got `{got}`{meant}", words.join(", ")))
    }

    /// With the place of an expression's text that is at fault.
    #[must_use]
    pub(crate) fn at(self, place: Option<TextSpan>) -> Self {
        Self { place, ..self }
    }

    /// Of errors in expressions: where.
    #[must_use]
    pub fn place(&self) -> Option<TextSpan> {
        self.place
    }

    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without the argument: what was expected and what came.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The argument, limit or part at fault.
    #[must_use]
    pub fn argument(&self) -> &str {
        &self.argument
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.argument, self.message)
    }
}

impl std::error::Error for Error {}

impl From<foveal_shaders::Error> for Error {
    fn from(error: foveal_shaders::Error) -> Self {
        Self::internal("shader", error.to_string())
    }
}
