//! Turning function-scope arrays into scalars.
//!
//! An array whose every use has a constant index becomes one variable an element: `s[1][2]` becomes `s_1_2`. Drivers keep
//! indexed arrays in memory, or behind a chain of selects, even when every index is a literal; named scalars live in
//! registers.
//!
//! Only the outer dimensions that are indexed everywhere are taken apart: rows that are also used whole stay arrays.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    AssignmentOperator, AssignmentStatement, CompoundStatement, Declaration, DeclarationKind, Expression,
    Function, FunctionCall, Ident, IndexingExpression, LiteralExpression, Statement, TypeExpression,
};

use crate::arrays::{Arrays, Candidate, indexes};
use crate::context::{Context, at};
use crate::error::Error;
use crate::tree::{Expr, Stmt, call, ident_expr, ident_node, named};

impl Context<'_> {
    /// Scalarises a function that has been folded and unrolled. Returns the names of the arrays that it still has.
    pub(crate) fn scalarise(&mut self, function: &mut Function) -> Result<Vec<String>, Error> {
        let mut arrays = self.arrays(&function.body.statements)?;
        let mut left = Vec::new();
        for candidate in &mut arrays.list {
            let name = candidate.ident.to_string();
            if candidate.depth < candidate.lengths.len() || candidate.lengths.is_empty() {
                left.push(name.clone());
            }
            if candidate.depth == 0 {
                arrays.places.remove(&candidate.ident);
                continue;
            }
            let mut suffixes = vec![String::new()];
            for length in &candidate.lengths[..candidate.depth] {
                suffixes =
                    suffixes.iter().flat_map(|s| (0..*length).map(move |n| format!("{s}_{n}"))).collect();
            }
            candidate.names = self.family(&name, &suffixes);
        }
        left.sort_unstable();
        if !arrays.places.is_empty() {
            Rewrite { arrays: &arrays }.block(&mut function.body);
        }
        Ok(left)
    }

    /// New names of one base: `a_0, a_1`, or `a2_0, a2_1` if one of those is taken.
    fn family(&mut self, name: &str, suffixes: &[String]) -> Vec<Ident> {
        let linked = self.linked;
        self.names
            .family(name, suffixes, |name| linked.items.contains_key(name))
            .into_iter()
            .map(Ident::new)
            .collect()
    }
}

/// Writes scalars in place of arrays.
struct Rewrite<'r> {
    arrays: &'r Arrays,
}

