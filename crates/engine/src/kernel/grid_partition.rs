//! Cutting a pass's workgroups into several dispatches.
//!
//! Workgroups do not talk to each other within a pass, and a kernel asks a uniform, not the dispatch, where it is
//! (`shaders/shared/grid.wgsl`): any cut gives the same workgroups and the same bits.

use std::ops::Range;

/// How a pass is cut: into *units* of equal shape (the last of a row may be shorter), counted along x, then y, then z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GridPartition {
    grid: [u32; 3],
    /// The axis along which units follow each other; units are whole along those before, and single along those after.
    axis: usize,
    /// Workgroups of a unit along it.
    step: u32,
}

/// A box of a pass's workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) origin: [u32; 3],
    pub(crate) size: [u32; 3],
}

impl GridPartition {
    /// All workgroups in one unit.
    pub(crate) fn whole(grid: [u32; 3]) -> Self {
        Self { grid, axis: 2, step: grid[2].max(1) }
    }

    /// At most `most` units, and as many of them as are to be had.
    pub(crate) fn fine(grid: [u32; 3], max: u32) -> Self {
        let count =
            |axis: usize| grid[axis..].iter().fold(1u64, |n, &size| n.saturating_mul(u64::from(size)));
        let max = u64::from(max.max(1));
        for axis in 0..3 {
            // Units along this axis, one workgroup each, times the rows of them.
            let rows = if axis < 2 { count(axis + 1) } else { 1 };
            if rows <= max {
                let along = max / rows.max(1);
                let step = u64::from(grid[axis]).div_ceil(along.max(1)).max(1);
                // At most the size of an axis.
                return Self { grid, axis, step: u32::try_from(step).unwrap_or(u32::MAX) };
            }
        }
        Self::whole(grid)
    }

    /// Units along each axis.
    fn counts(&self) -> [u32; 3] {
        let mut counts = self.grid;
        counts[..self.axis].fill(1);
        counts[self.axis] = self.grid[self.axis].div_ceil(self.step).max(1);
        counts
    }

    /// How many units there are.
    pub(crate) fn units(&self) -> u32 {
        self.counts().iter().fold(1u32, |n, &count| n.saturating_mul(count.max(1)))
    }

    /// How many units there are in a row, which one dispatch can take together with the next ones.
    pub(crate) fn row(&self) -> u32 {
        self.counts()[self.axis]
    }

    /// The workgroup with which a unit begins.
    pub(crate) fn origin(&self, unit: u32) -> [u32; 3] {
        let mut origin = self.place(unit);
        origin[self.axis] *= self.step;
        origin
    }

    /// A unit's number along each axis.
    fn place(&self, unit: u32) -> [u32; 3] {
        let [x, y, _] = self.counts().map(|count| count.max(1));
        [unit % x, unit / x % y, unit / x / y]
    }

    /// The fewest boxes that the units of a range make up, each with its first unit.
    pub(crate) fn blocks(self, units: Range<u32>) -> impl Iterator<Item = (u32, Block)> {
        let counts = self.counts();
        let mut next = units.start;
        std::iter::from_fn(move || {
            let left = units.end.checked_sub(next).filter(|&left| left > 0)?;
            let place = self.place(next);
            // Along the last axis on which whole rows of units are to be had.
            let (mut along, mut row) = (self.axis, 1u32);
            let mut smaller = 1u32;
            for axis in self.axis..3 {
                if place[self.axis..axis].iter().any(|&at| at > 0) || smaller > left {
                    break;
                }
                (along, row) = (axis, smaller);
                smaller = smaller.saturating_mul(counts[axis].max(1));
            }
            let count = (left / row).min(counts[along] - place[along]).max(1);
            let origin = self.origin(next);
            let mut size = [1; 3];
            size[..along].copy_from_slice(&self.grid[..along]);
            size[along] = if along == self.axis {
                count.saturating_mul(self.step).min(self.grid[along] - origin[along])
            } else {
                count
            };
            let first = next;
            next += count * row;
            Some((first, Block { origin, size }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn covered(cut: GridPartition, ranges: &[Range<u32>]) -> Vec<[u32; 3]> {
        let mut all = Vec::new();
        for range in ranges {
            for (first, Block { origin, size }) in cut.blocks(range.clone()) {
                assert_eq!(cut.origin(first), origin);
                for z in 0..size[2] {
                    for y in 0..size[1] {
                        all.extend((0..size[0]).map(|x| [origin[0] + x, origin[1] + y, origin[2] + z]));
                    }
                }
            }
        }
        all
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "a few hundred workgroups")]
    fn every_workgroup_is_dispatched_once_however_a_pass_is_cut() {
        for grid in [[1, 1, 1], [7, 1, 1], [7, 3, 2], [1, 5, 4], [64, 2, 1], [3, 1, 9], [1, 1, 13]] {
            let all: u32 = grid.iter().product();
            for max in [1, 2, 3, 5, 8, 21, 1000] {
                let cut = GridPartition::fine(grid, max);
                let units = cut.units();
                assert!(units <= max.max(1), "{cut:?}");
                for stride in 1..=units {
                    let ranges: Vec<_> = (0..units)
                        .step_by(stride as usize)
                        .map(|first| first..(first + stride).min(units))
                        .collect();
                    let seen = covered(cut, &ranges);
                    assert_eq!(seen.len() as u32, all, "{cut:?} by {stride}");
                    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len() as u32, all);
                }
            }
        }
    }

    #[test]
    fn neighbouring_units_are_dispatched_together() {
        let cut = GridPartition::fine([8, 4, 2], 1000);
        assert_eq!(cut.units(), 64);
        let blocks = |range| cut.blocks(range).map(|(_, block)| block.size).collect::<Vec<_>>();
        assert_eq!(blocks(0..64), [[8, 4, 2]]);
        assert_eq!(blocks(0..32), [[8, 4, 1]]);
        assert_eq!(blocks(3..35), [[5, 1, 1], [8, 3, 1], [3, 1, 1]]);
        let whole = GridPartition::whole([8, 4, 2]);
        assert_eq!((whole.units(), whole.blocks(0..1).count()), (1, 1));
    }

    #[test]
    fn a_pass_without_workgroups_is_cut_too() {
        for cut in [GridPartition::whole([0, 1, 1]), GridPartition::fine([0, 3, 1], 8)] {
            assert!(cut.blocks(0..cut.units()).all(|(_, block)| block.size.contains(&0)));
        }
    }
}
