//! The outputs of a run compared with what they have to be, in words.

use crate::{
    Error, HostTensor, Name, Problem,
    check::{Comparison, Expected, Tolerance, compare},
};

/// The comparison of all outputs of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Each output.
    pub outputs: Vec<Comparison>,
}

impl Checked {
    /// Compares `actual` with `expected`, each output within the problem's own tolerance.
    ///
    /// # Errors
    /// If `actual` lacks an output, or one has another shape.
    pub fn new(
        problem: &dyn Problem,
        expected: &[Expected],
        actual: &[(Name, HostTensor)],
    ) -> Result<Self, Error> {
        Self::within(expected, actual, |output| problem.tolerance(output))
    }

    /// Compares `actual` with `expected`, each output within a tolerance of the caller's.
    ///
    /// # Errors
    /// As [`Checked::new`].
    pub fn within(
        expected: &[Expected],
        actual: &[(Name, HostTensor)],
        tolerance: impl Fn(&str) -> Tolerance,
    ) -> Result<Self, Error> {
        let output = |expected: &Expected| {
            let found = actual.iter().find(|(name, _)| *name == expected.name);
            let (_, actual) =
                found.ok_or_else(|| Error::internal(&*expected.name, "the run gave no such output"))?;
            compare(expected, actual, tolerance(&expected.name))
        };
        Ok(Self { outputs: expected.iter().map(output).collect::<Result<_, _>>()? })
    }

    /// Whether every output is right.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.outputs.iter().all(|output| output.passed)
    }

    /// The largest relative error of any output.
    #[must_use]
    pub fn rel_rmse(&self) -> f64 {
        self.outputs.iter().map(|output| output.rel_rmse).fold(0.0, f64::max)
    }

    /// The output that is furthest off, measured by what it is allowed.
    fn furthest(&self) -> Option<&Comparison> {
        let strain = |output: &Comparison| {
            let share = output.judged / output.tolerance.rel_rmse.max(f64::MIN_POSITIVE);
            (!output.passed, share)
        };
        self.outputs.iter().max_by(|a, b| {
            let (a, b) = (strain(a), strain(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        })
    }

    /// The element that is furthest off: `o[0, 3, 17, 5]: got 1.5e0, expected 1.25e0`.
    #[must_use]
    pub fn worst(&self) -> Option<String> {
        let output = self.furthest()?;
        let worst = output.worst.as_ref()?;
        Some(format!("{}{worst}", output.name))
    }

    /// Values that are NaN on both sides, as the definition says.
    #[must_use]
    pub fn nan(&self) -> usize {
        self.outputs.iter().map(|output| output.nan).sum()
    }

    /// The largest error that f32 arithmetic can leave in an output whose problem is ill-conditioned; nothing if the
    /// outputs are as near to the reference as those of ordinary problems.
    #[must_use]
    pub fn ill_conditioned(&self) -> Option<f64> {
        self.outputs.iter().filter_map(|output| output.ill_conditioned).reduce(f64::max)
    }

    /// [`Checked::ill_conditioned`] in words: `ill-conditioned: f32 can be off by 3.2e-5 here`.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.ill_conditioned().map(|bound| format!("ill-conditioned: f32 can be off by {bound:.1e} here"))
    }

    /// The failure in a few words; `None` if the check passed.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let output = self.furthest().filter(|output| !output.passed)?;
        let mut allowed =
            format!("rel RMSE {:.1e}, allowed {:.1e}", output.rel_rmse, output.tolerance.rel_rmse);
        if output.judged < output.rel_rmse {
            allowed += &format!(", and {:.1e} are more than the rounding of f32 here", output.judged);
        }
        let what = if output.non_finite > 0 {
            format!(
                "{} of {} values are NaN or infinite where they must not be, or are not where they must be",
                output.non_finite, output.compared
            )
        } else if let Some((head, error)) = worst_head(output) {
            format!("head {head} has rel RMSE {error:.1e}, the whole {allowed}")
        } else if output.judged <= output.tolerance.rel_rmse {
            format!("the element that is furthest off is off by more than any may be; {allowed}")
        } else {
            allowed
        };
        Some(format!("{}: {what}; {}", output.name, self.worst().unwrap_or_default()))
    }
}

/// The head that is off while the whole hides it.
fn worst_head(output: &Comparison) -> Option<(usize, f64)> {
    let (head, &error) = output.per_head.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    (error > output.tolerance.rel_rmse && output.judged <= output.tolerance.rel_rmse).then_some((head, error))
}
