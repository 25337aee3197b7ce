//! Analysis of a mask before any block is classified: which conditions lie along one axis and are sets of
//! positions there, which are linear, and what is left to interval arithmetic.

use super::{
    class::Class,
    conditions::{Nodes, Truth},
    interval::Ints,
    linear::{Axis, CoefficientRange, Form, forms},
    nodes::{Node, compact, remap},
    runs::Runs,
    shapes,
};
use crate::expr::{
    Comparison, Op, OwnLengths, Program, Sizes, Step, StepId, Type, Variable,
    eval::Evaluator,
    ir::{arithmetic::to_i64, dependence::operands},
};

/// An operand of a comparison: perhaps a form, always a node, perhaps a step to look into.
#[derive(Clone, Copy)]
struct Side {
    form: Option<Form>,
    node: usize,
    step: Option<StepId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dependence {
    Nothing,
    On(Axis),
    Several,
}

/// Steps that may be evaluated to find sets by trying every position: some tens of milliseconds' worth.
const TRIES: usize = 1 << 22;
/// How deep `min`, `max` and `abs` are taken apart in comparisons.
const DEPTH: usize = 4;

/// The nodes that tell the class of a block; the last is the mask's.
pub(crate) fn plan(program: &Program, sizes: Sizes, whole: &CoefficientRange) -> Vec<Node> {
    if program.steps.last().is_none_or(|step| step.ty != Type::Bool) {
        return vec![Node::Known(Class::Mixed)];
    }
    let mut planner = Planner {
        program,
        sizes,
        whole: *whole,
        forms: forms(program, sizes, OwnLengths::default()),
        dependences: Vec::new(),
        nodes: Nodes::default(),
        numbers: Vec::new(),
        truths: Vec::new(),
        tries: TRIES,
    };
    for (id, (step, needed)) in program.steps.iter().zip(needed_steps(program)).enumerate() {
        if needed {
            planner.add(id, step);
        } else {
            planner.skip();
        }
    }
    let result = planner.truths.pop().flatten().unwrap_or_else(Truth::certain);
    let root = planner.nodes.node_of(result);
    compact(planner.nodes.as_slice(), root)
}

/// Which steps the result needs, where a shape is known without what it is lowered to.
fn needed_steps(program: &Program) -> Vec<bool> {
    let mut needed = vec![false; program.steps.len()];
    if let Some(last) = needed.last_mut() {
        *last = true;
    }
    for (id, step) in program.steps.iter().enumerate().rev() {
        if needed[id] && !matches!(step.op, Op::Shape { .. }) {
            operands(&step.op).for_each(|operand| needed[operand] = true);
        }
    }
    needed
}

struct Planner<'a> {
    program: &'a Program,
    sizes: Sizes,
    whole: CoefficientRange,
    forms: Vec<Option<Form>>,
    dependences: Vec<Dependence>,
    nodes: Nodes,
    /// The node of every step that is a number.
    numbers: Vec<usize>,
    /// The condition of every step that is none.
    truths: Vec<Option<Truth>>,
    tries: usize,
}

