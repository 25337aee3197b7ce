//! Classes of blocks of queries and keys under a mask, without a look at their elements: nothing, everything, or both.

use std::ops::Range;

use super::{
    class::Class,
    interval::{Ints, Value, ValueRange},
    linear::{Axis, CoefficientRange},
    nodes::{Node, Truths},
    operations::{apply, table_values},
    plan::plan,
    shapes,
};
use crate::expr::{Comparison, Op, Program, Sizes, Type, ir::arithmetic::to_i64};

/// A block of the score matrices: ranges of indices, none empty. Indices beyond the problem's do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Batch entries, `b`.
    pub batch: Range<usize>,
    /// Query heads, `h`.
    pub heads: Range<usize>,
    /// Queries, `q`.
    pub queries: Range<usize>,
    /// Keys, `k`.
    pub keys: Range<usize>,
}

/// Tells the class of blocks, millions of them: what can be known beforehand is worked out when it is made.
///
/// A class is never wrong: [`Class::None`] and [`Class::All`] hold for every element, in the reference and on the
/// device, whose floats round differently. It is exact for
///
/// - every [`Shape`](crate::expr::Shape) by itself;
/// - conditions that depend on one index or on the distance `q + nk - nq - k` only, and on no float, however they are
///   combined (where they are scattered into more than 16,384 runs, or take too long to try out, as
///   comparisons only);
/// - comparisons of ints that are linear in the indices.
///
/// Anything else is composed of these by what follows from the classes of the parts. Nothing is known of tables, but their
/// element type and what [`Classifier::with_table_ranges`] says, or of the score.
#[derive(Debug)]
pub struct Classifier {
    nodes: Vec<Node>,
    whole: Option<CoefficientRange>,
    sizes: Sizes,
    tables: Vec<Value>,
}

/// Programs of up to this many nodes are classified without allocating.
const ON_STACK: usize = 32;

impl Classifier {
    /// For a mask within `sizes`. (A score has no classes: it is mixed everywhere.)
    #[must_use]
    pub fn new(program: &Program, sizes: Sizes) -> Self {
        Self::with_table_ranges(program, sizes, &[])
    }

    /// With what is known of the tables' values, in the order of [`Program::tables`]; a table whose floats may be NaN has
    /// no range. Missing ones are unknown.
    #[must_use]
    pub fn with_table_ranges(program: &Program, sizes: Sizes, ranges: &[Option<ValueRange>]) -> Self {
        let whole = CoefficientRange::whole(sizes);
        let nodes = whole.map_or_else(Vec::new, |whole| plan(program, sizes, &whole));
        let tables = table_values(program, ranges);
        Self { nodes, whole, sizes, tables }
    }

    /// The class of a block. An empty one shows nothing.
    #[must_use]
    pub fn class(&self, region: &Region) -> Class {
        let Some(whole) = &self.whole else {
            return Class::Mixed;
        };
        let cut = |range: &Range<usize>, within: Ints| {
            Ints::new(to_i64(range.start), to_i64(range.end).saturating_sub(1).min(within.hi))
        };
        let batch = cut(&region.batch, whole.batch);
        let head = cut(&region.heads, whole.head);
        let query = cut(&region.queries, whole.query);
        let key = cut(&region.keys, whole.key);
        if [batch, head, query, key].iter().any(|range| range.lo > range.hi) {
            return Class::None;
        }
        let extent = CoefficientRange::new(batch, head, query, key, self.sizes);
        match self.nodes.as_slice() {
            [] => Class::Mixed,
            [only] => self.evaluate(only, &extent, &[]).0,
            nodes if nodes.len() <= ON_STACK => {
                self.run(nodes, &extent, &mut [(Class::Mixed, Value::Unknown); ON_STACK])
            }
            nodes => self.run(nodes, &extent, &mut vec![(Class::Mixed, Value::Unknown); nodes.len()]),
        }
    }

    fn run(&self, nodes: &[Node], extent: &CoefficientRange, values: &mut [(Class, Value)]) -> Class {
        for (at, node) in nodes.iter().enumerate() {
            values[at] = self.evaluate(node, extent, values);
        }
        values[nodes.len() - 1].0
    }

