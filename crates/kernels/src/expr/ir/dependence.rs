//! Which steps depend on which, and what the whole depends on.

use std::collections::BTreeSet;

use crate::{expr::Op, expr::OwnLengths, expr::Program, expr::StepId, expr::Variable};

/// Which steps the value of `result` needs; a shape needs what it is lowered to.
pub(crate) fn needed_steps(program: &Program, result: StepId) -> Vec<bool> {
    let mut needed = vec![false; program.steps.len()];
    if let Some(last) = needed.get_mut(result) {
        *last = true;
    }
    for (id, step) in program.steps.iter().enumerate().rev() {
        if needed[id] {
            operands(&step.op).for_each(|operand| needed[operand] = true);
        }
    }
    needed
}

/// The steps that an operation reads directly.
pub(crate) fn operands(op: &Op) -> impl Iterator<Item = StepId> + '_ {
    let (pair, list): ([Option<StepId>; 2], &[StepId]) = match op {
        Op::Bool(_) | Op::Int(_) | Op::Float(_) | Op::Variable(_) => ([None, None], &[]),
        Op::Not(a)
        | Op::Negate(a)
        | Op::Abs(a)
        | Op::Floor(a)
        | Op::Sqrt(a)
        | Op::Exp(a)
        | Op::Log(a)
        | Op::Tanh(a)
        | Op::ToFloat(a)
        | Op::Slope(a)
        | Op::Shape { lowered: a, .. } => ([Some(*a), None], &[]),
        Op::And(a, b)
        | Op::Or(a, b)
        | Op::Compare(_, a, b)
        | Op::Add(a, b)
        | Op::Subtract(a, b)
        | Op::Multiply(a, b)
        | Op::Divide(a, b)
        | Op::Remainder(a, b)
        | Op::Min(a, b)
        | Op::Max(a, b) => ([Some(*a), Some(*b)], &[]),
        Op::Lookup { indices, .. } => ([None, None], indices),
    };
    pair.into_iter().flatten().chain(list.iter().copied())
}

/// Which steps depend on what tables hold, on lengths that batch entries have of their own, or on the score.
pub(crate) fn data_dependent(program: &Program, own: OwnLengths) -> Vec<bool> {
    let mut dependent: Vec<bool> = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let data = match step.op {
            Op::Lookup { .. } | Op::Variable(Variable::Score) => true,
            Op::Variable(variable) => own.include(variable),
            _ => false,
        };
        dependent.push(data || operands(&step.op).any(|operand| dependent[operand]));
    }
    dependent
}

/// Which steps depend on the score.
pub(crate) fn score_dependent(program: &Program) -> Vec<bool> {
    let mut dependent: Vec<bool> = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let own = matches!(step.op, Op::Variable(Variable::Score));
        dependent.push(own || operands(&step.op).any(|operand| dependent[operand]));
    }
    dependent
}

impl Program {
    /// Whether the value may change with this.
    #[must_use]
    pub fn depends_on(&self, variable: Variable) -> bool {
        self.steps.iter().any(|step| match step.op {
            Op::Variable(found) => found == variable,
            _ => false,
        })
    }

    /// Whether the value may change with the lengths that batch entries have of their own.
    #[must_use]
    pub fn depends_on_lengths(&self, own: OwnLengths) -> bool {
        [Variable::QueryCount, Variable::KeyCount]
            .into_iter()
            .any(|count| own.include(count) && self.depends_on(count))
    }

    /// Whether an index of a table changes with these lengths.
    pub(crate) fn reads_at_lengths(&self, own: OwnLengths) -> bool {
        let with_lengths = data_dependent(self, own);
        let without = data_dependent(self, OwnLengths::default());
        self.steps.iter().any(|step| match &step.op {
            Op::Lookup { indices, .. } => indices.iter().any(|&index| with_lengths[index] && !without[index]),
            _ => false,
        })
    }

    /// The places in [`Program::tables`] of those that are read.
    #[must_use]
    pub fn tables_read(&self) -> BTreeSet<usize> {
        let read = |op: &Op| if let Op::Lookup { table, .. } = op { Some(*table) } else { None };
        self.steps.iter().filter_map(|step| read(&step.op)).collect()
    }
}
