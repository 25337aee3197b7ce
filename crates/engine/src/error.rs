//! The engine's one error type.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use foveal_kernels::TextSpan;

/// An error as a value: nothing in this crate panics on a caller's mistake, a full card or a lost device.
///
/// The message names the argument at fault, what was expected and what came. Programs tell causes apart by
/// [`Error::kind`]. [`source`](std::error::Error::source) is wgpu's error or the planner's where one of those is the cause;
/// the message says what they say.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Error {
    // Boxed: errors are rare, and results of this type are returned from everything.
    inner: Box<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    argument: String,
    message: String,
    place: Option<TextSpan>,
    source: Option<Cause>,
}

#[cfg(not(target_family = "wasm"))]
type Cause = Arc<dyn StdError + Send + Sync>;
/// wgpu's errors stay on their thread in a browser.
#[cfg(target_family = "wasm")]
type Cause = Arc<dyn StdError>;

/// Errors are equal if they say the same.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        let Inner { kind, argument, message, place, .. } = &*self.inner;
        let same = (*kind, *place) == (other.inner.kind, other.inner.place);
        same && *argument == other.inner.argument && *message == other.inner.message
    }
}

impl Eq for Error {}

/// The causes of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's input makes no sense: a shape, a name, a buffer that is too small.
    Usage,
    /// There is no adapter, or none that was asked for.
    NoAdapter,
    /// The input makes sense, but this version or this adapter cannot do it.
    Unsupported,
    /// The input makes sense, but an adapter limit is in the way; the message names the limit.
    Limit,
    /// Every variant that could be taken failed on this adapter; the message names each and says how.
    Refused,
    /// wgpu's validation rejected a call.
    Validation,
    /// The device has no memory left.
    OutOfMemory,
    /// The device is lost or was destroyed. Nothing on it can go on; a new [`Engine`](crate::Engine) can.
    DeviceLost,
    /// The device did not finish within [`Options::wait_limit`](crate::Options::wait_limit).
    Timeout,
    /// The driver failed, for example to compile a shader.
    Driver,
    /// A fault of Foveal's.
    Internal,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, argument: impl Into<String>, message: impl Into<String>) -> Self {
        let (argument, message) = (argument.into(), message.into());
        Self { inner: Box::new(Inner { kind, argument, message, place: None, source: None }) }
    }

    pub(crate) fn usage(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, argument, message)
    }

    pub(crate) fn limit(limit: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, limit, message)
    }

    pub(crate) fn internal(part: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, part, message)
    }

    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::DeviceLost, "device", message)
    }

    /// An error that wgpu raised while the engine was `doing` something.
    pub(crate) fn raised(doing: &str, error: wgpu::Error) -> Self {
        let (kind, message, source) = match error {
            wgpu::Error::OutOfMemory { source } => {
                (ErrorKind::OutOfMemory, "the device has no memory left".to_owned(), source)
            }
            wgpu::Error::Validation { description, source } => (ErrorKind::Validation, description, source),
            wgpu::Error::Internal { description, source } => (ErrorKind::Driver, description, source),
        };
        let mut raised = Self::new(kind, doing, message.trim_end());
        raised.inner.source = Some(Arc::from(source));
        raised
    }

    /// The cause.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The argument, limit or part at fault.
    #[must_use]
    pub fn argument(&self) -> &str {
        &self.inner.argument
    }

    /// Of errors in expressions: where in the text.
    #[must_use]
    pub fn place(&self) -> Option<TextSpan> {
        self.inner.place
    }

    /// Whether the fault lies with a variant's shaders, so that another variant may do better. What the caller did,
    /// what the whole device suffers from and limits that a plan should have known are no reason to try the next one.
    pub(crate) fn is_the_variants(&self) -> bool {
        matches!(self.kind(), ErrorKind::Validation | ErrorKind::Driver | ErrorKind::Refused)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inner.argument, self.inner.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source: &(dyn StdError + 'static) = self.inner.source.as_deref()?;
        Some(source)
    }
}

impl From<foveal_kernels::Error> for Error {
    fn from(error: foveal_kernels::Error) -> Self {
        use foveal_kernels::ErrorKind as Cause;
        let kind = match error.kind() {
            Cause::Invalid => ErrorKind::Usage,
            Cause::Unsupported => ErrorKind::Unsupported,
            Cause::Limit => ErrorKind::Limit,
            _ => ErrorKind::Internal,
        };
        // The text of such an error starts with its argument, which is kept apart here.
        let text = error.to_string();
        let message =
            text.strip_prefix(error.argument()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
        let mut new = Self::new(kind, error.argument(), message);
        new.inner.place = error.place();
        new.inner.source = Some(Arc::new(error));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_survive_on_their_way_up() {
        let source = || "cause".into();
        let memory = Error::raised("a buffer", wgpu::Error::OutOfMemory { source: source() });
        assert_eq!((memory.kind(), memory.argument()), (ErrorKind::OutOfMemory, "a buffer"));
        let cause = memory.source().map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("cause"));
        let description = "why\n".to_owned();
        let invalid = Error::raised("x", wgpu::Error::Validation { source: source(), description });
        assert_eq!((invalid.kind(), invalid.to_string().as_str()), (ErrorKind::Validation, "x: why"));
        let limit = Error::from(foveal_kernels::Error::limit("max_buffer_size", "too much"));
        assert_eq!(
            (limit.kind(), limit.to_string().as_str()),
            (ErrorKind::Limit, "max_buffer_size: too much")
        );
        let invalid = Error::from(foveal_kernels::Error::invalid("q", "no"));
        assert_eq!(invalid.kind(), ErrorKind::Usage);
        assert_eq!(invalid.source().map(ToString::to_string).as_deref(), Some("q: no"));
        assert!(Error::usage("q", "no").source().is_none());
    }
}
