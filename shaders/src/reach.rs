//! Whether a loop variable reaches the index of an array, which is what demands that its loop be unrolled.

use rustc_hash::FxHashSet;
use wgsl_parse::syntax::{DeclarationKind, Expression, FunctionCall, Statement, UnaryOperator};

use crate::context::Context;
use crate::scope::Shape;
use crate::tree::{self, Expr, Node, Stmt, as_ident, each_operand, mentions};

/// Whether the loop variable `name` reaches the index of an array in these statements.
pub(crate) fn reaches_an_index(cx: &Context<'_>, name: &str, body: &[Stmt]) -> bool {
    let names = vec![(name.to_owned(), true, false)];
    let mut reach = Reach { cx, names, callee: None, called: FxHashSet::default(), found: false };
    reach.block(body);
    reach.found
}

/// Follows a loop variable through `let`s, constants, inner loops and inlined functions to the index of an array.
struct Reach<'c, 'l> {
    cx: &'c Context<'l>,
    /// Names in scope: whether computed from the loop variable, whether an array.
    names: Vec<(String, bool, bool)>,
    /// Within an inlined function: where its names begin. It sees no others.
    callee: Option<usize>,
    /// The functions that were followed, with the parameters that are computed from the loop variable.
    called: FxHashSet<(usize, Vec<bool>)>,
    found: bool,
}

impl Reach<'_, '_> {
    fn block(&mut self, body: &[Stmt]) {
        let mark = self.names.len();
        body.iter().for_each(|statement| self.statement(statement));
        self.names.truncate(mark);
    }

    fn local(&self, name: &str) -> Option<&(String, bool, bool)> {
        self.names[self.callee.unwrap_or(0)..].iter().rev().find(|(n, ..)| n == name)
    }

    fn is_computed(&self, e: &Expr) -> bool {
        mentions(e, &mut |name| self.local(name).is_some_and(|(_, computed, _)| *computed))
    }

    fn is_array(&self, e: &Expr) -> bool {
        match e.node() {
            Expression::Parenthesized(p) => self.is_array(&p.expression),
            Expression::Indexing(i) => self.is_array(&i.base),
            Expression::NamedComponent(c) => self.is_array(&c.base),
            Expression::Unary(u) if u.operator == UnaryOperator::Indirection => self.is_array(&u.operand),
            _ => as_ident(e).is_some_and(|ident| {
                let name = ident.name();
                match self.local(&name) {
                    Some((_, _, is_array)) => *is_array,
                    None if self.callee.is_some() => false,
                    None => self.cx.scope.get(&name).is_some_and(|local| local.shape == Shape::Array),
                }
            }),
        }
    }

    fn expr(&mut self, e: &Expr) {
        if self.found {
            return;
        }
        if let Expression::Indexing(i) = e.node()
            && self.is_array(&i.base)
            && self.is_computed(&i.index)
        {
            self.found = true;
        }
        each_operand(e, &mut |operand| self.expr(operand));
        if let Expression::FunctionCall(c) = e.node() {
            self.call(c);
        }
    }

    /// Follows the arguments of a call that is inlined into the function.
    fn call(&mut self, c: &FunctionCall) {
        let Some(callee) = self.cx.inlined(c) else { return };
        let parameters = callee.function.parameters.iter();
        let names: Vec<_> = parameters
            .zip(&c.arguments)
            .map(|(parameter, argument)| {
                let computed = self.cx.pointee(&parameter.ty).is_none() && self.is_computed(argument);
                let is_array = self.cx.points_to_array(&parameter.ty);
                (parameter.ident.to_string(), computed, is_array)
            })
            .collect();
        let computed: Vec<_> = names.iter().map(|(_, computed, _)| *computed).collect();
        if self.found || !computed.contains(&true) {
            return;
        }
        if self.called.insert((std::ptr::from_ref(callee.function).addr(), computed)) {
            let mark = self.names.len();
            let caller = self.callee.replace(mark);
            self.names.extend(names);
            self.block(&callee.function.body.statements);
            self.callee = caller;
            self.names.truncate(mark);
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement.node() {
            Statement::Compound(b) => self.block(&b.statements),
            Statement::FunctionCall(s) => {
                s.call.arguments.iter().for_each(|e| self.expr(e));
                self.call(&s.call);
            }
            Statement::If(s) => {
                self.expr(&s.if_clause.expression);
                self.block(&s.if_clause.body.statements);
                for clause in &s.else_if_clauses {
                    self.expr(&clause.expression);
                    self.block(&clause.body.statements);
                }
                if let Some(clause) = &s.else_clause {
                    self.block(&clause.body.statements);
                }
            }
            Statement::Switch(s) => {
                self.expr(&s.expression);
                s.clauses.iter().for_each(|clause| self.block(&clause.body.statements));
            }
            Statement::While(s) => {
                self.expr(&s.condition);
                self.block(&s.body.statements);
            }
            Statement::Loop(s) => {
                self.block(&s.body.statements);
                s.continuing.iter().for_each(|c| self.block(&c.body.statements));
            }
            Statement::For(s) => {
                let mark = self.names.len();
                s.initializer.iter().for_each(|statement| self.statement(statement));
                // Bounds that depend on the outer variable are constant only if the outer loop is unrolled.
                let update = match s.update.as_ref().map(wgsl_parse::span::Spanned::node) {
                    Some(Statement::Assignment(s)) => Some(&s.rhs),
                    _ => None,
                };
                let start = match s.initializer.as_ref().map(wgsl_parse::span::Spanned::node) {
                    Some(Statement::Declaration(d)) => d.initializer.as_ref(),
                    _ => None,
                };
                let header = [start, s.condition.as_ref(), update];
                let computed = header.into_iter().flatten().any(|e| self.is_computed(e));
                if let Some(last) = self.names.get_mut(mark) {
                    last.1 |= computed;
                }
                s.condition.iter().for_each(|e| self.expr(e));
                self.block(&s.body.statements);
                self.names.truncate(mark);
            }
            Statement::Declaration(d) => {
                d.initializer.iter().for_each(|e| self.expr(e));
                // A `var` is a run-time value even when its first value is known.
                let is_var = matches!(d.kind, DeclarationKind::Var(_));
                let computed = !is_var && d.initializer.as_ref().is_some_and(|e| self.is_computed(e));
                let shape = match (&d.ty, &d.initializer) {
                    (Some(ty), _) => self.cx.shape_of_type(ty),
                    (None, Some(init)) => self.cx.shape(init),
                    (None, None) => Shape::Other,
                };
                self.names.push((d.ident.to_string(), computed, shape == Shape::Array));
            }
            _ => tree::walk(std::slice::from_ref(statement), &mut |node| {
                if let Node::Expr(e) = node {
                    self.expr(e);
                }
            }),
        }
    }
}
