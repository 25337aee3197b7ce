//! The facts themselves.

use foveal_kernels::{AdapterProfile, Maths, MatrixUnit};
use serde::{Deserialize, Serialize};

/// Measured facts; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// As [`AdapterProfile::loop_turns`], [`AdapterProfile::maths`] and [`AdapterProfile::matrix`].
    pub(crate) loop_turns: Option<u64>,
    pub(crate) maths: Option<Maths>,
    #[serde(default)]
    pub(crate) matrix: Option<MatrixUnit>,
}

impl Facts {
    /// The profile with these facts.
    pub(crate) fn of(self, profile: &AdapterProfile) -> AdapterProfile {
        AdapterProfile {
            loop_turns: self.loop_turns,
            maths: self.maths,
            matrix: self.matrix,
            ..profile.clone()
        }
    }
}
