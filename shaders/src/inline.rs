//! Inlining of functions that take pointers to arrays.
//!
//! An array becomes scalars only if every use has a constant index, and a pointer to the whole array is no such use. So the
//! body of a function that takes one replaces the call: the pointer parameter stands for the caller's array, parameters of
//! known value stay known, and folding, unrolling and scalarising see the body as if it stood in the caller. WGSL has no
//! recursion, and its pointer parameters alias nothing that the function writes, so the outcome is that of the call.
//!
//! Pointers to storage are inlined for another reason: only an extension of WGSL lets a function take one.
//!
//! This is part of the walk in `body`: the callee's statements are specialised where the call stands.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    AssignmentOperator, AssignmentStatement, Declaration, DeclarationKind, Expression, FormalParameter,
    Function, FunctionCall, GlobalDeclaration, Ident, IndexingExpression, NamedComponentExpression,
    ReturnStatement, Statement, TypeExpression, UnaryExpression, UnaryOperator,
};

use crate::context::{Context, Expansion, Inlining, at};
use crate::error::{Error, ErrorKind};
use crate::flow::{Flow, Place, first_return, jumps, returns_at_the_end};
use crate::fold::parenthesized;
use crate::scope::{Local, Scope, Shape};
use crate::tree::{self, Expr, Mention, Stmt, as_ident, ident_expr};
use crate::value::{Known, Num};

/// How deep inlined functions may call each other.
const MAX_INLINED_DEPTH: usize = 32;

/// The address space of a pointer that a function may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Function,
    Storage,
}

/// A function whose body replaces a call.
#[derive(Clone, Copy)]
pub(crate) struct Inlined<'l> {
    /// Index of the file that declares it.
    pub(crate) file: usize,
    pub(crate) function: &'l Function,
}

