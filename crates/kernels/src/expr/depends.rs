//! What the value of a program depends on.

use std::collections::BTreeSet;

use super::{Op, Program, Variable};

impl Program {
    /// Whether the value may change with this.
    #[must_use]
    pub fn depends_on(&self, variable: Variable) -> bool {
        self.steps.iter().any(|step| match step.op {
            Op::Variable(found) => found == variable,
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
