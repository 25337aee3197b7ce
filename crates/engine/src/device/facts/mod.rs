//! Facts of an adapter that only a run tells: measured once, and remembered with its driver.

pub(crate) mod known;
mod maths;
mod probe;

use foveal_kernels::Plan;
use foveal_shaders::Request;

use crate::device::facts::known::Facts;
use crate::{Constraints, Engine, Error, ErrorKind};

/// Turns of a loop, of one within it, and of one after both. All of them are more than the least bound that is known of a driver,
/// llvmpipe's of 65,535; together, these take some milliseconds on a driver that has one core.
const NESTS: [[u32; 3]; 3] = [[1, 70_000, 0], [300, 300, 0], [1, 40_000, 40_000]];

impl Engine {
    /// Measures what is not known of the adapter yet. Everything that compiles a plan does this first.
    pub(crate) async fn learn(&self) -> Result<(), Error> {
        if self.shared.facts.get().is_some() {
            return Ok(());
        }
        let facts = match self.shared.gpu.explained(self.measure_facts().await).await {
            Ok(facts) => facts,
            // A device that was opened with less than two small buffers take runs no plan either.
            Err(error) if error.kind() == ErrorKind::Limit => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(max) = facts.loop_turns {
            log::debug!("{} ends loops after {max} turns; plans stay below", self.profile.key());
        }
        self.shared.facts.set(facts);
        Ok(())
    }

    async fn measure_facts(&self) -> Result<Facts, Error> {
        let mut counts = Vec::new();
        for nest in NESTS {
            counts.extend(self.probe(&Request::new("probe/loops"), &nest, 1).await?);
        }
        let results = self
            .probe(&Request::new("probe/maths"), &maths::OPERANDS, maths::OPERANDS.len() * maths::FUNCTIONS)
            .await?;
        let matrix = self.probe_matrix().await?;
        Ok(Facts { loop_turns: bound_of(&counts), maths: maths::of(&results), matrix })
    }

    /// The plan in place of one that was made before it was known after how many turns loops end here, if that one has too many:
    /// by the same constraints, and of its own variant if `exact`.
    pub(crate) fn refitted(&self, plan: &Plan, exact: bool) -> Result<Option<Plan>, Error> {
        let Some(max) = self.profile().loop_turns else { return Ok(None) };
        if plan.passes.iter().all(|pass| pass.loop_turns <= max) {
            return Ok(None);
        }
        let mut constraints = plan.constraints.clone();
        if exact {
            constraints = Constraints { variant: Some(plan.variant.clone()), ..constraints };
        }
        self.plan_with(&*plan.problem, &constraints).map(Some)
    }
}

/// The fewest turns that were made where more were asked for; `None` if all came to their end, or if nothing was computed at all.
fn bound_of(counts: &[u32]) -> Option<u64> {
    let short = counts.iter().zip(NESTS).filter(|(count, [outer, inner, after])| {
        // The outer loop's own turns are counted too.
        **count < outer * (1 + inner) + after
    });
    short.map(|(&count, _)| u64::from(count)).min().filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_what_was_cut_short_is_the_bound() {
        let all = NESTS.map(|[outer, inner, after]| outer * (1 + inner) + after);
        assert!(all.iter().all(|&turns| turns > 70_000), "{all:?}");
        assert_eq!(bound_of(&all), None);
        assert_eq!(bound_of(&[65_536, 65_319, 65_532]), Some(65_319), "as on llvmpipe of Mesa 22.3");
        assert_eq!(bound_of(&[all[0], all[1], 65_532]), Some(65_532));
        assert_eq!(bound_of(&[0; 3]), None, "a device that computes nothing has no bound");
    }
}
