//! An expression and its tables into a [`Program`].

use std::collections::HashMap;

use super::{
    lower::{lower, position},
    steps::Steps,
};
use crate::{
    Dtype,
    expr::{
        Expr, ExprError, Op, Program, StepId, Table, Type, Variable,
        syntax::{
            names::{Builtin, is_table_name},
            tree::{Binary, Form, Node, NodeId, Unary},
        },
    },
};

impl Expr {
    /// This expression over `tables`: types settled, ints made floats where floats are needed, builtins in primitive steps.
    /// The result is a bool for a mask, and a float for a score (also if it was written as an int).
    ///
    /// # Errors
    ///
    /// If a table is named that is not among `tables`, or indexed with another number of indices than it has dimensions, if
    /// a float table gives an int that is needed (an index, a segment id, the argument of a mask), or if `tables` declare a
    /// name twice or one that [`is_table_name`] refuses.
    pub fn bind(&self, tables: &[Table]) -> Result<Program, ExprError> {
        let bound = || {
            let mut by_name = HashMap::new();
            for (i, table) in tables.iter().enumerate() {
                if !is_table_name(&table.name) {
                    return Err(ExprError::new(0, format!("`{}` can't be the name of a table", table.name)));
                }
                if by_name.insert(table.name.as_str(), i).is_some() {
                    return Err(ExprError::new(0, format!("the table `{}` is declared twice", table.name)));
                }
            }
            let mut binder =
                Binder { nodes: self.nodes(), tables, by_name, steps: Steps::default(), of: Vec::new() };
            for node in self.nodes() {
                binder.steps.column = node.column;
                let step = binder.node(node)?;
                binder.of.push(step);
            }
            let Some(&root) = binder.of.last() else {
                return Err(ExprError::new(0, "the expression is empty"));
            };
            let root = if self.is_bool() { root } else { binder.steps.float_of(root) };
            Ok(Program { steps: binder.steps.finish(root), tables: tables.to_vec() })
        };
        bound().map_err(|error: ExprError| error.with_text(self.source()))
    }
}

struct Binder<'a> {
    nodes: &'a [Node],
    tables: &'a [Table],
    by_name: HashMap<&'a str, usize>,
    steps: Steps,
    /// The step of each node so far.
    of: Vec<StepId>,
}

impl Binder<'_> {
    fn node(&mut self, node: &Node) -> Result<StepId, ExprError> {
        let steps = &mut self.steps;
        Ok(match &node.form {
            Form::Bool(value) => steps.bool(*value),
            Form::Int(value) => steps.int(*value),
            Form::Float(value) => steps.float(*value),
            Form::Variable(variable) => steps.variable(*variable),
            Form::Position => position(steps),
            Form::Unary(Unary::Not, a) => steps.not(self.of[*a]),
            Form::Unary(Unary::Negate, a) => steps.negate(self.of[*a]),
            Form::Binary(op, a, b) => {
                let (a, b) = (self.of[*a], self.of[*b]);
                match op {
                    Binary::Or => steps.or(a, b),
                    Binary::And => steps.and(a, b),
                    Binary::Compare(comparison) => steps.compare(*comparison, a, b),
                    arithmetic => steps.arithmetic(*arithmetic, a, b),
                }
            }
            Form::Call(builtin, arguments) => {
                if builtin.is_mask() || *builtin == Builtin::Slope {
                    for (&argument, (parameter, _)) in arguments.iter().zip(builtin.parameters()) {
                        self.int(argument, || format!("`{parameter}` of `{}`", builtin.signature()))?;
                    }
                }
                let arguments: Vec<StepId> = arguments.iter().map(|&argument| self.of[argument]).collect();
                lower(&mut self.steps, *builtin, &arguments)
            }
            Form::Lookup(name, indices) => {
                let table = self.table(name, node.column)?;
                for &index in indices {
                    self.int(index, || format!("an index of `{name}`"))?;
                }
                let indices = indices.iter().map(|&index| self.of[index]).collect();
                self.lookup(table, indices, node.column)?
            }
            Form::Same(first, second) => self.same(first, second.as_deref(), node.column)?,
        })
    }

    /// Whether the operand, which the parser found to be a number, is an int.
    fn int(&self, node: NodeId, what: impl FnOnce() -> String) -> Result<(), ExprError> {
        if self.steps.ty(self.of[node]) == Type::Int {
            return Ok(());
        }
        let message = format!("{} is an int, this is a float", what());
        Err(ExprError::new(self.nodes[node].start, message))
    }

    fn table(&self, name: &str, column: usize) -> Result<usize, ExprError> {
        if let Some(&table) = self.by_name.get(name) {
            return Ok(table);
        }
        const LISTED: usize = 12;
        let mut message = format!("unknown table `{name}`");
        let mut names: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
        if let Some(meant) = crate::suggest::closest(name, names.iter().copied()) {
            message += &format!("; did you mean `{meant}`?");
        } else if names.is_empty() {
            message += "; no tables are given";
        } else {
            let more = if names.len() > LISTED { ", .." } else { "" };
            names.truncate(LISTED);
            message += &format!("; the tables are {}{more}", names.join(", "));
        }
        Err(ExprError::new(column, message))
    }

    fn lookup(&mut self, table: usize, indices: Vec<StepId>, column: usize) -> Result<StepId, ExprError> {
        let Table { name, element, shape } = &self.tables[table];
        if indices.len() != shape.len() {
            let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
            let message = format!(
                "`{name}` has {}, {} given",
                count(shape.len(), "dimension", "dimensions"),
                count(indices.len(), "index is", "indices are"),
            );
            return Err(ExprError::new(column, message));
        }
        let ty = match element {
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => Type::Float,
            Dtype::I32 | Dtype::U8 | Dtype::I8 => Type::Int,
        };
        Ok(self.steps.push(Op::Lookup { table, indices }, ty))
    }

    /// `same(t)`: `t[qp] == t[k]`; `same(tq, tk)`: `tq[q] == tk[k]`; tables of rank 2 have the batch entry first.
    fn same(&mut self, first: &str, second: Option<&str>, column: usize) -> Result<StepId, ExprError> {
        let query = match second {
            None => position(&mut self.steps),
            Some(_) => self.steps.variable(Variable::Query),
        };
        let key = self.steps.variable(Variable::Key);
        let query = self.segment(first, query, column)?;
        let key = self.segment(second.unwrap_or(first), key, column)?;
        Ok(self.steps.equal(query, key))
    }

    fn segment(&mut self, name: &str, position: StepId, column: usize) -> Result<StepId, ExprError> {
        let table = self.table(name, column)?;
        let Table { element, shape, .. } = &self.tables[table];
        if element.is_float() {
            return Err(ExprError::new(column, format!("segment ids are ints, `{name}` is a float table")));
        }
        let indices = match shape.len() {
            1 => vec![position],
            2 => vec![self.steps.variable(Variable::Batch), position],
            rank => {
                let message = format!("segment ids are `[T]` or `[B, T]`, `{name}` has {rank} dimensions");
                return Err(ExprError::new(column, message));
            }
        };
        self.lookup(table, indices, column)
    }
}
