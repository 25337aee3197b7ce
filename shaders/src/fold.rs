//! Constant folding of expressions.
//!
//! The result of folding is an expression and, where there is one, its value. An expression whose value is a known integer
//! or truth value is always a literal, or the name of a module-scope constant: names stay as long as they stand alone,
//! because `row < BLOCK_Q` says more than `row < 64u`. Float arithmetic is never touched, so that a specialised kernel
//! rounds as its source does.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    BinaryExpression, BinaryOperator, Expression, FunctionCall, GlobalDeclaration, IndexingExpression,
    NamedComponentExpression, ParenthesizedExpression, TemplateArg, TypeExpression, UnaryExpression,
    UnaryOperator,
};

use crate::arithmetic;
use crate::context::{Context, at};
use crate::error::Error;
use crate::scope::{Local, Shape};
use crate::tree::{Expr, as_ident, each_operand, ident_expr};
use crate::value::{Known, Num};

type Folded = (Expr, Option<Known>);

impl Context<'_> {
    /// Folds an expression.
    pub(crate) fn expr(&mut self, e: &Expr) -> Result<Folded, Error> {
        let span = e.span();
        match e.node() {
            Expression::Literal(literal) => {
                Ok((e.clone(), Num::of_literal(literal).map(|num| Known { num, constant: true })))
            }
            Expression::Parenthesized(p) => {
                let (inner, known) = self.deeper(span, |cx| cx.expr(&p.expression))?;
                let folded = if is_atom(&inner) { inner } else { parenthesized(inner, span) };
                Ok((folded, known))
            }
            Expression::NamedComponent(c) => {
                let base = self.deeper(span, |cx| cx.base(&c.base))?;
                let component = c.component.clone();
                Ok((at(Expression::NamedComponent(NamedComponentExpression { base, component }), span), None))
            }
            Expression::Indexing(i) => {
                let base = self.deeper(span, |cx| cx.base(&i.base))?;
                let (index, known) = self.deeper(span, |cx| cx.expr(&i.index))?;
                // A literal even where a name would do: scalarising reads it.
                let index = known.map_or(index, |known| known.num.to_expr(self.caller_span(i.index.span())));
                Ok((at(Expression::Indexing(IndexingExpression { base, index }), span), None))
            }
            Expression::Unary(u) => self.deeper(span, |cx| cx.unary(u, span)),
            Expression::Binary(b) => self.deeper(span, |cx| cx.binary(b, span)),
            Expression::FunctionCall(c) => self.deeper(span, |cx| cx.call(c, span)),
            Expression::TypeOrIdentifier(ty) => self.deeper(span, |cx| cx.name(ty, e)),
        }
    }

    /// Folds the template arguments of a type.
    pub(crate) fn ty(&mut self, ty: &TypeExpression) -> Result<TypeExpression, Error> {
        let Some(arguments) = &ty.template_args else { return Ok(ty.clone()) };
        let mut folded = Vec::with_capacity(arguments.len());
        for argument in arguments {
            folded.push(TemplateArg { expression: self.expr(&argument.expression)?.0 });
        }
        Ok(TypeExpression { path: None, ident: ty.ident.clone(), template_args: Some(folded) })
    }

    fn name(&mut self, ty: &TypeExpression, e: &Expr) -> Result<Folded, Error> {
        let span = e.span();
        if ty.template_args.is_some() {
            return Ok((at(Expression::TypeOrIdentifier(self.ty(ty)?), span), None));
        }
        let name = ty.ident.name();
        match self.scope.get(&name) {
            Some(Local { place: Some(place), .. }) => {
                let u = UnaryExpression { operator: UnaryOperator::AddressOf, operand: place.clone() };
                Ok((at(Expression::Unary(u), span), None))
            }
            Some(local) => Ok(match local.known {
                Some(known) if known.num.is_discrete() => (known.num.to_expr(span), Some(known)),
                known => (ident_expr(local.ident.clone(), span), known),
            }),
            None => {
                self.refuse_captured(&name, span)?;
                Ok((e.clone(), self.global_const(&name)?))
            }
        }
    }

    fn unary(&mut self, u: &UnaryExpression, span: Span) -> Result<Folded, Error> {
        if u.operator == UnaryOperator::Indirection
            && let Some(place) = self.place(&u.operand)
        {
            return Ok((place, None));
        }
        let (operand, known) = self.expr(&u.operand)?;
        let result = match known {
            Some(known) => arithmetic::unary(u.operator, known).map_err(|m| self.constant_error(span, &m))?,
            None => None,
        };
        if let Some(result) = result
            && result.num.is_discrete()
        {
            return Ok((result.num.to_expr(span), Some(result)));
        }
        Ok((at(Expression::Unary(UnaryExpression { operator: u.operator, operand }), span), result))
    }

    fn binary(&mut self, b: &BinaryExpression, span: Span) -> Result<Folded, Error> {
        let (left, left_known) = self.expr(&b.left)?;
        // A known left side of `&&` or `||` may decide alone; the right one is then not evaluated: `N > 0u && 8u % N == 0u`.
        let short = match b.operator {
            BinaryOperator::ShortCircuitAnd => Some(true),
            BinaryOperator::ShortCircuitOr => Some(false),
            _ => None,
        };
        if let (Some(neutral), Some(Known { num: Num::Bool(v), .. })) = (short, left_known) {
            return if v == neutral { self.expr(&b.right) } else { Ok((left, left_known)) };
        }
        let (right, right_known) = self.expr(&b.right)?;
        if let (Some(neutral), Some(Known { num: Num::Bool(v), .. })) = (short, right_known) {
            if v == neutral {
                return Ok((left, left_known));
            }
            if is_pure(&left) {
                return Ok((right, right_known));
            }
        }
        if let (Some(x), Some(y)) = (left_known, right_known)
            && let Some(result) =
                arithmetic::binary(b.operator, x, y).map_err(|m| self.constant_error(span, &m))?
        {
            return Ok((result.num.to_expr(span), Some(result)));
        }
        let (right, right_known) = self.defined_right(b.operator, right, right_known, span)?;
        Ok(match self.identity(b.operator, (&b.left, left_known), (&b.right, right_known)) {
            Identity::Left => (left, left_known),
            Identity::Right => (right, right_known),
            Identity::None => {
                let b = BinaryExpression { operator: b.operator, left, right };
                (at(Expression::Binary(b), span), None)
            }
        })
    }

    /// The right side of a division or shift whose left side is not known.
    ///
    /// WGSL rejects a divisor that is a constant zero, and shifting by a constant of 32 or more, for any left side. A
    /// loop variable is no constant, so there the run-time rules hold: `x / 0` is `x` and `x % 0` is 0, as if dividing
    /// by 1, and only the low bits of a shift count.
    pub(crate) fn defined_right(
        &self,
        op: BinaryOperator,
        right: Expr,
        known: Option<Known>,
        span: Span,
    ) -> Result<Folded, Error> {
        let Some(Known { num: num @ (Num::U32(_) | Num::I32(_)), constant }) = known else {
            return Ok((right, known));
        };
        let defined = match (op, num) {
            (BinaryOperator::Division | BinaryOperator::Remainder, Num::U32(0)) => Num::U32(1),
            (BinaryOperator::Division | BinaryOperator::Remainder, Num::I32(0)) => Num::I32(1),
            (BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight, Num::U32(v)) if v >= 32 => {
                Num::U32(v % 32)
            }
            _ => return Ok((right, known)),
        };
        if constant {
            return Err(
                self.constant_error(span, &format!("the right side of `{op}` cannot be {}", num.text()))
            );
        }
        Ok((defined.to_expr(right.span()), Some(Known { num: defined, constant })))
    }

    /// Whether an operation with one known operand is that operand, or the other one. Takes the operands as they were in
    /// the source, whose names are the ones in scope.
    fn identity(
        &self,
        op: BinaryOperator,
        left: (&Expr, Option<Known>),
        right: (&Expr, Option<Known>),
    ) -> Identity {
        let is = |side: Option<Known>, value: i64| side.and_then(|k| k.num.as_i64()) == Some(value);
        // An untyped literal may stand beside a float, where `x + 0` is not `x` for -0.
        let concrete = |side: Option<Known>| side.is_some_and(|k| matches!(k.num, Num::I32(_) | Num::U32(_)));
        let left_stays = concrete(right.1) || self.is_int(left.0);
        let right_stays = concrete(left.1) || self.is_int(right.0);
        match op {
            BinaryOperator::Addition if is(right.1, 0) && left_stays => Identity::Left,
            BinaryOperator::Addition if is(left.1, 0) && right_stays => Identity::Right,
            BinaryOperator::Subtraction if is(right.1, 0) && left_stays => Identity::Left,
            BinaryOperator::Multiplication | BinaryOperator::Division if is(right.1, 1) && left_stays => {
                Identity::Left
            }
            BinaryOperator::Multiplication if is(left.1, 1) && right_stays => Identity::Right,
            // Zero times a vector is a vector, and a call must still happen.
            BinaryOperator::Multiplication if is(left.1, 0) && concrete(left.1) => {
                if self.is_int(right.0) && is_pure(right.0) { Identity::Left } else { Identity::None }
            }
            BinaryOperator::Multiplication if is(right.1, 0) && concrete(right.1) => {
                if self.is_int(left.0) && is_pure(left.0) { Identity::Right } else { Identity::None }
            }
            _ => Identity::None,
        }
    }

    fn call(&mut self, c: &FunctionCall, span: Span) -> Result<Folded, Error> {
        self.refuse_inlined(c, span)?;
        let mut arguments = Vec::with_capacity(c.arguments.len());
        let mut known = Vec::new();
        for argument in &c.arguments {
            let (argument, value) = self.expr(argument)?;
            arguments.push(argument);
            known.extend(value);
        }
        if !known.is_empty() && known.len() == c.arguments.len() && c.ty.template_args.is_none() {
            let name = c.ty.ident.name();
            if !self.linked.items.contains_key(name.as_str()) {
                let result = match known.as_slice() {
                    [only] => {
                        let cast = only.num.cast(&name).map_err(|m| self.constant_error(span, &m))?;
                        cast.map(|num| Known { num, constant: only.constant })
                    }
                    _ => None,
                };
                let result = match result {
                    Some(result) => Some(result),
                    None => arithmetic::builtin(&name, &known).map_err(|m| self.constant_error(span, &m))?,
                };
                if let Some(result) = result {
                    return Ok((result.num.to_expr(span), Some(result)));
                }
            }
        }
        let ty = self.ty(&c.ty)?;
        Ok((at(Expression::FunctionCall(FunctionCall { ty, arguments }), span), None))
    }

    /// Folds a call that is a statement.
    pub(crate) fn call_statement(&mut self, c: &FunctionCall) -> Result<FunctionCall, Error> {
        let mut arguments = Vec::with_capacity(c.arguments.len());
        for argument in &c.arguments {
            arguments.push(self.expr(argument)?.0);
        }
        Ok(FunctionCall { ty: self.ty(&c.ty)?, arguments })
    }

    /// Whether an expression of the source surely is one `u32` or `i32`.
    pub(crate) fn is_int(&self, e: &Expr) -> bool {
        match e.node() {
            Expression::Literal(literal) => {
                matches!(Num::of_literal(literal), Some(Num::U32(_) | Num::I32(_)))
            }
            Expression::Parenthesized(p) => self.is_int(&p.expression),
            Expression::TypeOrIdentifier(_) => self.shape(e) == Shape::Int,
            Expression::NamedComponent(c) => {
                let one = c.component.name().chars().count() == 1;
                (one && self.shape(&c.base) == Shape::IntVector) || self.member_shape(c) == Shape::Int
            }
            Expression::Unary(u) => {
                matches!(u.operator, UnaryOperator::Negation | UnaryOperator::BitwiseComplement)
                    && self.is_int(&u.operand)
            }
            Expression::Binary(b) => match b.operator {
                BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight => self.is_int(&b.left),
                BinaryOperator::Addition
                | BinaryOperator::Subtraction
                | BinaryOperator::Multiplication
                | BinaryOperator::Division
                | BinaryOperator::Remainder
                | BinaryOperator::BitwiseAnd
                | BinaryOperator::BitwiseOr
                | BinaryOperator::BitwiseXor => self.is_int(&b.left) && self.is_int(&b.right),
                _ => false,
            },
            Expression::FunctionCall(c) => {
                let name = c.ty.ident.name();
                matches!(name.as_str(), "u32" | "i32") && !self.linked.items.contains_key(name.as_str())
            }
            Expression::Indexing(_) => false,
        }
    }

    /// The shape of an expression of the source, as far as it is easily told.
    pub(crate) fn shape(&self, e: &Expr) -> Shape {
        match e.node() {
            Expression::Parenthesized(p) => self.shape(&p.expression),
            Expression::FunctionCall(c) => self.shape_of_type(&c.ty),
            Expression::TypeOrIdentifier(_) => {
                let Some(ident) = as_ident(e) else { return Shape::Other };
                let name = ident.name();
                match (self.scope.get(&name), self.linked.global(&name)) {
                    (Some(local), _) => local.shape,
                    (None, Some(GlobalDeclaration::Declaration(d))) => {
                        d.ty.as_ref().map_or(Shape::Other, |ty| self.shape_of_type(ty))
                    }
                    _ => Shape::Other,
                }
            }
            Expression::NamedComponent(c) if self.member_shape(c) != Shape::Other => self.member_shape(c),
            _ if self.is_int(e) => Shape::Int,
            _ => Shape::Other,
        }
    }

    /// The shape of a member of a module-scope variable, such as `params.q_len`.
    fn member_shape(&self, c: &NamedComponentExpression) -> Shape {
        let find = || {
            let name = as_ident(&c.base)?.name();
            if self.scope.get(&name).is_some() {
                return None;
            }
            let GlobalDeclaration::Declaration(d) = self.linked.global(&name)? else { return None };
            let ty = self.resolve(d.ty.as_ref()?);
            let GlobalDeclaration::Struct(s) = self.linked.global(&ty.ident.name())? else { return None };
            let member = s.members.iter().find(|m| *m.ident.name() == *c.component.name())?;
            Some(self.shape_of_type(&member.ty))
        };
        find().unwrap_or(Shape::Other)
    }
}

enum Identity {
    Left,
    Right,
    None,
}

/// Whether an expression needs no parentheses anywhere.
pub(crate) fn is_atom(e: &Expr) -> bool {
    !matches!(e.node(), Expression::Unary(_) | Expression::Binary(_))
}

pub(crate) fn parenthesized(expression: Expr, span: Span) -> Expr {
    at(Expression::Parenthesized(ParenthesizedExpression { expression }), span)
}

/// Whether evaluating an expression does nothing but give its value. Of calls, only conversions and a few functions that
/// are known by name count.
fn is_pure(e: &Expr) -> bool {
    if let Expression::FunctionCall(c) = e.node()
        && !matches!(
            c.ty.ident.name().as_str(),
            "u32" | "i32" | "f32" | "bool" | "min" | "max" | "abs" | "clamp" | "select"
        )
    {
        return false;
    }
    let mut pure = true;
    each_operand(e, &mut |operand| pure = pure && is_pure(operand));
    pure
}
