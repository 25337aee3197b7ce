//! How fast a kernel gets on, part by part.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use foveal_kernels::Plan;

use crate::kernel::dispatch_offsets::DispatchOffsets;

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

/// Which of a pass's units lie in a range.
pub(crate) fn units_in(range: &Range<Cursor>, pass: usize, units: u32) -> Range<u32> {
    if pass < range.start.pass || pass > range.end.pass {
        return 0..0;
    }
    let first = if pass == range.start.pass { range.start.unit } else { 0 };
    let end = if pass == range.end.pass { range.end.unit } else { units };
    first..end.max(first)
}

/// How a kernel is cut into parts that are short enough to stop after any, and how long each takes.
#[derive(Clone, Debug)]
pub(crate) struct DispatchTimeline {
    pub(crate) grids: Arc<DispatchOffsets>,
    /// Seconds of each unit of each pass, when enough of them run together to keep the device busy.
    seconds: Vec<Vec<f32>>,
    /// Units of each pass that run at the same time, or in turn by a plan that has them shared out so: a part of them alone
    /// leaves places empty.
    together: Vec<u32>,
    /// Whether that was measured.
    pub(crate) measured: bool,
}

/// Units of all passes together, about: each has a uniform of 256 bytes.
const MAX_UNITS: u32 = 8192;

/// The share of a slice's time that is enough to end it at the end of a row.
const ENOUGH_OF_A_SLICE: f64 = 0.6;

/// The units that a pass may have in a kernel of so many passes.
pub(crate) fn max_units(passes: usize) -> u32 {
    (MAX_UNITS / u32::try_from(passes).unwrap_or(u32::MAX).max(1)).max(1)
}

impl DispatchTimeline {
    /// By the plan's estimate, as if all workgroups took equally long.
    pub(crate) fn estimated(plan: &Plan, grids: Arc<DispatchOffsets>, at_once: f64) -> Self {
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
        let together = grids.units().enumerate().map(|(pass, units)| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a hundred at most")]
            let together = (at_once * f64::from(units) / groups(pass).max(1.0)).ceil() as u32;
            // Two of them make a fair share of each place.
            let zigzag = plan.passes.get(pass).is_some_and(|pass| pass.zigzag);
            together.max(1) * if zigzag { 2 } else { 1 }
        });
        Self { seconds: seconds.collect(), together: together.collect(), grids, measured: false }
    }

    /// The same kernel, with the time of every unit as it was measured.
    pub(crate) fn measured(&self, seconds: Vec<Vec<f32>>) -> Self {
        Self { seconds, measured: true, ..self.clone() }
    }

    /// The same kernel, all of it slower by a factor.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "an estimate")]
        let of = |seconds: &f32| (f64::from(*seconds) * factor) as f32;
        let seconds = self.seconds.iter().map(|pass| pass.iter().map(of).collect()).collect();
        Self { seconds, measured: true, ..self.clone() }
    }

    /// Times to be filled in.
    pub(crate) fn blank(&self) -> Vec<Vec<f32>> {
        self.seconds.iter().map(|pass| vec![0.0; pass.len()]).collect()
    }

    pub(crate) fn end(&self) -> Cursor {
        Cursor { pass: self.seconds.len(), unit: 0 }
    }

    /// Seconds that a range takes.
    pub(crate) fn seconds(&self, range: Range<Cursor>) -> f64 {
        let passes = self.seconds.iter().enumerate().skip(range.start.pass);
        let passes = passes.take_while(|(pass, _)| *pass <= range.end.pass);
        let units = passes.filter_map(|(pass, units)| units.get(indices_in(&range, pass, units.len())));
        units.flatten().map(|&seconds| f64::from(seconds)).sum()
    }

    /// Seconds of the longest part that cannot be cut: units that run together.
    pub(crate) fn longest(&self) -> f64 {
        let of_pass = |(units, together): (&Vec<f32>, &u32)| {
            let unit = units.iter().fold(0.0, |longest, &seconds| f64::from(seconds).max(longest));
            unit * f64::from(*together).min(units.len() as f64)
        };
        self.seconds.iter().zip(&self.together).map(of_pass).fold(0.0, f64::max)
    }

    pub(crate) fn total(&self) -> Duration {
        duration(self.seconds(Cursor::default()..self.end()))
    }

    /// How far one gets from `start` in so many seconds: as far as workgroups run together, at least.
    pub(crate) fn advance(&self, start: Cursor, seconds: f64) -> Cursor {
        let mut at = start;
        let mut left = seconds;
        let min = self.together.get(start.pass).map_or(0, |units| start.unit.saturating_add(*units));
        while let Some(units) = self.seconds.get(at.pass) {
            let Some(&unit) = units.get(at.unit as usize) else {
                at = at.next_pass();
                continue;
            };
            left -= f64::from(unit);
            if left < 0.0 && (at.pass > start.pass || at.unit >= min) {
                break;
            }
            at.unit += 1;
        }
        if at.pass == start.pass {
            at.unit = self.rounded(start, at.unit, seconds);
        }
        // The end of a pass is the beginning of the next.
        if self.seconds.get(at.pass).is_some_and(|units| at.unit as usize >= units.len()) {
            at = at.next_pass();
        }
        at
    }

    /// A range's end, a little earlier where that leaves nothing idle: dispatches wait for each other, and what is no whole row
    /// of units takes one more; workgroups that run alone leave the others' places empty.
    fn rounded(&self, start: Cursor, end: u32, seconds: f64) -> u32 {
        let (Some(units), Some(&together)) = (self.seconds.get(start.pass), self.together.get(start.pass))
        else {
            return end;
        };
        if end as usize >= units.len() {
            return end;
        }
        let row_end = end - end % self.grids.cut(start.pass).row().max(1);
        let to_row_end = start..Cursor { unit: row_end, ..start };
        if row_end > start.unit && self.seconds(to_row_end) >= ENOUGH_OF_A_SLICE * seconds {
            return row_end;
        }
        let taken = end - start.unit;
        if taken > together { end - taken % together } else { end }
    }

    /// Fills in what a range took, evenly.
    pub(crate) fn fill(into: &mut [Vec<f32>], range: Range<Cursor>, seconds: f64) {
        let mut places: Vec<&mut f32> = Vec::new();
        for (pass, units) in into.iter_mut().enumerate() {
            let indices = indices_in(&range, pass, units.len());
            places.extend(units.get_mut(indices).unwrap_or_default());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "thousands of units, a measured time"
        )]
        let each = (seconds / places.len().max(1) as f64) as f32;
        for place in places {
            *place = each;
        }
    }
}

/// [`units_in`], as indices.
fn indices_in(range: &Range<Cursor>, pass: usize, units: usize) -> Range<usize> {
    let units = units_in(range, pass, u32::try_from(units).unwrap_or(u32::MAX));
    units.start as usize..units.end as usize
}

/// Seconds that may be nonsense.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
