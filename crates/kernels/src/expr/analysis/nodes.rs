//! Values that are found for every block, in order: the program of interval evaluation.

use std::sync::Arc;

use super::{
    class::Class,
    linear::{Axis, Form},
    runs::Runs,
};
use crate::expr::{Comparison, Op, Shape, StepId, Type, ir::dependence::operands};

/// A value that is found for every block; operands are earlier nodes.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A truth value that no block changes.
    Known(Class),
    Shape(Shape),
    /// How a linear form compares with 0.
    Sign(Comparison, Form),
    Not(usize),
    Truths(Truths),
    Compare(Comparison, usize, usize),
    Linear(Form),
    /// The kv head, where a group has this many query heads.
    KvHead(i64),
    /// An operation on numbers, its operands given as nodes.
    Number(Op, Type),
}

/// A conjunction or a disjunction.
#[derive(Clone, Debug)]
pub(crate) struct Truths {
    /// Whether every part has to hold, rather than any.
    pub(crate) every: bool,
    /// Parts that are sets, at most one an axis, in the order of the axes.
    pub(crate) sets: Vec<AxisSet>,
    /// The other parts.
    pub(crate) rest: Vec<usize>,
}

/// A set of positions along an axis.
#[derive(Clone, Debug)]
pub(crate) struct AxisSet {
    pub(crate) axis: Axis,
    pub(crate) runs: Arc<Runs>,
    /// Where this part alone does not decide: the set in a conjunction, what it leaves out in a disjunction.
    pub(crate) narrowing: Arc<Runs>,
}

/// The operation with other operands.
pub(crate) fn remap(op: &Op, to: impl Fn(StepId) -> usize) -> Op {
    match *op {
        Op::Negate(a) => Op::Negate(to(a)),
        Op::Abs(a) => Op::Abs(to(a)),
        Op::Floor(a) => Op::Floor(to(a)),
        Op::Sqrt(a) => Op::Sqrt(to(a)),
        Op::Exp(a) => Op::Exp(to(a)),
        Op::Log(a) => Op::Log(to(a)),
        Op::Tanh(a) => Op::Tanh(to(a)),
        Op::ToFloat(a) => Op::ToFloat(to(a)),
        Op::Slope(a) => Op::Slope(to(a)),
        Op::Add(a, b) => Op::Add(to(a), to(b)),
        Op::Subtract(a, b) => Op::Subtract(to(a), to(b)),
        Op::Multiply(a, b) => Op::Multiply(to(a), to(b)),
        Op::Divide(a, b) => Op::Divide(to(a), to(b)),
        Op::Remainder(a, b) => Op::Remainder(to(a), to(b)),
        Op::Min(a, b) => Op::Min(to(a), to(b)),
        Op::Max(a, b) => Op::Max(to(a), to(b)),
        // A table's range does not depend on the place that is read.
        Op::Lookup { table, .. } => Op::Lookup { table, indices: Vec::new() },
        Op::Bool(_)
        | Op::Int(_)
        | Op::Float(_)
        | Op::Variable(_)
        | Op::Not(_)
        | Op::And(..)
        | Op::Or(..)
        | Op::Compare(..)
        | Op::Shape { .. } => op.clone(),
    }
}

/// The nodes that `root` needs, and no others, in order.
pub(crate) fn compact(nodes: &[Node], root: usize) -> Vec<Node> {
    let mut needed = vec![false; root + 1];
    needed[root] = true;
    let mut place = vec![0; root + 1];
    let mut kept = Vec::new();
    for at in (0..=root).rev() {
        if needed[at] {
            parts(&nodes[at]).for_each(|part| needed[part] = true);
        }
    }
    for at in 0..=root {
        if needed[at] {
            place[at] = kept.len();
            kept.push(moved(&nodes[at], &place));
        }
    }
    kept
}

fn parts(node: &Node) -> Box<dyn Iterator<Item = usize> + '_> {
    match node {
        Node::Known(_) | Node::Shape(_) | Node::Sign(..) | Node::Linear(_) | Node::KvHead(_) => {
            Box::new(std::iter::empty())
        }
        Node::Not(a) => Box::new(std::iter::once(*a)),
        Node::Compare(_, a, b) => Box::new([*a, *b].into_iter()),
        Node::Truths(truths) => Box::new(truths.rest.iter().copied()),
        Node::Number(op, _) => Box::new(operands(op)),
    }
}

fn moved(node: &Node, place: &[usize]) -> Node {
    match node {
        Node::Not(a) => Node::Not(place[*a]),
        Node::Compare(by, a, b) => Node::Compare(*by, place[*a], place[*b]),
        Node::Truths(truths) => {
            let rest = truths.rest.iter().map(|&part| place[part]).collect();
            Node::Truths(Truths { rest, ..truths.clone() })
        }
        Node::Number(op, ty) => Node::Number(remap(op, |operand| place[operand]), *ty),
        other => other.clone(),
    }
}
