//! The rows that a reference computes.

use crate::Work;

/// Which rows a reference computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All.
    All,
    /// About this many full rows, drawn from `seed`; all if there are no more.
    Sample {
        /// How many.
        count: usize,
        /// Seed of the drawn rows.
        seed: u64,
    },
}

impl Rows {
    /// All rows if the problem is small enough for the reference to take well under a second, a sample if not.
    #[must_use]
    pub fn affordable(work: &Work, seed: u64) -> Self {
        Self::within(work, 2e9, 512, seed)
    }

    /// The rows that were drawn of `count`, in order; `None` for all.
    pub(crate) fn chosen(self, count: usize) -> Option<Vec<usize>> {
        match self {
            Self::Sample { count: wanted, seed } if wanted < count => {
                let mut chosen = fastrand::Rng::with_seed(seed).choose_multiple(0..count, wanted);
                chosen.sort_unstable();
                Some(chosen)
            }
            _ => None,
        }
    }

    /// All rows if the problem takes at most `flops` operations, about `count` of them if it takes more.
    #[must_use]
    pub fn within(work: &Work, flops: f64, count: usize, seed: u64) -> Self {
        if work.flops <= flops { Self::All } else { Self::Sample { count, seed } }
    }
}
