//! Writing expressions and types.

use std::fmt::{Result, Write};

use wgsl_parse::syntax::{
    Expression, FunctionCall, LiteralExpression, TemplateArg, TypeExpression, UnaryExpression,
};

use super::Printer;
use crate::tree::Expr;

impl Printer {
    pub(super) fn expr(&mut self, e: &Expr) -> Result {
        match e.node() {
            Expression::Literal(literal) => self.literal(literal),
            Expression::Parenthesized(p) => {
                self.raw("(");
                self.expr(&p.expression)?;
                self.out.write_str(")")
            }
            Expression::NamedComponent(c) => {
                self.expr(&c.base)?;
                write!(self.out, ".{}", c.component)
            }
            Expression::Indexing(i) => {
                self.expr(&i.base)?;
                self.raw("[");
                self.expr(&i.index)?;
                self.out.write_str("]")
            }
            Expression::Unary(u) => self.unary(u),
            Expression::Binary(b) => {
                self.expr(&b.left)?;
                write!(self.out, " {} ", b.operator)?;
                self.expr(&b.right)
            }
            Expression::FunctionCall(c) => self.call(c),
            Expression::TypeOrIdentifier(ty) => self.ty(ty),
        }
    }

    fn unary(&mut self, u: &UnaryExpression) -> Result {
        write!(self.out, "{}", u.operator)?;
        // `--x` and `&&x` are other tokens.
        if matches!(u.operand.node(), Expression::Unary(inner) if inner.operator == u.operator) {
            self.raw(" ");
        }
        self.expr(&u.operand)
    }

    fn literal(&mut self, literal: &LiteralExpression) -> Result {
        match literal {
            LiteralExpression::F32(v) => write!(self.out, "{v:?}f"),
            LiteralExpression::F16(v) => write!(self.out, "{v:?}h"),
            other => write!(self.out, "{other}"),
        }
    }

    pub(super) fn call(&mut self, c: &FunctionCall) -> Result {
        self.ty(&c.ty)?;
        self.raw("(");
        for (n, argument) in c.arguments.iter().enumerate() {
            self.raw(if n > 0 { ", " } else { "" });
            self.expr(argument)?;
        }
        self.out.write_str(")")
    }

    pub(super) fn ty(&mut self, ty: &TypeExpression) -> Result {
        self.raw(&ty.ident.name());
        if let Some(arguments) = &ty.template_args {
            self.raw("<");
            for (n, TemplateArg { expression }) in arguments.iter().enumerate() {
                self.raw(if n > 0 { ", " } else { "" });
                self.expr(expression)?;
            }
            self.raw(">");
        }
        Ok(())
    }
}
