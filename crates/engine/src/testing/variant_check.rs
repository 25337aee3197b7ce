//! Trying variants on cases whose results are known.

use foveal_kernels::{
    Constraints, HostTensor, Problem,
    testing::{Checked, Expected, unchanged},
};

use crate::kernel::prepared::SelfCheckReport;
use crate::{Engine, Error};

/// The status of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is right.
    Passed,
    /// It is wrong, or could not be run.
    Failed,
    /// This adapter or problem rules it out.
    Skipped,
}

impl Status {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The status of a whole: failed if a part failed, skipped if all were.
    #[must_use]
    pub fn of_all(parts: impl IntoIterator<Item = Self>) -> Self {
        parts.into_iter().fold(Self::Skipped, |whole, part| match (whole, part) {
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::Passed, _) | (_, Self::Passed) => Self::Passed,
            _ => Self::Skipped,
        })
    }
}

/// A variant held to the reference.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VariantCheck {
    /// The variant.
    pub variant: String,
    /// Whether it is right.
    pub status: Status,
    /// How its outputs compare, if it ran.
    pub checked: Option<Checked>,
    /// The fault, or the reason why it was not run.
    pub reason: Option<String>,
    /// The error that kept it from being run, if that was more than its plan.
    pub error: Option<Error>,
}

impl VariantCheck {
    /// Something that was tried by other means.
    #[must_use]
    pub fn new(variant: &str, status: Status, checked: Option<Checked>, reason: Option<String>) -> Self {
        Self { variant: variant.to_owned(), status, checked, reason, error: None }
    }
}

impl Engine {
    /// Runs a variant on `inputs` and compares its outputs with `expected`. There is no self-check: this is one. Outputs
    /// hold NaN until they are written, and lie between guard words.
    pub async fn try_variant(
        &self,
        problem: &dyn Problem,
        inputs: &[(&str, &HostTensor)],
        expected: &[Expected],
        variant: &str,
    ) -> VariantCheck {
        let tried = |status, checked, reason| VariantCheck::new(variant, status, checked, reason);
        if let Err(error) = self.learn().await {
            let reason = Some(format!("the adapter could not be measured: {error}"));
            return VariantCheck { error: Some(error), ..tried(Status::Failed, None, reason) };
        }
        let plan = match self.plan_with(problem, &Constraints::variant(variant)) {
            Ok(plan) => plan,
            Err(error) => {
                let refused = self.refused(problem.operator()).contains(variant);
                let status = if refused { Status::Failed } else { Status::Skipped };
                return tried(status, None, Some(error.to_string()));
            }
        };
        let checked = async {
            let pipelines = self.compile(&plan).await?;
            let kernel = self.assemble(&plan, pipelines, Vec::new(), SelfCheckReport::Off).await?;
            let run = self.run_guarded(&kernel, inputs).await?;
            for expected in expected {
                let before = inputs.iter().find(|(name, _)| *name == expected.name);
                let after = run.outputs.iter().find(|(name, _)| *name == expected.name);
                if let (Some((_, before)), Some((_, after))) = (before, after) {
                    unchanged(expected, before, after)?;
                }
            }
            Ok(Checked::new(problem, expected, &run.outputs)?)
        };
        match self.shared.gpu.explained(checked.await).await {
            Ok(checked) => {
                let status = if checked.passed() { Status::Passed } else { Status::Failed };
                let reason = checked.complaint();
                tried(status, Some(checked), reason)
            }
            Err(error) => {
                let reason = Some(format!("could not be run: {error}"));
                VariantCheck { error: Some(error), ..tried(Status::Failed, None, reason) }
            }
        }
    }
}