impl Rewrite<'_> {
    fn block(&self, block: &mut CompoundStatement) {
        let mut out = Vec::with_capacity(block.statements.len());
        for mut statement in std::mem::take(&mut block.statements) {
            let span = statement.span();
            match statement.node() {
                Statement::Declaration(d) if self.declaration(d, span, &mut out) => continue,
                Statement::Assignment(s) if self.assignment(s, span, &mut out) => continue,
                _ => {}
            }
            self.statement(&mut statement);
            out.push(statement);
        }
        block.statements = out;
    }

    /// Takes an array's declaration apart. `false`: not such a statement.
    fn declaration(&self, d: &Declaration, span: Span, out: &mut Vec<Stmt>) -> bool {
        let Some(place) = self.arrays.places.get(&d.ident) else { return false };
        let candidate = &self.arrays.list[*place];
        if !candidate.used && d.initializer.is_none() {
            return true;
        }
        let ty = &candidate.types[candidate.depth];
        let values = match &d.initializer {
            Some(init) => self.elements(init, candidate, 0),
            None => Vec::new(),
        };
        let mut values = values.into_iter();
        for ident in &candidate.names {
            let mut initializer = values.next().flatten();
            if initializer.is_none() && d.kind == DeclarationKind::Let {
                initializer = Some(zero(ty, span));
            }
            let (attributes, ident, ty) = (Vec::new(), ident.clone(), Some(ty.clone()));
            let d = Declaration { attributes, kind: d.kind, ident, ty, initializer };
            out.push(at(Statement::Declaration(d), span));
        }
        true
    }

    /// Takes `array = constructor` apart. `false`: not such a statement.
    fn assignment(&self, s: &AssignmentStatement, span: Span, out: &mut Vec<Stmt>) -> bool {
        let Some(place) = self.arrays.place_of(&s.lhs) else { return false };
        let (candidate, indexes) = (&self.arrays.list[place], indexes(&s.lhs));
        if indexes.len() >= candidate.depth {
            return false;
        }
        let Some(first) = candidate.position(&indexes) else { return false };
        let values = self.elements(&s.rhs, candidate, indexes.len());
        for (ident, value) in candidate.names.iter().skip(first).zip(values) {
            let lhs = ident_expr(ident.clone(), span);
            let rhs = value.unwrap_or_else(|| zero(&candidate.types[candidate.depth], span));
            let s = AssignmentStatement { operator: AssignmentOperator::Equal, lhs, rhs };
            out.push(at(Statement::Assignment(s), span));
        }
        true
    }

    /// The elements of a constructor from dimension `from` down; `None` is zero.
    fn elements(&self, e: &Expr, candidate: &Candidate, from: usize) -> Vec<Option<Expr>> {
        if from == candidate.depth {
            let mut e = e.clone();
            self.expr(&mut e);
            return vec![Some(e)];
        }
        match e.node() {
            Expression::Parenthesized(p) => self.elements(&p.expression, candidate, from),
            Expression::FunctionCall(c) if !c.arguments.is_empty() => {
                c.arguments.iter().flat_map(|a| self.elements(a, candidate, from + 1)).collect()
            }
            _ => vec![None; candidate.lengths[from..candidate.depth].iter().product()],
        }
    }

    fn statement(&self, statement: &mut Stmt) {
        match &mut **statement {
            Statement::Void | Statement::Break(_) | Statement::Continue(_) | Statement::Discard(_) => {}
            Statement::Compound(block) => self.block(block),
            Statement::Assignment(s) => {
                self.expr(&mut s.lhs);
                self.expr(&mut s.rhs);
            }
            Statement::Increment(s) => self.expr(&mut s.expression),
            Statement::Decrement(s) => self.expr(&mut s.expression),
            Statement::If(s) => {
                self.expr(&mut s.if_clause.expression);
                self.block(&mut s.if_clause.body);
                for clause in &mut s.else_if_clauses {
                    self.expr(&mut clause.expression);
                    self.block(&mut clause.body);
                }
                if let Some(clause) = &mut s.else_clause {
                    self.block(&mut clause.body);
                }
            }
            Statement::Switch(s) => {
                self.expr(&mut s.expression);
                s.clauses.iter_mut().for_each(|clause| self.block(&mut clause.body));
            }
            Statement::Loop(s) => {
                self.block(&mut s.body);
                if let Some(continuing) = &mut s.continuing {
                    self.block(&mut continuing.body);
                    continuing.break_if.iter_mut().for_each(|end| self.expr(&mut end.expression));
                }
            }
            Statement::For(s) => {
                s.initializer.iter_mut().for_each(|statement| self.statement(statement));
                s.condition.iter_mut().for_each(|e| self.expr(e));
                s.update.iter_mut().for_each(|statement| self.statement(statement));
                self.block(&mut s.body);
            }
            Statement::While(s) => {
                self.expr(&mut s.condition);
                self.block(&mut s.body);
            }
            Statement::Return(s) => s.expression.iter_mut().for_each(|e| self.expr(e)),
            Statement::FunctionCall(s) => s.call.arguments.iter_mut().for_each(|e| self.expr(e)),
            Statement::ConstAssert(s) => self.expr(&mut s.expression),
            Statement::Declaration(d) => d.initializer.iter_mut().for_each(|e| self.expr(e)),
        }
    }

    /// The scalar, or part of one, in place of an indexed array.
    fn scalar(&self, e: &Expr) -> Option<Expression> {
        if !matches!(e.node(), Expression::Indexing(_)) {
            return None;
        }
        let candidate = self.arrays.list.get(self.arrays.place_of(e)?)?;
        let indexes = indexes(e);
        // Uses index at least `depth` dimensions; whole rows are rewritten in `assignment`.
        let (taken, rest) = indexes.split_at(candidate.depth.min(indexes.len()));
        let name = candidate.names.get(candidate.position(taken)?)?;
        let span = e.span();
        let mut scalar = ident_node(name.clone());
        for index in rest {
            let mut index = (*index).clone();
            self.expr(&mut index);
            scalar = Expression::Indexing(IndexingExpression { base: at(scalar, span), index });
        }
        Some(scalar)
    }

    fn expr(&self, e: &mut Expr) {
        if let Some(scalar) = self.scalar(e) {
            // Into the same box.
            **e = scalar;
            return;
        }
        match &mut **e {
            Expression::Literal(_) | Expression::TypeOrIdentifier(_) => {}
            Expression::Parenthesized(p) => self.expr(&mut p.expression),
            Expression::NamedComponent(c) => self.expr(&mut c.base),
            Expression::Indexing(i) => {
                self.expr(&mut i.base);
                self.expr(&mut i.index);
            }
            Expression::Unary(u) => self.expr(&mut u.operand),
            Expression::Binary(b) => {
                self.expr(&mut b.left);
                self.expr(&mut b.right);
            }
            Expression::FunctionCall(c) => c.arguments.iter_mut().for_each(|a| self.expr(a)),
        }
    }
}

/// The zero value of a type.
fn zero(ty: &TypeExpression, span: Span) -> Expr {
    let literal = match (ty.ident.name().as_str(), &ty.template_args) {
        ("f32", None) => LiteralExpression::F32(0.0),
        ("f16", None) => LiteralExpression::F16(0.0),
        ("u32", None) => LiteralExpression::U32(0),
        ("i32", None) => LiteralExpression::I32(0),
        ("bool", None) => LiteralExpression::Bool(false),
        (name, None) => return call(name, Vec::new(), span),
        (name, Some(arguments)) => {
            let ty = TypeExpression { template_args: Some(arguments.clone()), ..named(name) };
            let call = FunctionCall { ty, arguments: Vec::new() };
            return at(Expression::FunctionCall(call), span);
        }
    };
    at(Expression::Literal(literal), span)
}
