//! The commands. Each prints its result and says whether all was well.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod mask;
pub(crate) mod plan;
mod plan_data;
pub(crate) mod run;

/// How a command ended, errors aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All was well: exit code 0.
    Passed,
    /// Something that was compared is wrong: exit code 1.
    Failed,
}

impl Verdict {
    /// Passed if `passed`.
    pub(crate) fn of(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}
