//! Questions about masks, and their answers.

use std::time::Duration;

use foveal_kernels::HostTensor;
use foveal_kernels::block_mask::{BlockMask, Counts};
use foveal_kernels::expr::{Expr, Program, Sizes};

/// The mask that was asked about.
pub(super) struct Question {
    pub(super) expression: Expr,
    pub(super) program: Program,
    pub(super) sizes: Sizes,
    pub(super) block: [usize; 2],
    pub(super) head: Option<usize>,
    pub(super) tables: Vec<(String, HostTensor)>,
}

/// The answer.
pub(super) struct Answer {
    /// The lists, exact if elements were looked at.
    pub(super) mask: BlockMask,
    /// Counts by the classes of blocks alone.
    pub(super) by_classes: Counts,
    pub(super) exact: bool,
    pub(super) classes_took: Duration,
    pub(super) elements_took: Duration,
    pub(super) lists: Vec<List>,
}

/// Counts of the blocks of one list.
pub(super) struct List {
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) counts: Counts,
    pub(super) visited: f64,
    pub(super) visible: f64,
}

pub(super) fn total(lists: &[List]) -> Counts {
    let sum = |of: fn(&Counts) -> u64| lists.iter().map(|list| of(&list.counts)).sum();
    Counts { full: sum(|c| c.full), partial: sum(|c| c.partial), empty: sum(|c| c.empty) }
}

#[expect(clippy::cast_precision_loss, reason = "a number of heads")]
pub(super) fn mean(lists: &[List], of: impl Fn(&List) -> f64) -> f64 {
    lists.iter().map(of).sum::<f64>() / lists.len().max(1) as f64
}

pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
