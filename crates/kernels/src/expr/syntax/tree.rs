//! The syntax tree: nodes in one list, operands before what uses them.
//!
//! A list rather than boxes, so that chains of thousands of operands are walked, compared and dropped by loops.

use std::sync::Arc;

use super::names::Builtin;
use crate::{expr::Comparison, expr::Variable};

/// Position of a node in its list.
pub(crate) type NodeId = usize;

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) form: Form,
    /// Where its operator or name stands, counted from 1 in characters.
    pub(crate) column: usize,
    /// Where the text of the whole operand begins: left of `column` in `a + b`, and its parenthesis if it has one.
    pub(crate) start: usize,
}

/// Content of a node.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    Bool(bool),
    Int(i64),
    Float(f64),
    Variable(Variable),
    /// `qp`.
    Position,
    Unary(Unary, NodeId),
    Binary(Binary, NodeId, NodeId),
    Call(Builtin, Vec<NodeId>),
    /// `same(t)` and `same(tq, tk)`.
    Same(Arc<str>, Option<Arc<str>>),
    Lookup(Arc<str>, Vec<NodeId>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Not,
    Negate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Or,
    And,
    Compare(Comparison),
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How tightly unary operators bind; binary ones bind less, everything else more.
pub(crate) const UNARY_LEVEL: u8 = 6;

impl Binary {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Or => "|",
            Self::And => "&",
            Self::Compare(Comparison::Equal) => "==",
            Self::Compare(Comparison::NotEqual) => "!=",
            Self::Compare(Comparison::Less) => "<",
            Self::Compare(Comparison::LessEqual) => "<=",
            Self::Compare(Comparison::Greater) => ">",
            Self::Compare(Comparison::GreaterEqual) => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    pub(crate) fn from_symbol(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "|" => Self::Or,
            "&" => Self::And,
            "==" => Self::Compare(Comparison::Equal),
            "!=" => Self::Compare(Comparison::NotEqual),
            "<" => Self::Compare(Comparison::Less),
            "<=" => Self::Compare(Comparison::LessEqual),
            ">" => Self::Compare(Comparison::Greater),
            ">=" => Self::Compare(Comparison::GreaterEqual),
            "+" => Self::Add,
            "-" => Self::Subtract,
            "*" => Self::Multiply,
            "/" => Self::Divide,
            "%" => Self::Remainder,
            _ => return None,
        })
    }

    /// How tightly it binds.
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Compare(_) => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Remainder => 5,
        }
    }
}

impl Form {
    /// The same with every operand replaced.
    pub(crate) fn map(&self, mut f: impl FnMut(NodeId) -> NodeId) -> Self {
        match self {
            Self::Unary(op, a) => Self::Unary(*op, f(*a)),
            Self::Binary(op, a, b) => {
                let a = f(*a);
                Self::Binary(*op, a, f(*b))
            }
            Self::Call(builtin, arguments) => Self::Call(*builtin, arguments.iter().map(|&a| f(a)).collect()),
            Self::Lookup(name, indices) => {
                Self::Lookup(name.clone(), indices.iter().map(|&i| f(i)).collect())
            }
            leaf => leaf.clone(),
        }
    }

    /// How tightly its text holds together.
    pub(crate) fn level(&self) -> u8 {
        match self {
            Self::Binary(op, ..) => op.level(),
            Self::Unary(..) => UNARY_LEVEL,
            Self::Int(value) if *value < 0 => UNARY_LEVEL,
            Self::Float(value) if value.is_sign_negative() => UNARY_LEVEL,
            _ => UNARY_LEVEL + 1,
        }
    }
}

/// The nodes that `root` needs, in their order, `root` last; `keep` is told each one's old position.
pub(crate) fn reachable(nodes: &[Node], root: NodeId, mut keep: impl FnMut(NodeId)) -> Vec<Node> {
    let mut needed = vec![false; root + 1];
    needed[root] = true;
    for id in (0..=root).rev() {
        if needed[id] {
            let _ = nodes[id].form.map(|child| {
                needed[child] = true;
                child
            });
        }
    }
    let mut moved = vec![0; root + 1];
    let mut kept = Vec::new();
    for id in (0..=root).filter(|&id| needed[id]) {
        moved[id] = kept.len();
        keep(id);
        let node = &nodes[id];
        kept.push(Node { form: node.form.map(|child| moved[child]), ..*node });
    }
    kept
}
