//! What can go wrong, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

use foveal::{Error, ErrorKind, kernels};

/// Why there is no sheet, or why it is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The crowd is wrong, or a step failed that should not have.
    Failed(String),
    /// The command line, a path, or no device to run on.
    Usage(String),
}

impl Failure {
    pub(crate) fn failed(doing: &str, error: impl fmt::Display) -> Self {
        Self::Failed(format!("{doing}: {error}"))
    }

    pub(crate) fn usage(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Usage(format!("{what}: {error}"))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(message) | Self::Usage(message)) = self;
        f.write_str(message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NoAdapter | ErrorKind::Limit | ErrorKind::Unsupported => {
                Self::Usage(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<kernels::Error> for Failure {
    fn from(error: kernels::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
