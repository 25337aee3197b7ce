//! Writing a tree as text.
//!
//! The parser's own printer would do, but it copies the text once for every level of nesting and prints `1e30` with thirty
//! zeros; and this text is meant to be read.

mod expression;

use std::fmt::{self, Write};

use wgsl_parse::syntax::{
    Attributes, CaseSelector, CompoundStatement, Declaration, Expression, Function, GlobalDeclaration,
    Statement,
};

use crate::tree::{Expr, Stmt};

/// Text in the making.
#[derive(Default)]
pub(crate) struct Printer {
    out: String,
    indent: usize,
    /// How many loops are around.
    loops: usize,
    /// The variable that says how many turns loops may still take, if that is bounded.
    turns_left: Option<&'static str>,
}

/// Whether something was written; `String`s always take it.
type Result = fmt::Result;

impl Printer {
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// One whose loops end when the variable, which counts down with every turn, is zero.
    pub(crate) fn bounded(turns_left: &'static str) -> Self {
        Self { turns_left: Some(turns_left), ..Self::default() }
    }

    /// A loop's body, in which `condition` is tested once the turn is counted.
    fn loop_body(&mut self, condition: Option<&Expr>, statements: &[Stmt]) -> Result {
        self.raw("{");
        self.indent += 1;
        if let Some(left) = self.turns_left {
            self.line();
            write!(self.out, "if ({left} == 0u) {{ break; }}")?;
            self.line();
            write!(self.out, "{left} -= 1u;")?;
            if let Some(condition) = condition {
                self.line();
                self.raw("if (!(");
                self.expr(condition)?;
                self.raw(")) { break; }");
            }
        }
        self.statements(statements)
    }

    pub(crate) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn line(&mut self) {
        self.out.push('\n');
        for _ in 0..self.indent {
            self.out.push_str("    ");
        }
    }

    /// Writes a module-scope declaration and the line's end.
    pub(crate) fn global(&mut self, global: &GlobalDeclaration) -> Result {
        match global {
            GlobalDeclaration::Void => return Ok(()),
            GlobalDeclaration::Declaration(d) => {
                self.attributes(&d.attributes)?;
                self.declaration(d)?;
                self.raw(";");
            }
            GlobalDeclaration::TypeAlias(alias) => {
                write!(self.out, "alias {} = ", alias.ident)?;
                self.ty(&alias.ty)?;
                self.raw(";");
            }
            GlobalDeclaration::Struct(s) => {
                write!(self.out, "struct {} {{", s.ident)?;
                self.indent += 1;
                for member in &s.members {
                    self.line();
                    self.attributes(&member.attributes)?;
                    write!(self.out, "{}: ", member.ident)?;
                    self.ty(&member.ty)?;
                    self.raw(",");
                }
                self.indent -= 1;
                self.line();
                self.raw("}");
            }
            GlobalDeclaration::Function(function) => self.function(function)?,
            GlobalDeclaration::ConstAssert(assert) => {
                self.raw("const_assert ");
                self.expr(&assert.expression)?;
                self.raw(";");
            }
        }
        self.raw("\n");
        Ok(())
    }

    fn function(&mut self, function: &Function) -> Result {
        if !function.attributes.is_empty() {
            self.attributes(&function.attributes)?;
            // In place of the last space.
            self.out.pop();
            self.line();
        }
        write!(self.out, "fn {}(", function.ident)?;
        for (n, parameter) in function.parameters.iter().enumerate() {
            self.raw(if n > 0 { ", " } else { "" });
            self.attributes(&parameter.attributes)?;
            write!(self.out, "{}: ", parameter.ident)?;
            self.ty(&parameter.ty)?;
        }
        self.raw(")");
        if let Some(ty) = &function.return_type {
            self.raw(" -> ");
            self.attributes(&function.return_attributes)?;
            self.ty(ty)?;
        }
        self.raw(" ");
        self.block(&function.body)
    }

    fn attributes(&mut self, attributes: &Attributes) -> Result {
        attributes.iter().try_for_each(|attribute| write!(self.out, "{attribute} "))
    }

    fn declaration(&mut self, d: &Declaration) -> Result {
        write!(self.out, "{} {}", d.kind, d.ident)?;
        if let Some(ty) = &d.ty {
            self.raw(": ");
            self.ty(ty)?;
        }
        if let Some(init) = &d.initializer {
            self.raw(" = ");
            self.expr(init)?;
        }
        Ok(())
    }

    fn block(&mut self, block: &CompoundStatement) -> Result {
        self.attributes(&block.attributes)?;
        self.raw("{");
        self.indent += 1;
        self.statements(&block.statements)?;
        self.close()
    }

    fn close(&mut self) -> Result {
        self.indent -= 1;
        // An empty block is `{}`.
        if !self.out.ends_with('{') {
            self.line();
        }
        self.raw("}");
        Ok(())
    }

    fn statements(&mut self, statements: &[Stmt]) -> Result {
        for statement in statements {
            if !matches!(statement.node(), Statement::Void) {
                self.line();
                self.statement(statement)?;
                if !ends_with_block(statement) {
                    self.raw(";");
                }
            }
        }
        Ok(())
    }