impl<'l> Context<'l> {
    /// The function of a call that is to be inlined: it takes a pointer to a function-scope array or to storage, or is given
    /// an element of an array and can be inlined.
    pub(crate) fn inlined(&self, c: &FunctionCall) -> Option<Inlined<'l>> {
        let item = self.linked.items.get(c.ty.ident.name().as_str())?;
        let GlobalDeclaration::Function(function) = item.global.node() else { return None };
        let inlined = Some(Inlined { file: item.file, function });
        let mut is_given_element = false;
        for (parameter, argument) in function.parameters.iter().zip(&c.arguments) {
            let Some((space, pointee)) = self.pointee(&parameter.ty) else { continue };
            if space == Space::Storage || self.shape_of_type(pointee) == Shape::Array {
                return inlined;
            }
            is_given_element |= self.points_to_element(argument);
        }
        inlined.filter(|_| is_given_element && returns_at_the_end(function))
    }

    /// Space and pointee of a `ptr<function, T>` or `ptr<storage, T>`.
    pub(crate) fn pointee<'t>(&'t self, ty: &'t TypeExpression) -> Option<(Space, &'t TypeExpression)> {
        let ty = self.resolve(ty);
        let [space, pointee, ..] = ty.template_args.as_deref()? else { return None };
        let space = match as_ident(&space.expression)?.name().as_str() {
            "function" => Space::Function,
            "storage" => Space::Storage,
            _ => return None,
        };
        match pointee.expression.node() {
            Expression::TypeOrIdentifier(pointee) if *ty.ident.name() == "ptr" => Some((space, pointee)),
            _ => None,
        }
    }

    /// Whether a parameter points to an array that may become scalars.
    pub(crate) fn points_to_array(&self, ty: &TypeExpression) -> bool {
        self.pointee(ty).is_some_and(|(space, pointee)| {
            space == Space::Function && self.shape_of_type(pointee) == Shape::Array
        })
    }

    fn points_to_element(&self, argument: &Expr) -> bool {
        let is_element = |e: &Expr| matches!(e.node(), Expression::Indexing(_));
        match argument.node() {
            Expression::Unary(u) => u.operator == UnaryOperator::AddressOf && is_element(&u.operand),
            _ => self.place(argument).as_ref().is_some_and(is_element),
        }
    }

    /// The place behind a pointer parameter of an inlined function.
    pub(crate) fn place(&self, e: &Expr) -> Option<Expr> {
        match e.node() {
            Expression::Parenthesized(p) => self.place(&p.expression),
            _ => self.scope.get(&as_ident(e)?.name())?.place.clone(),
        }
    }

    /// Folds what is indexed or has a member taken; a pointer may stand there for what it points to.
    pub(crate) fn base(&mut self, e: &Expr) -> Result<Expr, Error> {
        match self.place(e) {
            Some(place) => Ok(place),
            None => Ok(self.expr(e)?.0),
        }
    }

    /// The place of a node in the text of the function that is being specialised: within inlined statements, the call's.
    pub(crate) fn caller_span(&self, span: Span) -> Span {
        self.inlining.first().map_or(span, |inlining| inlining.span)
    }

    /// Keeps the names that inlined functions call from being hidden by locals.
    pub(crate) fn keep_names_of_inlined(&mut self) {
        let mut open: Vec<String> =
            self.names.taken().filter(|name| self.takes_pointer(name)).map(str::to_owned).collect();
        while let Some(name) = open.pop() {
            let Some(global) = self.linked.global(&name) else { continue };
            tree::each_mention(global, &mut |mention| {
                if let Mention::Name(ident, true) = mention
                    && self.names.keep_called(&ident.name())
                {
                    open.push(ident.to_string());
                }
            });
            open.retain(|name| self.takes_pointer(name));
        }
    }

    fn takes_pointer(&self, name: &str) -> bool {
        self.pointer_spaces(name).next().is_some()
    }

    /// Whether an item is a function that takes a pointer to storage: it exists only where it is inlined.
    pub(crate) fn takes_storage(&self, name: &str) -> bool {
        self.pointer_spaces(name).any(|space| space == Space::Storage)
    }

    /// Where the pointers point that a function takes; none of another item.
    fn pointer_spaces(&self, name: &str) -> impl Iterator<Item = Space> {
        let parameters = match self.linked.global(name) {
            Some(GlobalDeclaration::Function(function)) => function.parameters.as_slice(),
            _ => &[],
        };
        parameters.iter().filter_map(|p| self.pointee(&p.ty)).map(|(space, _)| space)
    }

    /// Fails if an inlined function uses a name that it does not declare, but its caller does.
    pub(crate) fn refuse_captured(&self, name: &str, span: Span) -> Result<(), Error> {
        let Some(inlining) = self.inlining.last() else { return Ok(()) };
        if !self.names.is_declared(name) || self.linked.items.contains_key(name) || self.names.is_called(name)
        {
            return Ok(());
        }
        let message = format!("`{name}` is not declared in `{}`", inlining.function.ident);
        Err(self.error(ErrorKind::Unresolved, span, message))
    }

    /// Fails if a call that is to be inlined stands where its body cannot.
    pub(crate) fn refuse_inlined(&self, c: &FunctionCall, span: Span) -> Result<(), Error> {
        if self.inlined(c).is_none() {
            return Ok(());
        }
        let name = &c.ty.ident;
        let message = format!(
            "the body of `{name}` replaces its call, because it takes a pointer to an array: write `{name}(..);`, \
             `let x = {name}(..);`, `x = {name}(..);` or `return {name}(..);` as a statement of its own"
        );
        Err(self.error(ErrorKind::Syntax, span, message))
    }

    /// The same for the first or the last part of a loop's header.
    pub(crate) fn refuse_inlined_header(&self, statement: &Stmt) -> Result<(), Error> {
        call_of(statement.node()).map_or(Ok(()), |c| self.refuse_inlined(c, statement.span()))
    }

    /// Specialises a statement that is or takes the value of a call to be inlined. `None`: another statement.
    pub(crate) fn inline_statement(
        &mut self,
        statement: &Statement,
        span: Span,
        place: Place,
        out: &mut Vec<Stmt>,
    ) -> Result<Option<Flow>, Error> {
        let Some(c) = call_of(statement) else { return Ok(None) };
        let Some(callee) = self.inlined(c) else { return Ok(None) };
        let ty = callee.function.return_type.as_ref();
        if ty.is_none() && !matches!(statement, Statement::FunctionCall(_)) {
            let message = format!("`{}` returns nothing", callee.function.ident);
            return Err(self.error(ErrorKind::Syntax, span, message));
        }
        let target = match statement {
            Statement::Assignment(s) => {
                let (lhs, _) = self.expr(&s.lhs)?;
                Some(self.settled(lhs, out)?)
            }
            _ => None,
        };
        let value = self.deeper(span, |cx| cx.inline(c, callee, span, out))?;
        let (Some(value), Some(ty)) = (value, ty) else { return Ok(Some(Flow::Continues)) };
        let statement = match statement {
            Statement::Return(_) => {
                self.push(Statement::Return(ReturnStatement { expression: Some(value) }), span, out)?;
                return Ok(Some(Flow::Ends));
            }
            Statement::Declaration(d) => {
                let known = literal(&value);
                let d = Declaration { ty: d.ty.clone().or_else(|| Some(ty.clone())), ..d.clone() };
                match self.declaration(&d, Some((value, known)), span, place)? {
                    Some(d) => Statement::Declaration(d),
                    None => return Ok(Some(Flow::Continues)),
                }
            }
            _ => match target {
                Some(lhs) => {
                    let operator = AssignmentOperator::Equal;
                    Statement::Assignment(AssignmentStatement { operator, lhs, rhs: value })
                }
                // The value is not used, but computing it may do something.
                None => Statement::Declaration(let_of(self.fresh("unused", ""), self.ty(ty)?, value)),
            },
        };
        self.push(statement, span, out).map(Some)
    }

    /// Writes the body of a call's function into `out`. Returns the value.
    fn inline(
        &mut self,
        c: &FunctionCall,
        callee: Inlined<'l>,
        span: Span,
        out: &mut Vec<Stmt>,
    ) -> Result<Option<Expr>, Error> {
        let function = callee.function;
        let fail = |cx: &Self, kind, message: String| Err(cx.error(kind, span, message));
        if function.parameters.len() != c.arguments.len() {
            let (expected, found) = (function.parameters.len(), c.arguments.len());
            let message = format!("`{}` takes {expected} arguments, found {found}", function.ident);
            return fail(self, ErrorKind::Syntax, message);
        }
        if self.inlining.iter().any(|outer| std::ptr::eq(outer.function, function)) {
            return fail(self, ErrorKind::Syntax, format!("`{}` calls itself", function.ident));
        }
        if self.inlining.len() >= MAX_INLINED_DEPTH {
            let message = format!("more than {MAX_INLINED_DEPTH} functions are inlined into each other");
            return fail(self, ErrorKind::Limit, message);
        }
        self.expansions.push(Expansion { file: self.file, span, what: "inlining this call" });
        self.count_expanded()?;
        let mut scope = Scope::default();
        for (parameter, argument) in function.parameters.iter().zip(&c.arguments) {
            let local = self.argument(parameter, argument, callee.file, out)?;
            scope.declare(&parameter.ident.name(), local);
        }
        self.inlining.push(Inlining { function, span });
        let caller =
            (std::mem::replace(&mut self.file, callee.file), std::mem::replace(&mut self.scope, scope));
        let result = self.body_of(function, out);
        (self.file, self.scope) = caller;
        self.inlining.pop();
        self.expansions.pop();
        result
    }

    /// The local that a parameter stands for in the inlined body. Writes what has to be computed first.
    fn argument(
        &mut self,
        parameter: &FormalParameter,
        argument: &Expr,
        file: usize,
        out: &mut Vec<Stmt>,
    ) -> Result<Local, Error> {
        let span = argument.span();
        let (value, known) = self.expr(argument)?;
        if self.pointee(&parameter.ty).is_some() {
            let shape = if self.points_to_array(&parameter.ty) { Shape::Array } else { Shape::Other };
            let place = match *value {
                Expression::Unary(ref u) if u.operator == UnaryOperator::AddressOf => u.operand.clone(),
                _ => {
                    let u = UnaryExpression { operator: UnaryOperator::Indirection, operand: value };
                    parenthesized(at(Expression::Unary(u), span), span)
                }
            };
            let place = Some(self.settled(place, out)?);
            return Ok(Local { place, ..Local::new(parameter.ident.clone(), shape) });
        }

        let shape = match self.shape_of_type(&parameter.ty) {
            Shape::Array => Shape::Other,
            shape => shape,
        };
        let known = self.declared_value(known.filter(|k| k.num.is_discrete()), Some(&parameter.ty), span)?;
        if let Some(Known { num, .. }) = known {
            let num = num.concrete().map_err(|m| self.constant_error(span, &m))?;
            let known = Some(Known { num, constant: false });
            return Ok(Local { known, ..Local::new(parameter.ident.clone(), shape) });
        }
        // A name that never changes may stand for the parameter.
        if let (Some(source), Some(ident)) = (as_ident(argument), as_ident(&value))
            && self.scope.get(&source.name()).is_some_and(|local| local.fixed)
        {
            return Ok(Local { fixed: true, ..Local::new(ident.clone(), shape) });
        }
        let ident = self.fresh(&parameter.ident.name(), &self.suffix.clone());
        let ty = self.at_module_scope(file, |cx| cx.ty(&parameter.ty))?;
        self.push(Statement::Declaration(let_of(ident.clone(), ty, value)), span, out)?;
        Ok(Local { fixed: true, ..Local::new(ident, shape) })
    }

    /// A place that stays the same when variables change: indexes that are not constant are computed now.
    fn settled(&mut self, e: Expr, out: &mut Vec<Stmt>) -> Result<Expr, Error> {
        let span = e.span();
        Ok(match e.into_inner() {
            Expression::Indexing(IndexingExpression { base, index }) => {
                let base = self.settled(base, out)?;
                let index = if matches!(*index, Expression::Literal(_)) {
                    index
                } else {
                    let ident = self.fresh("index", &self.suffix.clone());
                    let d = Declaration { ty: None, ..let_of(ident.clone(), tree::named("u32"), index) };
                    self.push(Statement::Declaration(d), span, out)?;
                    ident_expr(ident, span)
                };
                at(Expression::Indexing(IndexingExpression { base, index }), span)
            }
            Expression::NamedComponent(NamedComponentExpression { base, component }) => {
                let base = self.settled(base, out)?;
                at(Expression::NamedComponent(NamedComponentExpression { base, component }), span)
            }
            Expression::Parenthesized(p) => parenthesized(self.settled(p.expression, out)?, span),
            other => at(other, span),
        })
    }

    /// Specialises the body of an inlined function into `out`. Returns the value.
    fn body_of(&mut self, function: &Function, out: &mut Vec<Stmt>) -> Result<Option<Expr>, Error> {
        let mut body = Vec::new();
        let flow = self.statements(&function.body.statements, Place::Around, &mut body)?;
        let last = match body.pop_if(|last| matches!(last.node(), Statement::Return(_))).map(Stmt::into_inner)
        {
            Some(Statement::Return(ReturnStatement { expression })) => Some(expression),
            _ => None,
        };
        let early = first_return(&body);
        let end = function.body.statements.last().map_or_else(Span::default, Stmt::span);
        let lacks_end = last.is_none() && (flow == Flow::Ends || function.return_type.is_some());
        if lacks_end || early.is_some() || jumps(&body, true, true) {
            let message = format!(
                "the body of `{}` replaces its call, because it takes a pointer to an array: it may have one `return`, as \
                 its last statement",
                function.ident
            );
            return Err(self.error(ErrorKind::Syntax, early.unwrap_or(end), message));
        }
        out.append(&mut body);
        Ok(last.flatten())
    }
}

/// The call that a statement is, or whose value it takes.
fn call_of(statement: &Statement) -> Option<&FunctionCall> {
    let value = match statement {
        Statement::FunctionCall(s) => return Some(&s.call),
        Statement::Assignment(s) if s.operator == AssignmentOperator::Equal => &s.rhs,
        Statement::Declaration(d) => d.initializer.as_ref()?,
        Statement::Return(s) => s.expression.as_ref()?,
        _ => return None,
    };
    match value.node() {
        Expression::FunctionCall(c) => Some(c),
        _ => None,
    }
}

fn let_of(ident: Ident, ty: TypeExpression, value: Expr) -> Declaration {
    let (kind, ty, initializer) = (DeclarationKind::Let, Some(ty), Some(value));
    Declaration { attributes: Vec::new(), kind, ident, ty, initializer }
}

/// The value of a literal.
fn literal(e: &Expr) -> Option<Known> {
    let Expression::Literal(literal) = e.node() else { return None };
    Num::of_literal(literal).map(|num| Known { num, constant: false })
}
