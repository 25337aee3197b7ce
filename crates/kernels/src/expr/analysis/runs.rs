//! Sets of positions along one axis, for conditions that depend on nothing else: any combination of them is exact.

use super::{class::Class, interval::Ints};
use crate::expr::{
    Comparison,
    ir::arithmetic::{floor_divide, floor_remainder},
};

/// Runs of positions, ascending and apart, within a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runs {
    domain: Ints,
    runs: Vec<Ints>,
}

/// Sets with more runs than this are not made: they would take longer to build than they save.
pub(crate) const MAX_RUNS: usize = 1 << 14;

impl Runs {
    /// One run, cut to the domain.
    pub(crate) fn between(lo: i64, hi: i64, domain: Ints) -> Self {
        let run = Ints::new(lo.max(domain.lo), hi.min(domain.hi));
        Self { domain, runs: if run.lo <= run.hi { vec![run] } else { Vec::new() } }
    }

    /// The positions `x` where `factor * x + constant` compares with 0 as `by` says; `factor` is not 0.
    pub(crate) fn of_comparison(by: Comparison, factor: i64, constant: i64, domain: Ints) -> Option<Self> {
        let negated = |n: i64| n.checked_neg();
        Some(match by {
            Comparison::Equal => {
                let zero = negated(constant)?;
                if floor_remainder(zero, factor) == 0 {
                    let at = floor_divide(zero, factor);
                    Self::between(at, at, domain)
                } else {
                    Self { domain, runs: Vec::new() }
                }
            }
            Comparison::NotEqual => {
                Self::of_comparison(Comparison::Equal, factor, constant, domain)?.complement()
            }
            Comparison::LessEqual => {
                // factor * x <= -constant
                let bound = negated(constant)?;
                if factor > 0 {
                    Self::between(i64::MIN, floor_divide(bound, factor), domain)
                } else {
                    // x >= bound / factor, rounded up
                    let up = negated(floor_divide(bound, negated(factor)?))?;
                    Self::between(up, i64::MAX, domain)
                }
            }
            Comparison::Less => {
                Self::of_comparison(Comparison::LessEqual, factor, constant.checked_add(1)?, domain)?
            }
            Comparison::Greater => {
                Self::of_comparison(Comparison::LessEqual, factor, constant, domain)?.complement()
            }
            Comparison::GreaterEqual => {
                Self::of_comparison(Comparison::Less, factor, constant, domain)?.complement()
            }
        })
    }

    /// The positions whose remainder by `period` is less than `width`, both at least 1; nothing if there are too many runs.
    pub(crate) fn periodic(domain: Ints, period: i64, width: i64) -> Option<Self> {
        if width >= period {
            return Some(Self::between(domain.lo, domain.hi, domain));
        }
        let mut runs = Vec::new();
        let mut start = floor_divide(domain.lo, period).checked_mul(period)?;
        while start <= domain.hi {
            let run = Ints::new(start.max(domain.lo), (start.checked_add(width - 1)?).min(domain.hi));
            if run.lo <= run.hi {
                runs.push(run);
            }
            if runs.len() > MAX_RUNS {
                return None;
            }
            start = start.checked_add(period)?;
        }
        Some(Self { domain, runs })
    }

    /// The positions for which `holds` says so; nothing if they are too scattered or a question fails.
    pub(crate) fn collect(domain: Ints, mut holds: impl FnMut(i64) -> Option<bool>) -> Option<Self> {
        let mut runs: Vec<Ints> = Vec::new();
        for at in domain.lo..=domain.hi {
            if !holds(at)? {
                continue;
            }
            if let Some(run) = runs.last_mut().filter(|run| run.hi + 1 == at) {
                run.hi = at;
            } else if runs.len() == MAX_RUNS {
                return None;
            } else {
                runs.push(Ints::one(at));
            }
        }
        Some(Self { domain, runs })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether every position of the domain is in the set.
    pub(crate) fn is_whole(&self) -> bool {
        self.runs.first() == Some(&self.domain)
    }

    /// The positions of the domain that are not in the set.
    pub(crate) fn complement(&self) -> Self {
        let mut runs = Vec::with_capacity(self.runs.len() + 1);
        let mut next = self.domain.lo;
        for run in &self.runs {
            if next < run.lo {
                runs.push(Ints::new(next, run.lo - 1));
            }
            next = run.hi + 1;
        }
        if next <= self.domain.hi {
            runs.push(Ints::new(next, self.domain.hi));
        }
        Self { domain: self.domain, runs }
    }

    /// The positions in both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut runs = Vec::new();
        let (mut i, mut j) = (0, 0);
        while let (Some(a), Some(b)) = (self.runs.get(i), other.runs.get(j)) {
            let both = Ints::new(a.lo.max(b.lo), a.hi.min(b.hi));
            if both.lo <= both.hi {
                runs.push(both);
            }
            if a.hi < b.hi {
                i += 1;
            } else {
                j += 1;
            }
        }
        Self { domain: self.domain, runs }
    }

