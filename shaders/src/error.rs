//! The one error type of the package.

use std::fmt;

/// An error of linking or specialising a shader.
///
/// The message names the module and line where there is one, what was expected and what came. It is written for people;
/// programs that need to tell causes apart use [`Error::kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    // Boxed: errors are rare and `Result`s of this type are everywhere in the passes.
    inner: Box<Inner>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    module: String,
    line: Option<usize>,
    message: String,
}

/// The causes of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not WGSL, or uses something that shader files must not contain (`enable`, `override`, ...).
    Syntax,
    /// A module or an item that does not exist, or is used without an import.
    Unresolved,
    /// Two items, or two bindings, claim one name or one slot.
    Clash,
    /// A tunable that does not exist, cannot be set, or was given a value of another type.
    Tunable,
    /// A hook that does not exist or has another signature.
    Hook,
    /// A constant expression that overflows, divides by zero or mixes types.
    Constant,
    /// A `const_assert` that does not hold for these tunables.
    Assertion,
    /// A constant index outside its array.
    Bounds,
    /// Text nested too deeply, or a loop that unrolls to too much.
    Limit,
    /// No entry point, more than one, or an interface that a compute kernel cannot have.
    Interface,
}

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        module: &str,
        line: Option<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self { inner: Box::new(Inner { kind, module: module.to_owned(), line, message: message.into() }) }
    }

    /// The cause.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The module in which the cause lies, such as `attention/tiled`; for a hook's text, `hook NAME`.
    pub fn module(&self) -> &str {
        &self.inner.module
    }

    /// The line in that module, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.inner.line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { module, line, message, .. } = &*self.inner;
        match line {
            Some(line) => write!(f, "{module}:{line}: {message}"),
            None => write!(f, "{module}: {message}"),
        }
    }
}

impl std::error::Error for Error {}

/// `; did you mean X?` for the candidate nearest to `name`, or nothing if none is near.
pub(crate) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // Names in a request may be of any length.
    let start = |name: &str| name.chars().take(200).collect::<String>();
    let limit = 1 + name.chars().count() / 3;
    let near = candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&start(name), &start(candidate)), candidate))
        .min();
    match near {
        Some((d, candidate)) if d <= limit => format!("; did you mean `{candidate}`?"),
        _ => String::new(),
    }
}
