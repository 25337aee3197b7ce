//! Branches of which a wave takes one side: found in the block graph, so that the model need not add both up.

use std::collections::BTreeSet;

use crate::assembly::{Block, Class, Instruction};
use crate::flow::{Loop, innermost, successors};

/// An `if` with an `else`: two sides that exclude each other for every lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diamond {
    /// The block that decides.
    pub fork: usize,
    /// The blocks of either side, none empty.
    pub sides: [BTreeSet<usize>; 2],
    /// The block where both go on.
    pub join: usize,
}

/// The `if`/`else`s of a program, inner before outer.
///
/// Two forms count. A jump that all lanes agree on leaves two paths that meet in the block that post-dominates the fork.
/// Where lanes disagree, ACO makes two plain `if`s in a row; the second runs under the first's saved mask without the
/// lanes that the first had (`s_andn2 exec, saved, exec`), which no other construct produces. Either side is skipped by a
/// jump if no lane wants it, so a wave whose lanes agree pays for one.
///
/// A side that the compiler found too short to be worth a jump is no block of its own, hence no side here. Neither are
/// sides with a loop or a barrier, which are parts of their own.
pub fn diamonds(blocks: &[Block], loops: &[Loop]) -> Vec<Diamond> {
    let graph = Graph::new(blocks, loops);
    let mut found: Vec<Diamond> =
        (0..blocks.len()).filter_map(|fork| graph.uniform(fork).or_else(|| graph.divergent(fork))).collect();
    found.sort_by_key(|d| (d.sides[0].len() + d.sides[1].len(), d.fork));
    found
}

/// Blocks that a wave does not run if it takes the longer side of every `if`/`else`, and none of the plain `if`s whose
/// body begins with a label in `rare`.
pub fn skipped(blocks: &[Block], loops: &[Loop], rare: &[String]) -> BTreeSet<usize> {
    let graph = Graph::new(blocks, loops);
    let mut out = BTreeSet::new();
    for (index, block) in blocks.iter().enumerate().skip(1) {
        if rare.contains(&block.label)
            && let Some(join) = graph.join(index - 1)
        {
            out.extend(graph.side(index - 1, index, join).unwrap_or_default());
        }
    }
    for diamond in diamonds(blocks, loops) {
        let length = |side: &BTreeSet<usize>| -> usize {
            side.difference(&out).map(|&b| blocks[b].instructions.len()).sum()
        };
        let [first, second] = &diamond.sides;
        let shorter = if length(second) <= length(first) { second } else { first };
        out.extend(shorter.clone());
    }
    out
}

/// The program without its jumps back. Blocks are in order of address, so every edge that is left goes up.
struct Graph<'a> {
    blocks: &'a [Block],
    homes: Vec<Option<usize>>,
    next: Vec<BTreeSet<usize>>,
    before: Vec<BTreeSet<usize>>,
    /// The nearest block that every way onwards from a block passes.
    joins: Vec<Option<usize>>,
}

impl<'a> Graph<'a> {
    fn new(blocks: &'a [Block], loops: &[Loop]) -> Self {
        let mut next = successors(blocks);
        let mut before = vec![BTreeSet::new(); blocks.len()];
        for (from, targets) in next.iter_mut().enumerate() {
            targets.retain(|&to| to > from);
            for &to in targets.iter() {
                before[to].insert(from);
            }
        }
        // Every edge goes up, so one pass from the end settles the post-dominators.
        let mut after: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); blocks.len()];
        let mut joins = vec![None; blocks.len()];
        for block in (0..blocks.len()).rev() {
            let common = next[block].iter().map(|&to| &after[to]);
            let common = common.cloned().reduce(|a, b| &a & &b).unwrap_or_default();
            joins[block] = common.first().copied();
            after[block] = common;
            after[block].insert(block);
        }
        Self { blocks, homes: innermost(blocks.len(), loops), next, before, joins }
    }

    fn join(&self, fork: usize) -> Option<usize> {
        self.joins[fork].filter(|_| self.next[fork].len() == 2)
    }

    /// The blocks from `first` up to the join; `None` unless they are entered from the fork only, belong to the fork's
    /// loop and have no barrier. Empty where the fork jumps to the join.
    fn side(&self, fork: usize, first: usize, join: usize) -> Option<BTreeSet<usize>> {
        let mut side = BTreeSet::new();
        let mut pending = vec![first];
        while let Some(block) = pending.pop() {
            if block != join && side.insert(block) {
                pending.extend(&self.next[block]);
            }
        }
        let closed = side.iter().all(|&block| {
            self.homes[block] == self.homes[fork]
                && self.before[block].iter().all(|from| *from == fork || side.contains(from))
                && self.blocks[block].instructions.iter().all(|i| i.class() != Class::Barrier)
        });
        closed.then_some(side)
    }

    fn uniform(&self, fork: usize) -> Option<Diamond> {
        let join = self.join(fork)?;
        let mut sides = self.next[fork].iter().map(|&first| self.side(fork, first, join));
        let sides = [sides.next()??, sides.next()??];
        let apart = sides.iter().all(|s| !s.is_empty()) && sides[0].is_disjoint(&sides[1]);
        apart.then_some(Diamond { fork, sides, join })
    }

    fn divergent(&self, fork: usize) -> Option<Diamond> {
        let then_join = self.plain_if(fork)?;
        let mask = saved_mask(&self.blocks[then_join])?;
        let saves = |i: &Instruction| {
            let mut operands = i.operands.split(',').map(str::trim);
            operands.next() == Some(mask)
                && (i.mnemonic.contains("saveexec") || operands.next_back().is_some_and(is_exec))
        };
        if !self.blocks[fork].instructions.iter().any(saves) {
            return None;
        }
        let join = self.plain_if(then_join)?;
        let then = self.side(fork, *self.next[fork].first()?, then_join)?;
        let otherwise = self.side(then_join, *self.next[then_join].first()?, join)?;
        Some(Diamond { fork, sides: [then, otherwise], join })
    }

    /// The join of an `if` without `else` that is skipped where no lane wants it.
    fn plain_if(&self, fork: usize) -> Option<usize> {
        let join = self.join(fork)?;
        let skips = self.blocks[fork].instructions.last()?.mnemonic == "s_cbranch_execz";
        (skips && self.next[fork].contains(&join)).then_some(join)
    }
}

/// The register that holds the mask of an `if`/`else`, where a block is what stands between its sides.
fn saved_mask(block: &Block) -> Option<&str> {
    block.instructions.iter().find_map(|i| {
        let flips = matches!(
            i.mnemonic.as_str(),
            "s_andn2_b64" | "s_andn2_b32" | "s_and_not1_b64" | "s_and_not1_b32"
        );
        let operands: Vec<&str> = i.operands.split(',').map(str::trim).collect();
        match operands[..] {
            [to, mask, without] if flips && is_exec(to) && is_exec(without) => Some(mask),
            _ => None,
        }
    })
}

fn is_exec(operand: &str) -> bool {
    matches!(operand, "exec" | "exec_lo")
}