    /// The positions in either.
    pub(crate) fn union(&self, other: &Self) -> Self {
        self.complement().intersection(&other.complement()).complement()
    }

    /// Which positions of `range`, a non-empty part of the domain, are in the set.
    #[inline]
    pub(crate) fn class(&self, range: Ints) -> Class {
        let at = match self.runs.as_slice() {
            [] => return Class::None,
            [run] => usize::from(run.hi < range.lo),
            runs => runs.partition_point(|run| run.hi < range.lo),
        };
        match self.runs.get(at) {
            Some(run) if run.lo <= range.lo && range.hi <= run.hi => Class::All,
            Some(run) if run.lo <= range.hi => Class::Mixed,
            _ => Class::None,
        }
    }

    /// The least range that holds every position of `range` that is in the set.
    pub(crate) fn hull(&self, range: Ints) -> Option<Ints> {
        let first = self.runs.partition_point(|run| run.hi < range.lo);
        let end = self.runs.partition_point(|run| run.lo <= range.hi);
        let (first, last) = (self.runs.get(first)?, self.runs.get(end.checked_sub(1)?)?);
        let hull = Ints::new(first.lo.max(range.lo), last.hi.min(range.hi));
        (hull.lo <= hull.hi).then_some(hull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_hold_where_they_say() {
        let domain = Ints::new(-9, 9);
        let comparisons = [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessEqual,
            Comparison::Greater,
            Comparison::GreaterEqual,
        ];
        for by in comparisons {
            for factor in (-4..=4).filter(|&f| f != 0) {
                for constant in -20..=20 {
                    let set = Runs::of_comparison(by, factor, constant, domain).unwrap();
                    let compare =
                        |x: i64| crate::expr::ir::arithmetic::compare(by, &(factor * x + constant), &0);
                    assert_eq!(
                        Some(set),
                        Runs::collect(domain, |x| Some(compare(x))),
                        "{by:?} {factor} {constant}"
                    );
                }
            }
        }
    }

    #[test]
    fn sets_combine_and_classify() {
        let domain = Ints::new(0, 9);
        let set = |bits: u32| Runs::collect(domain, |x| Some(bits >> x & 1 == 1)).unwrap();
        for bits in 0..1024 {
            let other = (bits * 7 + 3) % 1024;
            let (a, b) = (set(bits), set(other));
            assert_eq!(a.intersection(&b), set(bits & other));
            assert_eq!(a.union(&b), set(bits | other));
            assert_eq!(a.complement(), set(!bits & 1023));
            assert_eq!((a.is_empty(), a.is_whole()), (bits == 0, bits == 1023));
            for lo in 0..10 {
                for hi in lo..10 {
                    let inside: Vec<_> = (lo..=hi).filter(|x| bits >> x & 1 == 1).collect();
                    let all = inside.len() == (lo..=hi).count();
                    let class = if inside.is_empty() {
                        Class::None
                    } else if all {
                        Class::All
                    } else {
                        Class::Mixed
                    };
                    let range = Ints::new(lo, hi);
                    assert_eq!(a.class(range), class);
                    let hull = inside.first().zip(inside.last()).map(|(&lo, &hi)| Ints::new(lo, hi));
                    assert_eq!(a.hull(range), hull);
                }
            }
        }
    }
}
