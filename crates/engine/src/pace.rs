//! How fast a kernel gets on, part by part.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use foveal_kernels::Plan;

use crate::cut::Cut;
use crate::gpu::lock;
use crate::grids::Grids;
use crate::{Error, Kernel};

/// How far a kernel has come: the unit of the pass that is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    pub(crate) pass: usize,
    pub(crate) unit: u32,
}

impl Cursor {
    /// Where the next pass begins.
    pub(crate) fn next_pass(self) -> Self {
        Self { pass: self.pass + 1, unit: 0 }
    }
}

/// How a kernel is cut into parts that are short enough to stop after any, and how long each takes.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pub(crate) grids: Arc<Grids>,
    /// Seconds of each unit of each pass.
    seconds: Vec<Vec<f32>>,
    /// Whether that was measured.
    pub(crate) measured: bool,
}

/// Units of all passes together, about: each has a uniform of 256 bytes.
const MOST_UNITS: u32 = 8192;

impl Kernel {
    /// The cut, and how long its parts take as far as that is known.
    pub(crate) async fn pace(&self) -> Result<Arc<Pace>, Error> {
        if let Some(pace) = &*lock(&self.inner.pace) {
            return Ok(Arc::clone(pace));
        }
        let inner = &self.inner;
        let passes = u32::try_from(inner.passes.len()).unwrap_or(u32::MAX).max(1);
        let most = (MOST_UNITS / passes).max(1);
        let limits = &inner.shared.profile.limits;
        let cut = |_, pass: &crate::kernel::KernelPass| Cut::fine(pass.workgroups, most);
        let grids = Grids::new(&inner.shared.gpu, &inner.passes, limits, cut).await?;
        let pace = Arc::new(Pace::estimated(&inner.plan, Arc::new(grids)));
        // Another thread may have been quicker; both are the same.
        Ok(Arc::clone(lock(&inner.pace).get_or_insert(pace)))
    }

    pub(crate) fn set_pace(&self, pace: Arc<Pace>) {
        *lock(&self.inner.pace) = Some(pace);
    }
}

impl Pace {
    /// By the plan's estimate, as if all workgroups took equally long.
    fn estimated(plan: &Plan, grids: Arc<Grids>) -> Self {
        let groups = |pass: usize| -> f64 {
            plan.passes.get(pass).map_or(0.0, |pass| pass.workgroups.iter().map(|&n| f64::from(n)).product())
        };
        let all: f64 = (0..plan.passes.len()).map(groups).sum::<f64>().max(1.0);
        let each = plan.cost.time.as_secs_f64() / all;
        let seconds = grids.units().enumerate().map(|(pass, units)| {
            #[expect(clippy::cast_possible_truncation, reason = "an estimate")]
            let unit = (each * groups(pass) / f64::from(units.max(1))) as f32;
            vec![unit; units as usize]
        });
        Self { seconds: seconds.collect(), grids, measured: false }
    }

    /// The same kernel, with the time of every unit as it was measured.
    pub(crate) fn measured(&self, seconds: Vec<Vec<f32>>) -> Self {
        Self { grids: Arc::clone(&self.grids), seconds, measured: true }
    }

    /// The same kernel, all of it slower by a factor.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "an estimate")]
        let of = |seconds: &f32| (f64::from(*seconds) * factor) as f32;
        let seconds = self.seconds.iter().map(|pass| pass.iter().map(of).collect()).collect();
        Self { grids: Arc::clone(&self.grids), seconds, measured: true }
    }

    /// Unknown times, to be filled in.
    pub(crate) fn blank(&self) -> Vec<Vec<f32>> {
        self.seconds.iter().map(|pass| vec![f32::INFINITY; pass.len()]).collect()
    }

    pub(crate) fn end(&self) -> Cursor {
        Cursor { pass: self.seconds.len(), unit: 0 }
    }

    /// Seconds that a range takes.
    pub(crate) fn seconds(&self, range: Range<Cursor>) -> f64 {
        let passes = self.seconds.iter().enumerate().skip(range.start.pass);
        let units = passes.take_while(|(pass, _)| *pass <= range.end.pass).flat_map(|(pass, units)| {
            let first = if pass == range.start.pass { range.start.unit as usize } else { 0 };
            let end = if pass == range.end.pass { range.end.unit as usize } else { units.len() };
            units.get(first..end.max(first)).unwrap_or_default()
        });
        units.map(|&seconds| f64::from(seconds)).sum()
    }

    /// Seconds of the longest unit.
    pub(crate) fn longest(&self) -> f64 {
        self.seconds.iter().flatten().fold(0.0, |longest, &seconds| f64::from(seconds).max(longest))
    }

    pub(crate) fn total(&self) -> Duration {
        duration(self.seconds(Cursor::default()..self.end()))
    }

    /// How far one gets from `start` in so many seconds: a unit at least.
    pub(crate) fn advance(&self, start: Cursor, seconds: f64) -> Cursor {
        let mut at = start;
        let mut left = seconds;
        while let Some(units) = self.seconds.get(at.pass) {
            let Some(&unit) = units.get(at.unit as usize) else {
                at = Cursor { pass: at.pass + 1, unit: 0 };
                continue;
            };
            left -= f64::from(unit);
            if left < 0.0 && at != start {
                break;
            }
            at.unit += 1;
        }
        // The end of a pass is the beginning of the next.
        if self.seconds.get(at.pass).is_some_and(|units| at.unit as usize >= units.len()) {
            at = Cursor { pass: at.pass + 1, unit: 0 };
        }
        at
    }

    /// Fills in what a range took, evenly, where less was not measured before.
    pub(crate) fn fill(into: &mut [Vec<f32>], range: Range<Cursor>, seconds: f64) {
        let mut places: Vec<&mut f32> = Vec::new();
        for (pass, units) in into.iter_mut().enumerate() {
            if pass < range.start.pass || pass > range.end.pass {
                continue;
            }
            let first = if pass == range.start.pass { range.start.unit as usize } else { 0 };
            let end = if pass == range.end.pass { range.end.unit as usize } else { units.len() };
            places.extend(units.get_mut(first..end.max(first)).unwrap_or_default());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "thousands of units, a measured time"
        )]
        let each = (seconds / places.len().max(1) as f64) as f32;
        for place in places {
            *place = place.min(each);
        }
    }
}

/// Seconds that may be nonsense.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
