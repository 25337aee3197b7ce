//! Control flow of the parsed program: which loops there are and how they nest.

use std::collections::{BTreeMap, BTreeSet};

use crate::assembly::Block;

/// A natural loop: everything that can reach a jump back to the header without passing the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Index of the block that every turn starts with.
    pub header: usize,
    /// Indices of all blocks, inner loops' included, ascending.
    pub blocks: BTreeSet<usize>,
    /// 1 for an outermost loop.
    pub depth: usize,
    /// Index of the loop directly around this one.
    pub parent: Option<usize>,
}

/// Finds the loops of a program, ordered by the address of their header (outer before inner).
///
/// Loops with one header are one loop, as `continue` makes several jumps back of it. Irreducible flow, which structured
/// shaders cannot contain, is not a loop here.
pub fn loops(blocks: &[Block]) -> Vec<Loop> {
    let successors = successors(blocks);
    let dominators = dominators(&successors);
    let mut predecessors = vec![Vec::new(); blocks.len()];
    for (from, targets) in successors.iter().enumerate() {
        for &to in targets {
            predecessors[to].push(from);
        }
    }

    let mut found: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, targets) in successors.iter().enumerate() {
        for &header in targets {
            if !dominators[from].contains(&header) {
                continue;
            }
            let body = found.entry(header).or_insert_with(|| BTreeSet::from([header]));
            let mut pending = vec![from];
            while let Some(block) = pending.pop() {
                if body.insert(block) {
                    pending.extend(&predecessors[block]);
                }
            }
        }
    }

    let mut loops: Vec<Loop> =
        found.into_iter().map(|(header, blocks)| Loop { header, blocks, depth: 1, parent: None }).collect();
    let parents: Vec<Option<usize>> = (0..loops.len())
        .map(|inner| {
            (0..loops.len())
                .filter(|&outer| outer != inner && loops[outer].blocks.contains(&loops[inner].header))
                .filter(|&outer| loops[outer].blocks.is_superset(&loops[inner].blocks))
                .min_by_key(|&outer| loops[outer].blocks.len())
        })
        .collect();
    for index in 0..loops.len() {
        let mut up = parents[index];
        loops[index].parent = up;
        while let Some(outer) = up {
            loops[index].depth += 1;
            up = parents[outer];
        }
    }
    loops
}

/// For every block the innermost loop it is in, as an index into `loops`.
pub fn innermost(blocks: usize, loops: &[Loop]) -> Vec<Option<usize>> {
    (0..blocks)
        .map(|block| {
            (0..loops.len()).filter(|&l| loops[l].blocks.contains(&block)).max_by_key(|&l| loops[l].depth)
        })
        .collect()
}

/// Where control may go from every block.
pub(crate) fn successors(blocks: &[Block]) -> Vec<BTreeSet<usize>> {
    let by_label: BTreeMap<&str, usize> =
        blocks.iter().enumerate().map(|(i, b)| (b.label.as_str(), i)).collect();
    blocks
        .iter()
        .enumerate()
        .map(|(index, block)| {
            let mut next: BTreeSet<usize> =
                block.instructions.iter().filter_map(|i| by_label.get(i.target()?).copied()).collect();
            let goes_on = block.instructions.last().is_none_or(crate::assembly::Instruction::falls_through);
            if goes_on && index + 1 < blocks.len() {
                next.insert(index + 1);
            }
            next
        })
        .collect()
}

/// The classic fixed point over sets; programs have a few dozen blocks.
fn dominators(successors: &[BTreeSet<usize>]) -> Vec<BTreeSet<usize>> {
    let count = successors.len();
    let everything: BTreeSet<usize> = (0..count).collect();
    let mut dominators = vec![everything; count];
    let mut reached = vec![false; count];
    if count > 0 {
        dominators[0] = BTreeSet::from([0]);
        reached[0] = true;
    }
    let mut changed = true;
    while changed {
        changed = false;
        for from in 0..count {
            if !reached[from] {
                continue;
            }
            let through = dominators[from].clone();
            for &to in &successors[from] {
                changed |= !std::mem::replace(&mut reached[to], true);
                let mut met: BTreeSet<usize> = dominators[to].intersection(&through).copied().collect();
                met.insert(to);
                if met != dominators[to] {
                    dominators[to] = met;
                    changed = true;
                }
            }
        }
    }
    // Code that nothing jumps to has no loops: an unreached block dominates nothing but itself.
    for (block, seen) in reached.iter().enumerate() {
        if !seen {
            dominators[block] = BTreeSet::from([block]);
        }
    }
    dominators
}
