//! Which tiles come first.

use crate::{
    AdapterKind,
    attention::{Attention, Mask},
};

/// The order in which workgroups take tiles, where it is known which ones take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TileScheduler {
    /// The longest first, for devices that start a workgroup as soon as another ends: none starts when all others are done.
    LongestFirst,
    /// Every stretch has its share of long and short ones, for devices that deal out a dispatch beforehand, a stretch to a
    /// thread.
    Zigzag,
}

impl TileScheduler {
    /// The one for a kind of device. llvmpipe is what deals dispatches out beforehand; SwiftShader is as fast either way.
    pub(crate) fn of(kind: AdapterKind) -> Self {
        if kind == AdapterKind::Cpu { Self::Zigzag } else { Self::LongestFirst }
    }

    /// Whether the kernel itself pairs tiles: where each one takes longer than the one before, and all of them are
    /// dispatched.
    pub(crate) fn pairs(self, spec: &Attention) -> bool {
        let rising = matches!(*spec.effective_mask(), Mask::Causal | Mask::CausalTopLeft);
        self == Self::Zigzag && rising && !spec.own_lengths().queries
    }

    /// Tiles that take less and less time, in this order.
    pub(crate) fn arrange(self, falling: Vec<usize>) -> Vec<usize> {
        if self == Self::LongestFirst {
            return falling;
        }
        // A long one with a short one, and the pairs by their numbers' bits from behind: neighbours come from afar.
        let mut pairs: Vec<usize> = (0..falling.len().div_ceil(2)).collect();
        pairs.sort_by_key(|pair| pair.reverse_bits());
        let last = falling.len().saturating_sub(1);
        pairs
            .into_iter()
            .flat_map(|pair| [Some(pair), Some(last - pair).filter(|&other| other > pair)])
            .flatten()
            .map(|at| falling[at])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stretch_of_an_even_order_has_its_share_of_work() {
        for count in 0..70 {
            // As causal lists are: each one shorter than the one before.
            let order = TileScheduler::Zigzag.arrange((1..=count).rev().collect());
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(1..=count), "{order:?}");
            let mean = (count + 1) as f64 / 2.0;
            for (first, len) in (0..count).flat_map(|first| (1..=count - first).map(move |len| (first, len)))
            {
                let work: usize = order[first..first + len].iter().sum();
                // At most one list sticks out at either end.
                let off = (work as f64 - mean * len as f64).abs();
                assert!(off <= count as f64, "{first}, {len} of {order:?}: {off}");
            }
            assert!(
                TileScheduler::LongestFirst
                    .arrange((1..=count).rev().collect())
                    .into_iter()
                    .eq((1..=count).rev())
            );
        }
    }
}