    /// A statement without the semicolon, as in the header of a `for`.
    fn statement(&mut self, statement: &Stmt) -> Result {
        let is_loop =
            matches!(statement.node(), Statement::Loop(_) | Statement::For(_) | Statement::While(_));
        self.loops += usize::from(is_loop);
        self.statement_in_place(statement)?;
        self.loops -= usize::from(is_loop);
        Ok(())
    }

    fn statement_in_place(&mut self, statement: &Stmt) -> Result {
        match statement.node() {
            Statement::Void => Ok(()),
            Statement::Compound(block) => self.block(block),
            Statement::Assignment(s) => {
                self.expr(&s.lhs)?;
                write!(self.out, " {} ", s.operator)?;
                self.expr(&s.rhs)
            }
            Statement::Increment(s) => {
                self.expr(&s.expression)?;
                self.out.write_str("++")
            }
            Statement::Decrement(s) => {
                self.expr(&s.expression)?;
                self.out.write_str("--")
            }
            Statement::If(s) => {
                self.attributes(&s.attributes)?;
                self.raw("if ");
                self.condition(&s.if_clause.expression)?;
                self.block(&s.if_clause.body)?;
                for clause in &s.else_if_clauses {
                    self.raw(" else if ");
                    self.condition(&clause.expression)?;
                    self.block(&clause.body)?;
                }
                if let Some(clause) = &s.else_clause {
                    self.raw(" else ");
                    self.block(&clause.body)?;
                }
                Ok(())
            }
            Statement::Switch(s) => {
                self.attributes(&s.attributes)?;
                self.raw("switch ");
                self.condition(&s.expression)?;
                self.attributes(&s.body_attributes)?;
                self.raw("{");
                self.indent += 1;
                for clause in &s.clauses {
                    self.line();
                    self.raw("case ");
                    for (n, selector) in clause.case_selectors.iter().enumerate() {
                        self.raw(if n > 0 { ", " } else { "" });
                        match selector {
                            CaseSelector::Default => self.raw("default"),
                            CaseSelector::Expression(e) => self.expr(e)?,
                        }
                    }
                    self.raw(" ");
                    self.block(&clause.body)?;
                }
                self.close()
            }
            Statement::Loop(s) => {
                self.attributes(&s.attributes)?;
                self.raw("loop ");
                self.attributes(&s.body.attributes)?;
                self.loop_body(None, &s.body.statements)?;
                if let Some(continuing) = &s.continuing {
                    self.line();
                    self.raw("continuing ");
                    self.attributes(&continuing.body.attributes)?;
                    self.raw("{");
                    self.indent += 1;
                    self.statements(&continuing.body.statements)?;
                    if let Some(end) = &continuing.break_if {
                        self.line();
                        self.raw("break if ");
                        self.expr(&end.expression)?;
                        self.raw(";");
                    }
                    self.close()?;
                }
                self.close()
            }
            Statement::For(s) => {
                self.attributes(&s.attributes)?;
                self.raw("for (");
                s.initializer.iter().try_for_each(|statement| self.statement(statement))?;
                self.raw("; ");
                let outside = s.condition.as_ref().filter(|_| self.turns_left.is_none());
                outside.into_iter().try_for_each(|e| self.expr(e))?;
                self.raw("; ");
                s.update.iter().try_for_each(|statement| self.statement(statement))?;
                self.raw(") ");
                self.attributes(&s.body.attributes)?;
                self.loop_body(s.condition.as_ref(), &s.body.statements)?;
                self.close()
            }
            Statement::While(s) => {
                self.attributes(&s.attributes)?;
                if self.turns_left.is_some() {
                    self.raw("loop ");
                } else {
                    self.raw("while ");
                    self.condition(&s.condition)?;
                }
                self.attributes(&s.body.attributes)?;
                self.loop_body(Some(&s.condition), &s.body.statements)?;
                self.close()
            }
            Statement::Break(_) => self.out.write_str("break"),
            Statement::Continue(_) => self.out.write_str("continue"),
            Statement::Discard(_) => self.out.write_str("discard"),
            Statement::Return(s) => {
                self.raw("return");
                if let Some(e) = &s.expression {
                    self.raw(" ");
                    self.expr(e)?;
                }
                Ok(())
            }
            Statement::FunctionCall(s) => self.call(&s.call),
            Statement::ConstAssert(s) => {
                self.raw("const_assert ");
                self.expr(&s.expression)
            }
            Statement::Declaration(d) => {
                self.attributes(&d.attributes)?;
                self.declaration(d)?;
                match (&d.ty, &d.initializer) {
                    // A variable is zero whenever its declaration is reached, and Chromium (156) forgets that in loops: there
                    // it keeps what the turn before left in it.
                    (Some(ty), None) if self.loops > 0 => {
                        self.raw(" = ");
                        self.ty(ty)?;
                        self.raw("()");
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// A condition in parentheses, and a space.
    fn condition(&mut self, e: &Expr) -> Result {
        if matches!(e.node(), Expression::Parenthesized(_)) {
            self.expr(e)?;
        } else {
            self.raw("(");
            self.expr(e)?;
            self.raw(")");
        }
        self.out.write_str(" ")
    }
}

fn ends_with_block(statement: &Stmt) -> bool {
    matches!(
        statement.node(),
        Statement::Compound(_)
            | Statement::If(_)
            | Statement::Switch(_)
            | Statement::Loop(_)
            | Statement::For(_)
            | Statement::While(_)
    )
}
