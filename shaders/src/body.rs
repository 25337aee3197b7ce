//! Specialising the statements of a function: one walk folds constants, drops dead branches and unrolls loops.
//!
//! The walk writes new statements instead of changing a copy of the old ones, so an unrolled body is built once an
//! iteration and nothing is built for what is dropped.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    AssignmentStatement, BreakIfStatement, CaseSelector, CompoundStatement, ConstAssert, ContinuingStatement,
    Declaration, DeclarationKind, DecrementStatement, ElseClause, ElseIfClause, ForStatement, Function,
    FunctionCallStatement, Ident, IfClause, IfStatement, IncrementStatement, LoopStatement, ReturnStatement,
    Statement, SwitchClause, SwitchStatement, WhileStatement,
};

use crate::context::{Context, at};
use crate::error::{Error, ErrorKind};
use crate::flow::{Flow, Place, has_break};
use crate::scope::{Local, Names, Shape};
use crate::tree::{Expr, Stmt, operation};
use crate::value::{Known, Num};

/// How many statements (and iterations) unrolling and inlining may make in one specialisation. Drivers take minutes long before.
const MAX_EXPANDED: usize = 65_536;

impl Context<'_> {
    /// Specialises a function.
    pub(crate) fn function(&mut self, function: &Function) -> Result<Function, Error> {
        self.names = Names::of(function);
        self.keep_names_of_inlined();
        let mark = self.scope.enter();
        let mut out = function.clone();
        out.attributes = self.attributes(&function.attributes)?;
        out.return_type = function.return_type.as_ref().map(|ty| self.ty(ty)).transpose()?;
        for parameter in &mut out.parameters {
            parameter.ty = self.ty(&parameter.ty)?;
            let shape = match self.shape_of_type(&parameter.ty) {
                // An array that came as an argument cannot become scalars, so it demands no unrolling either.
                Shape::Array => Shape::Other,
                shape => shape,
            };
            let name = parameter.ident.to_string();
            parameter.ident = self.declare(&parameter.ident, None, shape, Place::Block);
            self.scope.fix(&name);
        }
        let mut statements = Vec::new();
        self.statements(&function.body.statements, Place::Block, &mut statements)?;
        out.body.statements = statements;
        self.scope.leave(mark);
        Ok(out)
    }

    /// Specialises statements into `out`. Names they declare stay in scope: the caller leaves it.
    pub(crate) fn statements(
        &mut self,
        source: &[Stmt],
        place: Place,
        out: &mut Vec<Stmt>,
    ) -> Result<Flow, Error> {
        for statement in source {
            if self.statement(statement, place, out)? == Flow::Ends {
                return Ok(Flow::Ends);
            }
        }
        Ok(Flow::Continues)
    }

    /// Specialises a block that stays a block.
    fn block(&mut self, source: &CompoundStatement) -> Result<CompoundStatement, Error> {
        let mark = self.scope.enter();
        let mut statements = Vec::new();
        self.statements(&source.statements, Place::Block, &mut statements)?;
        self.scope.leave(mark);
        Ok(CompoundStatement { attributes: source.attributes.clone(), statements })
    }

    /// Specialises a block of which only the content stays.
    pub(crate) fn content(&mut self, source: &CompoundStatement, out: &mut Vec<Stmt>) -> Result<Flow, Error> {
        let mark = self.scope.enter();
        let flow = self.statements(&source.statements, Place::Around, out)?;
        self.scope.leave(mark);
        Ok(flow)
    }

    /// Counts a statement or an iteration against the limit of unrolling and inlining.
    pub(crate) fn count_expanded(&mut self) -> Result<(), Error> {
        let Some(outermost) = self.expansions.first() else { return Ok(()) };
        self.expanded += 1;
        if self.expanded > MAX_EXPANDED {
            let message = format!("{} goes beyond {MAX_EXPANDED} statements in all", outermost.what);
            let source = self.linked.files[outermost.file].source;
            return Err(source.error(ErrorKind::Limit, outermost.span, message));
        }
        Ok(())
    }

    pub(crate) fn push(
        &mut self,
        statement: Statement,
        span: Span,
        out: &mut Vec<Stmt>,
    ) -> Result<Flow, Error> {
        self.count_expanded()?;
        out.push(at(statement, span));
        Ok(Flow::Continues)
    }

    fn statement(&mut self, statement: &Stmt, place: Place, out: &mut Vec<Stmt>) -> Result<Flow, Error> {
        let span = statement.span();
        if let Some(flow) = self.inline_statement(statement.node(), span, place, out)? {
            return Ok(flow);
        }
        let folded = match statement.node() {
            Statement::Void => return Ok(Flow::Continues),
            Statement::Break(_) | Statement::Continue(_) | Statement::Discard(_) => {
                self.push(statement.node().clone(), span, out)?;
                return Ok(Flow::Ends);
            }
            Statement::Return(s) => {
                let expression = s.expression.as_ref().map(|e| self.expr(e)).transpose()?.map(|(e, _)| e);
                self.push(Statement::Return(ReturnStatement { expression }), span, out)?;
                return Ok(Flow::Ends);
            }
            Statement::Compound(block) => {
                let block = self.deeper(span, |cx| cx.block(block))?;
                if block.statements.is_empty() {
                    return Ok(Flow::Continues);
                }
                Statement::Compound(block)
            }
            Statement::Assignment(s) => {
                let (lhs, (rhs, known)) = (self.expr(&s.lhs)?.0, self.expr(&s.rhs)?);
                let rhs = match operation(s.operator) {
                    Some(op) => self.defined_right(op, rhs, known, span)?.0,
                    None => rhs,
                };
                Statement::Assignment(AssignmentStatement { operator: s.operator, lhs, rhs })
            }
            Statement::Increment(s) => {
                Statement::Increment(IncrementStatement { expression: self.expr(&s.expression)?.0 })
            }
            Statement::Decrement(s) => {
                Statement::Decrement(DecrementStatement { expression: self.expr(&s.expression)?.0 })
            }
            Statement::FunctionCall(s) => {
                Statement::FunctionCall(FunctionCallStatement { call: self.call_statement(&s.call)? })
            }
            Statement::ConstAssert(s) => {
                let (expression, known) = self.expr(&s.expression)?;
                if known.is_some() {
                    self.check_assert(&s.expression, known)?;
                    return Ok(Flow::Continues);
                }
                Statement::ConstAssert(ConstAssert { expression })
            }
            Statement::Declaration(d) => {
                let value = d.initializer.as_ref().map(|init| self.expr(init)).transpose()?;
                match self.declaration(d, value, span, place)? {
                    Some(d) => Statement::Declaration(d),
                    None => return Ok(Flow::Continues),
                }
            }
            Statement::If(s) => return self.deeper(span, |cx| cx.if_statement(s, span, out)),
            Statement::Switch(s) => return self.deeper(span, |cx| cx.switch_statement(s, span, out)),
            Statement::For(s) => return self.deeper(span, |cx| cx.for_statement(s, span, out)),
            Statement::Loop(s) => Statement::Loop(self.deeper(span, |cx| cx.loop_statement(s))?),
            Statement::While(s) => {
                let (condition, known) = self.expr(&s.condition)?;
                if known.and_then(|k| k.num.as_bool()) == Some(false) {
                    return Ok(Flow::Continues);
                }
                let body = self.deeper(span, |cx| cx.block(&s.body))?;
                Statement::While(WhileStatement { attributes: s.attributes.clone(), condition, body })
            }
        };
        self.push(folded, span, out)
    }

    /// Brings a local name into scope and says what it is called in the output.
    pub(crate) fn declare(
        &mut self,
        ident: &Ident,
        known: Option<Known>,
        shape: Shape,
        place: Place,
    ) -> Ident {
        let name = ident.to_string();
        let is_global = self.linked.items.contains_key(name.as_str()) || self.names.is_called(&name);
        let keep = !is_global
            && self.inlining.is_empty()
            && match place {
                Place::Block => {
                    shape != Shape::Array || self.suffix.is_empty() && self.names.is_single(&name)
                }
                Place::Around => self.suffix.is_empty() && self.names.is_single(&name),
            };
        let ident = if keep {
            ident.clone()
        } else {
            let suffix = match (self.suffix.as_str(), shape) {
                ("", Shape::Array) => "_array".to_owned(),
                ("", _) if is_global || self.inlining.is_empty() => "_1".to_owned(),
                (suffix, _) => suffix.to_owned(),
            };
            let fresh = self.fresh(&name, &suffix);
            if shape == Shape::Array && self.suffix.is_empty() {
                self.names.set_base(fresh.to_string(), name.clone());
            }
            fresh
        };
        self.scope.declare(&name, Local { known, ..Local::new(ident.clone(), shape) });
        ident
    }

    /// Specialises a local declaration whose initialiser is folded. `None`: its value is known, and uses have the value.
    pub(crate) fn declaration(
        &mut self,
        d: &Declaration,
        value: Option<(Expr, Option<Known>)>,
        span: Span,
        place: Place,
    ) -> Result<Option<Declaration>, Error> {
        let (initializer, mut known) = value.map_or((None, None), |(init, known)| (Some(init), known));
        known = self.declared_value(known, d.ty.as_ref(), span)?;
        let mut shape = match (&d.ty, &d.initializer) {
            (Some(ty), _) => self.shape_of_type(ty),
            (None, Some(init)) => self.shape(init),
            (None, None) => Shape::Other,
        };
        known = match d.kind {
            DeclarationKind::Const => known,
            DeclarationKind::Let => match known.filter(|k| k.num.is_discrete()) {
                Some(Known { num, .. }) => {
                    let num = num.concrete().map_err(|m| self.constant_error(span, &m))?;
                    Some(Known { num, constant: false })
                }
                None => None,
            },
            DeclarationKind::Var(_) | DeclarationKind::Override => {
                if d.ty.is_none() && matches!(known, Some(Known { num: Num::Int(_), .. })) {
                    shape = Shape::Int;
                }
                None
            }
        };
        if matches!(known, Some(Known { num: Num::Int(_) | Num::I32(_) | Num::U32(_), .. })) {
            shape = Shape::Int;
        }
        if known.is_some_and(|k| k.num.is_discrete()) {
            self.scope.declare(&d.ident.name(), Local { known, ..Local::new(d.ident.clone(), shape) });
            return Ok(None);
        }
        let ident = self.declare(&d.ident, known, shape, place);
        if d.kind == DeclarationKind::Let {
            self.scope.fix(&d.ident.name());
        }
        let ty = d.ty.as_ref().map(|ty| self.ty(ty)).transpose()?;
        Ok(Some(Declaration { attributes: d.attributes.clone(), kind: d.kind, ident, ty, initializer }))
    }

    fn if_statement(&mut self, s: &IfStatement, span: Span, out: &mut Vec<Stmt>) -> Result<Flow, Error> {
        let clauses = std::iter::once((&s.if_clause.expression, &s.if_clause.body))
            .chain(s.else_if_clauses.iter().map(|clause| (&clause.expression, &clause.body)));
        let mut open = Vec::new();
        // The branch that is taken when all before it are not.
        let mut last = s.else_clause.as_ref().map(|clause| &clause.body);
        for (condition, body) in clauses {
            let (condition, known) = self.expr(condition)?;
            match known.and_then(|k| k.num.as_bool()) {
                Some(false) => {}
                Some(true) => {
                    last = Some(body);
                    break;
                }
                None => {
                    let body = self.block(body)?;
                    open.push((condition, body));
                }
            }
        }
        let mut open = open.into_iter();
        let Some((expression, body)) = open.next() else {
            return match last {
                Some(body) => self.content(body, out),
                None => Ok(Flow::Continues),
            };
        };
        let else_clause = match last {
            Some(body) => Some(self.block(body)?).filter(|body| !body.statements.is_empty()),
            None => None,
        };
        let s = IfStatement {
            attributes: s.attributes.clone(),
            if_clause: IfClause { expression, body },
            else_if_clauses: open.map(|(expression, body)| ElseIfClause { expression, body }).collect(),
            else_clause: else_clause.map(|body| ElseClause { body }),
        };
        self.push(Statement::If(s), span, out)
    }

    fn switch_statement(
        &mut self,
        s: &SwitchStatement,
        span: Span,
        out: &mut Vec<Stmt>,
    ) -> Result<Flow, Error> {
        let (expression, known) = self.expr(&s.expression)?;
        let wanted = known.and_then(|k| k.num.as_i64());
        let mut selectors = Vec::new();
        let (mut chosen, mut default) = (None, None);
        let mut decided = wanted.is_some();
        for clause in &s.clauses {
            let mut folded = Vec::new();
            for selector in &clause.case_selectors {
                folded.push(match selector {
                    CaseSelector::Default => {
                        default = Some(clause);
                        CaseSelector::Default
                    }
                    CaseSelector::Expression(e) => {
                        let (e, known) = self.expr(e)?;
                        let value = known.and_then(|k| k.num.as_i64());
                        decided = decided && value.is_some();
                        if value.is_some() && value == wanted {
                            chosen = Some(clause);
                        }
                        CaseSelector::Expression(e)
                    }
                });
            }
            selectors.push(folded);
        }
        if decided
            && let Some(clause) = chosen.or(default)
            && !has_break(&clause.body.statements)
        {
            return self.content(&clause.body, out);
        }
        let mut clauses = Vec::new();
        for (clause, case_selectors) in s.clauses.iter().zip(selectors) {
            clauses.push(SwitchClause { case_selectors, body: self.block(&clause.body)? });
        }
        let (attributes, body_attributes) = (s.attributes.clone(), s.body_attributes.clone());
        self.push(
            Statement::Switch(SwitchStatement { attributes, expression, body_attributes, clauses }),
            span,
            out,
        )
    }

    fn loop_statement(&mut self, s: &LoopStatement) -> Result<LoopStatement, Error> {
        let mark = self.scope.enter();
        let mut statements = Vec::new();
        self.statements(&s.body.statements, Place::Block, &mut statements)?;
        let continuing = match &s.continuing {
            Some(continuing) => {
                let mut statements = Vec::new();
                self.statements(&continuing.body.statements, Place::Block, &mut statements)?;
                let break_if = match &continuing.break_if {
                    Some(end) => Some(BreakIfStatement { expression: self.expr(&end.expression)?.0 }),
                    None => None,
                };
                let body = CompoundStatement { attributes: continuing.body.attributes.clone(), statements };
                Some(ContinuingStatement { body, break_if })
            }
            None => None,
        };
        self.scope.leave(mark);
        let body = CompoundStatement { attributes: s.body.attributes.clone(), statements };
        Ok(LoopStatement { attributes: s.attributes.clone(), body, continuing })
    }

    /// A `for` loop that stays a loop.
    pub(crate) fn rolled(&mut self, s: &ForStatement) -> Result<Statement, Error> {
        let mark = self.scope.enter();
        let one = |cx: &mut Self, statement: &Option<Stmt>| {
            let mut out = Vec::new();
            if let Some(statement) = statement {
                cx.refuse_inlined_header(statement)?;
                cx.statement(statement, Place::Block, &mut out)?;
            }
            Ok::<_, Error>(out.pop())
        };
        let initializer = one(self, &s.initializer)?;
        let condition = s.condition.as_ref().map(|e| self.expr(e)).transpose()?.map(|(e, _)| e);
        let update = one(self, &s.update)?;
        let body = self.block(&s.body)?;
        self.scope.leave(mark);
        Ok(Statement::For(ForStatement {
            attributes: s.attributes.clone(),
            initializer,
            condition,
            update,
            body,
        }))
    }

    pub(crate) fn push_loop(&mut self, s: Statement, span: Span, out: &mut Vec<Stmt>) -> Result<Flow, Error> {
        self.push(s, span, out)
    }
}
