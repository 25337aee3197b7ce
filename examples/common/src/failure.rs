//! Failures, with their exit codes.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use foveal::{Error, ErrorKind, kernels};

/// Why there is no result, or none to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The result is wrong, or a step failed that should not have.
    Failed(String),
    /// The command line, a path, or no device to run on.
    Usage(String),
}

impl Failure {
    /// A step failed.
    pub fn failed(doing: &str, error: impl fmt::Display) -> Self {
        Self::Failed(format!("{doing}: {error}"))
    }

    /// Something that was asked for cannot be.
    pub fn usage(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Usage(format!("{what}: {error}"))
    }

    /// 1 for what is wrong, 2 for usage.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        })
    }
}

/// Says what went wrong, if anything did.
#[must_use]
pub fn exit(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {failure}");
            failure.exit_code()
        }
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
            // Sizes come from the command line, and have to fit the adapter.
            ErrorKind::NoAdapter | ErrorKind::Limit | ErrorKind::Unsupported | ErrorKind::OutOfMemory => {
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