impl Planner<'_> {
    fn add(&mut self, id: StepId, step: &Step) {
        let dependence = self.dependence(id, step);
        self.dependences.push(dependence);
        if step.ty == Type::Bool {
            let truth = self.truth(id, &step.op);
            self.truths.push(Some(truth));
            self.numbers.push(0);
            return;
        }
        self.truths.push(None);
        let node = match (self.forms[id], &step.op) {
            (Some(form), _) => Node::Linear(form),
            (None, Op::Variable(Variable::KvHead)) => Node::KvHead(self.group()),
            (None, op) => Node::Number(remap(op, |operand| self.numbers[operand]), step.ty),
        };
        let node = self.nodes.push(node);
        self.numbers.push(node);
    }

    fn skip(&mut self) {
        self.dependences.push(Dependence::Several);
        self.truths.push(None);
        self.numbers.push(0);
    }

    fn group(&self) -> i64 {
        to_i64(self.sizes.q_heads / self.sizes.kv_heads.max(1)).max(1)
    }

    fn dependence(&self, id: StepId, step: &Step) -> Dependence {
        if let Some(form) = self.forms[id] {
            return match form.on_axis(self.sizes) {
                Some((axis, ..)) => Dependence::On(axis),
                None if form.factors == [0; 4] => Dependence::Nothing,
                None => Dependence::Several,
            };
        }
        match step.op {
            Op::Variable(Variable::KvHead) => Dependence::On(Axis::Head),
            Op::Variable(_) | Op::Lookup { .. } => Dependence::Several,
            _ if step.ty == Type::Float => Dependence::Several,
            ref op => operands(op).map(|operand| self.dependences[operand]).fold(
                Dependence::Nothing,
                |so_far, next| match (so_far, next) {
                    (Dependence::Nothing, other) | (other, Dependence::Nothing) => other,
                    (a, b) if a == b => a,
                    _ => Dependence::Several,
                },
            ),
        }
    }

    fn truth(&mut self, id: StepId, op: &Op) -> Truth {
        match *op {
            Op::Bool(value) => Truth::known(value),
            Op::Not(a) => {
                let a = self.truth_of(a);
                self.nodes.negated(a)
            }
            Op::And(a, b) => {
                let (a, b) = (self.truth_of(a), self.truth_of(b));
                self.nodes.join(true, a, b)
            }
            Op::Or(a, b) => {
                let (a, b) = (self.truth_of(a), self.truth_of(b));
                self.nodes.join(false, a, b)
            }
            Op::Shape { shape, .. } => match shapes::as_runs(shape, &self.whole) {
                Some((axis, runs)) => Truth::set(axis, runs),
                None => Truth::part(self.nodes.push(Node::Shape(shape))),
            },
            Op::Compare(by, a, b) => match self.program.steps[a].ty {
                Type::Bool => self.compare_truths(by, a, b),
                Type::Int => self.compare_ints(id, by, a, b),
                Type::Float => {
                    let node = Node::Compare(by, self.numbers[a], self.numbers[b]);
                    Truth::part(self.nodes.push(node))
                }
            },
            // Nothing else is a truth value.
            _ => Truth::part(self.nodes.push(Node::Known(Class::Mixed))),
        }
    }

    fn truth_of(&self, id: StepId) -> Truth {
        self.truths[id].clone().unwrap_or_else(Truth::certain)
    }

    fn compare_truths(&mut self, by: Comparison, a: StepId, b: StepId) -> Truth {
        let (a, b) = (self.truth_of(a), self.truth_of(b));
        let (not_a, not_b) = (self.nodes.negated(a.clone()), self.nodes.negated(b.clone()));
        match by {
            Comparison::Equal | Comparison::NotEqual => {
                let both = self.nodes.join(true, a, b);
                let neither = self.nodes.join(true, not_a, not_b);
                let equal = self.nodes.join(false, both, neither);
                if by == Comparison::Equal { equal } else { self.nodes.negated(equal) }
            }
            // False is less than true.
            Comparison::Less => self.nodes.join(true, not_a, b),
            Comparison::LessEqual => self.nodes.join(false, not_a, b),
            Comparison::Greater => self.nodes.join(true, a, not_b),
            Comparison::GreaterEqual => self.nodes.join(false, a, not_b),
        }
    }

    fn compare_ints(&mut self, id: StepId, by: Comparison, a: StepId, b: StepId) -> Truth {
        let side = |id: StepId| Side { form: self.forms[id], node: self.numbers[id], step: Some(id) };
        let (a, b) = (side(a), side(b));
        let truth = match by {
            Comparison::Equal | Comparison::NotEqual => self.compare_sides(by, a, b),
            Comparison::Less | Comparison::LessEqual => self.at_most(by, a, b, DEPTH),
            Comparison::Greater => self.at_most(Comparison::Less, b, a, DEPTH),
            Comparison::GreaterEqual => self.at_most(Comparison::LessEqual, b, a, DEPTH),
        };
        if truth.rest.is_empty() && truth.len() < 2 { truth } else { self.tried(id).unwrap_or(truth) }
    }

    /// `a <= b`, or `a < b`.
    fn at_most(&mut self, by: Comparison, a: Side, b: Side, depth: usize) -> Truth {
        let op = |side: Side| side.step.filter(|_| depth > 0).map(|id| &self.program.steps[id].op);
        let (first, second, every) = match (op(a), op(b)) {
            (Some(&Op::Max(x, y)), _) => ((self.side(x), b), (self.side(y), b), true),
            (Some(&Op::Min(x, y)), _) => ((self.side(x), b), (self.side(y), b), false),
            (Some(&Op::Abs(x)), _) => ((self.side(x), b), (self.opposite(x), b), true),
            (_, Some(&Op::Max(x, y))) => ((a, self.side(x)), (a, self.side(y)), false),
            (_, Some(&Op::Min(x, y))) => ((a, self.side(x)), (a, self.side(y)), true),
            (_, Some(&Op::Abs(x))) => ((a, self.side(x)), (a, self.opposite(x)), false),
            _ => return self.compare_sides(by, a, b),
        };
        let first = self.at_most(by, first.0, first.1, depth - 1);
        let second = self.at_most(by, second.0, second.1, depth - 1);
        self.nodes.join(every, first, second)
    }

    fn side(&self, id: StepId) -> Side {
        Side { form: self.forms[id], node: self.numbers[id], step: Some(id) }
    }

    /// `-x`
    fn opposite(&mut self, x: StepId) -> Side {
        let form = self.forms[x].and_then(Form::opposite);
        let node = Node::Number(Op::Negate(self.numbers[x]), Type::Int);
        Side { form, node: self.nodes.push(node), step: None }
    }

    fn compare_sides(&mut self, by: Comparison, a: Side, b: Side) -> Truth {
        let difference = a.form.zip(b.form).and_then(|(a, b)| a.minus(b));
        let Some(form) = difference else {
            return Truth::part(self.nodes.push(Node::Compare(by, a.node, b.node)));
        };
        if form.factors == [0; 4] {
            return Truth::known(crate::expr::ir::arithmetic::compare(by, &form.constant, &0));
        }
        let set = form.on_axis(self.sizes).and_then(|(axis, factor, constant)| {
            Some((axis, Runs::of_comparison(by, factor, constant, self.whole.along(axis))?))
        });
        match set {
            Some((axis, runs)) => Truth::set(axis, runs),
            None => Truth::part(self.nodes.push(Node::Sign(by, form))),
        }
    }

    /// The condition of a step that depends on one axis, found by trying every position.
    fn tried(&mut self, id: StepId) -> Option<Truth> {
        let (axis, domain) = match self.dependences[id] {
            Dependence::Nothing => (Axis::Key, Ints::one(0)),
            Dependence::On(axis) => (axis, self.whole.along(axis)),
            Dependence::Several => return None,
        };
        let evaluator = Evaluator::of_step(self.program, self.sizes, id);
        let positions = usize::try_from(domain.hi - domain.lo + 1).ok()?;
        let cost = positions.checked_mul(evaluator.len())?.checked_add(self.program.steps.len())?;
        self.tries = self.tries.checked_sub(cost)?;
        let mut scratch = evaluator.scratch();
        let shift = to_i64(self.sizes.kv_len) - to_i64(self.sizes.q_len);
        let index = |at: i64| usize::try_from(at).ok();
        let runs = Runs::collect(domain, |at| {
            let (mut b, mut h, mut q, mut k) = (0, 0, 0, 0);
            match axis {
                Axis::Batch => b = index(at)?,
                Axis::Head => h = index(at)?,
                Axis::Query => q = index(at)?,
                Axis::Key => k = index(at)?,
                Axis::Distance => {
                    q = index((at - shift).max(0))?;
                    k = index((shift - at).max(0))?;
                }
            }
            evaluator.visible(&mut scratch, b, h, q, k).ok()
        })?;
        Some(if self.dependences[id] == Dependence::Nothing {
            Truth::known(!runs.is_empty())
        } else {
            Truth::set(axis, runs)
        })
    }
}
