//! A host that has a Vulkan device of its own runs Foveal on it, on its own buffers, between its own submissions.
//!
//! `host` is what such an engine has already, `bridge` what it adds, and [`run`] the order in which things happen and
//! end. docs/OTHER_HOSTS.md says what of this would be C. Exit codes: 0 right, 1 wrong or failed, 2 no device.

use std::process::ExitCode;

#[cfg(not(target_vendor = "apple"))]
mod bridge;
#[cfg(not(target_vendor = "apple"))]
mod host;
#[cfg(not(target_vendor = "apple"))]
mod run;

/// Why there is no result.
enum Failure {
    NoDevice(String),
    Failed(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(target_vendor = "apple")]
mod run {
    use crate::Failure;

    /// wgpu has no Vulkan here.
    pub(crate) fn run() -> Result<bool, Failure> {
        Err(Failure::NoDevice("this example is for Vulkan".to_owned()))
    }
}

fn main() -> ExitCode {
    match run::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure::Failed(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(1)
        }
        Err(Failure::NoDevice(message)) => {
            eprintln!("no device: {message}");
            ExitCode::from(2)
        }
    }
}