    /// A node's class, if it is a truth value, or else its value.
    fn evaluate(&self, node: &Node, extent: &CoefficientRange, values: &[(Class, Value)]) -> (Class, Value) {
        let class = |class: Class| (class, Value::Unknown);
        let number = |value: Value| (Class::Mixed, value);
        match node {
            Node::Known(known) => class(*known),
            Node::Shape(shape) => class(shapes::class(*shape, extent)),
            Node::Sign(by, form) => {
                class(form.range(extent).map_or(Class::Mixed, |range| compare_ints(*by, range, Ints::one(0))))
            }
            Node::Not(a) => class(values[*a].0.not()),
            Node::Truths(truths) => class(combine(truths, extent, values)),
            Node::Compare(by, a, b) => class(compare(*by, values[*a].1, values[*b].1)),
            Node::Linear(form) => number(Value::Int(form.range(extent).unwrap_or(Ints::ALL))),
            Node::KvHead(group) => {
                let range = extent.head;
                number(Value::Int(Ints::new(range.lo / group, range.hi / group)))
            }
            Node::Number(op, ty) => {
                let value = apply(op, *ty, |id| values[id].1, &self.tables, to_i64(self.sizes.q_heads));
                number(if *ty == Type::Int && can_wrap(op) { unwrapped(value) } else { value })
            }
        }
    }
}

/// Whether an operation on the device's ints can give what they do not hold.
fn can_wrap(op: &Op) -> bool {
    !matches!(op, Op::Min(..) | Op::Max(..) | Op::Remainder(..) | Op::Lookup { .. })
}

/// A value that the device's ints may not hold could be anything there.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::Int(range) if range.fits_i32() => value,
        _ => Value::Int(Ints::ALL),
    }
}

/// A conjunction or disjunction of sets along axes and of other nodes.
fn combine(truths: &Truths, extent: &CoefficientRange, values: &[(Class, Value)]) -> Class {
    // A disjunction is the negation of the conjunction of what its parts deny.
    let sided = |class: Class| if truths.every { class } else { class.not() };
    let mut total = Class::All;
    for set in &truths.sets {
        total = total.and(sided(set.runs.class(extent.along(set.axis))));
    }
    for &part in &truths.rest {
        total = total.and(sided(values[part].0));
    }
    if total == Class::Mixed && truths.sets.len() > 1 && misses(truths, extent) {
        total = Class::None;
    }
    sided(total)
}

/// Whether no element is in all sets, because those of one axis leave no room for those of another.
fn misses(truths: &Truths, extent: &CoefficientRange) -> bool {
    let mut narrowed = *extent;
    for set in &truths.sets {
        let range = narrowed.along(set.axis);
        let Some(hull) = set.narrowing.hull(range) else { return true };
        narrowed = match set.axis {
            Axis::Query => CoefficientRange { query: hull, ..narrowed },
            Axis::Key => CoefficientRange { key: hull, ..narrowed },
            Axis::Batch | Axis::Head => narrowed,
            // Sets come in the order of the axes: the distance is the last.
            Axis::Distance => return false,
        };
        let shift = extent.distance.lo - (extent.query.lo - extent.key.hi);
        let (query, key) = (narrowed.query, narrowed.key);
        narrowed.distance = Ints::new(query.lo - key.hi + shift, query.hi - key.lo + shift);
    }
    false
}

fn compare(by: Comparison, a: Value, b: Value) -> Class {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => compare_ints(by, a, b),
        (Value::Float(a), Value::Float(b)) => order(by, (a.lo, a.hi), (b.lo, b.hi)),
        _ => Class::Mixed,
    }
}

fn compare_ints(by: Comparison, a: Ints, b: Ints) -> Class {
    order(by, (a.lo, a.hi), (b.lo, b.hi))
}

fn order<T: PartialOrd + Copy>(by: Comparison, a: (T, T), b: (T, T)) -> Class {
    let class = |all: bool, none: bool| {
        if all {
            Class::All
        } else if none {
            Class::None
        } else {
            Class::Mixed
        }
    };
    match by {
        Comparison::Less => class(a.1 < b.0, a.0 >= b.1),
        Comparison::LessEqual => class(a.1 <= b.0, a.0 > b.1),
        Comparison::Greater => class(a.0 > b.1, a.1 <= b.0),
        Comparison::GreaterEqual => class(a.0 >= b.1, a.1 < b.0),
        Comparison::Equal => class(a.0 == a.1 && b.0 == b.1 && a.0 == b.0, a.1 < b.0 || b.1 < a.0),
        Comparison::NotEqual => class(a.1 < b.0 || b.1 < a.0, a.0 == a.1 && b.0 == b.1 && a.0 == b.0),
    }
}
