//! Operands: numbers, prefixes, brackets and names.

use std::sync::Arc;

use super::{
    super::{
        lexer::{Token, int_range},
        names::{self, Builtin, Name},
        tree::{Form, NodeId, Unary},
    },
    Of, Parser, Pending,
};
use crate::expr::ExprError;

impl<'a> Parser<'a> {
    /// An operand, or `None` if only a prefix or an opening bracket was taken.
    pub(super) fn operand(&mut self) -> Result<Option<NodeId>, ExprError> {
        let column = self.column;
        match self.token {
            Token::Symbol("-") => {
                self.advance()?;
                // A negative number is a number: the least int has no positive counterpart.
                let number = match self.token {
                    Token::Int(value) => Form::Int(-value),
                    Token::Float(value) => Form::Float(-value),
                    _ => return self.enter(Pending::Prefix(Unary::Negate, column), column).map(|()| None),
                };
                self.advance()?;
                self.push(number, column, column).map(Some)
            }
            Token::Symbol("!") => {
                self.enter(Pending::Prefix(Unary::Not, column), column)?;
                self.advance().map(|()| None)
            }
            Token::Symbol("(") => self.open(Of::Group, column),
            Token::Int(value) => {
                if i32::try_from(value).is_err() {
                    return Err(int_range(column));
                }
                self.advance()?;
                self.push(Form::Int(value), column, column).map(Some)
            }
            Token::Float(value) => {
                self.advance()?;
                self.push(Form::Float(value), column, column).map(Some)
            }
            Token::Name(name) => {
                self.advance()?;
                self.name(name, column)
            }
            Token::End => Err(ExprError::new(column, "the expression ends where an operand is expected")),
            Token::Symbol(symbol) => {
                Err(ExprError::new(column, format!("expected an operand, not `{symbol}`")))
            }
        }
    }

    /// Parses an operand that begins with a name, already taken, at `column`.
    fn name(&mut self, name: &'a str, column: usize) -> Result<Option<NodeId>, ExprError> {
        let error = |message: String| Err(ExprError::new(column, message));
        let called = self.token == Token::Symbol("(");
        let indexed = self.token == Token::Symbol("[");
        let Some(meaning) = names::find(name) else {
            if let Some(hint) = names::word_hint(name) {
                return error(format!("`{name}` is not an operator: {hint}"));
            }
            return if indexed {
                self.open(Of::Lookup(name.into()), column)
            } else {
                error(names::unknown(name, called))
            };
        };
        if indexed {
            return error(format!("`{name}` is a name of the language and no table"));
        }
        let leaf = match meaning {
            Name::Builtin(builtin) if !builtin.parameters().is_empty() => {
                return match (called, builtin) {
                    (false, _) => error(format!("`{name}` takes arguments: `{}`", builtin.signature())),
                    (true, Builtin::Same) => self.same(column).map(Some),
                    (true, _) => self.open(Of::Call(builtin), column),
                };
            }
            Name::Builtin(Builtin::Alibi) if called => return self.open(Of::Call(Builtin::Alibi), column),
            Name::Builtin(_) if called => {
                return error(format!("`{name}` takes no arguments: write it without parentheses"));
            }
            _ if called => return error(format!("`{name}` is a value: it is not called")),
            Name::Builtin(builtin) => Form::Call(builtin, Vec::new()),
            Name::Bool(value) => Form::Bool(value),
            Name::Variable(variable) => Form::Variable(variable),
            Name::Position => Form::Position,
        };
        self.push(leaf, column, column).map(Some)
    }

    /// `same(t)` and `same(tq, tk)`: names, not values. The parenthesis is yet to be taken.
    fn same(&mut self, column: usize) -> Result<NodeId, ExprError> {
        let open = self.column;
        self.advance()?;
        let first = self.table_name()?;
        let mut second = None;
        if self.token == Token::Symbol(",") {
            self.advance()?;
            second = Some(self.table_name()?);
        }
        match self.token {
            Token::Symbol(",") => {
                return Err(ExprError::new(self.column, "`same` takes one table or two"));
            }
            Token::Symbol("[") => {
                return Err(ExprError::new(
                    self.column,
                    "`same` takes the table's name alone, without indices",
                ));
            }
            Token::Symbol(")") => self.advance()?,
            Token::End => return Err(ExprError::new(open, "`(` is never closed")),
            _ => return Err(self.unexpected()),
        }
        self.push(Form::Same(first, second), column, column)
    }

    fn table_name(&mut self) -> Result<Arc<str>, ExprError> {
        let Token::Name(name) = self.token else {
            let signature = Builtin::Same.signature();
            return Err(ExprError::new(self.column, format!("expected the name of a table: `{signature}`")));
        };
        if !names::is_table_name(name) {
            return Err(ExprError::new(
                self.column,
                format!(
                    "`{name}` is a name of the language and no table; `same` takes tables of segment ids"
                ),
            ));
        }
        self.advance()?;
        Ok(Arc::from(name))
    }
}
