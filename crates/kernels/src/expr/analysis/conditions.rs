//! Conditions on positions, and how they are negated and joined.

use std::sync::Arc;

use super::{
    class::Class,
    linear::Axis,
    nodes::{AxisSet, Node, Truths},
    runs::Runs,
};

/// Conditions longer than this become a part of their own, so that joining many takes no time that grows with its square.
const MAX_PARTS: usize = 32;

/// A condition while it is being put together.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    every: bool,
    sets: [Option<Arc<Runs>>; 5],
    pub(super) rest: Vec<usize>,
}

/// The nodes so far.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
}

impl Nodes {
    pub(super) fn as_slice(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(super) fn negated(&mut self, truth: Truth) -> Truth {
        let sets = truth.sets.map(|set| set.map(|runs| Arc::new(runs.complement())));
        let rest = truth.rest.into_iter().map(|part| match self.nodes[part] {
            Node::Not(inner) => inner,
            _ => self.push(Node::Not(part)),
        });
        let rest = rest.collect();
        Truth { every: !truth.every, sets, rest }
    }

    /// The conjunction, or the disjunction.
    pub(super) fn join(&mut self, every: bool, a: Truth, b: Truth) -> Truth {
        for truth in [&a, &b] {
            // True for a disjunction, false for a conjunction: the other does not matter.
            if truth.len() == 0 && truth.every != every {
                return Truth::known(!every);
            }
        }
        let (mut joined, other) = (self.as_parts(every, a), self.as_parts(every, b));
        for (to, from) in joined.sets.iter_mut().zip(other.sets) {
            let Some(from) = from else { continue };
            let runs = match to.as_deref() {
                Some(to) if every => to.intersection(&from),
                Some(to) => to.union(&from),
                None => {
                    *to = Some(from);
                    continue;
                }
            };
            if if every { runs.is_empty() } else { runs.is_whole() } {
                return Truth::known(!every);
            }
            let neutral = if every { runs.is_whole() } else { runs.is_empty() };
            *to = (!neutral).then(|| Arc::new(runs));
        }
        for part in other.rest {
            if !joined.rest.contains(&part) {
                joined.rest.push(part);
            }
        }
        joined
    }

    /// A condition as parts of a conjunction, or of a disjunction.
    fn as_parts(&mut self, every: bool, truth: Truth) -> Truth {
        if truth.len() <= 1 || (truth.every == every && truth.rest.len() <= MAX_PARTS) {
            return Truth { every, ..truth };
        }
        let node = self.node_of(truth);
        Truth { every, ..Truth::part(node) }
    }

    /// The node that tells a condition's class.
    pub(super) fn node_of(&mut self, truth: Truth) -> usize {
        if let (1, [only]) = (truth.len(), truth.rest.as_slice()) {
            return *only;
        }
        if truth.len() == 0 {
            return self.push(Node::Known(if truth.every { Class::All } else { Class::None }));
        }
        let every = truth.every;
        let sets = Axis::ALL.into_iter().zip(truth.sets).filter_map(|(axis, runs)| {
            let runs = runs?;
            let narrowing = if every { Arc::clone(&runs) } else { Arc::new(runs.complement()) };
            Some(AxisSet { axis, runs, narrowing })
        });
        let truths = Truths { every, sets: sets.collect(), rest: truth.rest };
        self.push(Node::Truths(truths))
    }
}

impl Truth {
    pub(super) fn known(value: bool) -> Self {
        Self { every: value, sets: Default::default(), rest: Vec::new() }
    }

    pub(super) fn certain() -> Self {
        Self::known(true)
    }

    pub(super) fn part(node: usize) -> Self {
        Self { every: true, sets: Default::default(), rest: vec![node] }
    }

    pub(super) fn set(axis: Axis, runs: Runs) -> Self {
        if runs.is_empty() || runs.is_whole() {
            return Self::known(!runs.is_empty());
        }
        let mut truth = Self::certain();
        for (place, set) in Axis::ALL.into_iter().zip(&mut truth.sets) {
            if place == axis {
                *set = Some(Arc::new(runs));
                break;
            }
        }
        truth
    }

    pub(super) fn len(&self) -> usize {
        self.sets.iter().flatten().count() + self.rest.len()
    }
}
