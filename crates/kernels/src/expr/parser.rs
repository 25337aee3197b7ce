//! Text into a checked, folded tree.

use std::sync::Arc;

use super::ExprError;
use super::check::{Kind, Typed};
use super::fold::{Folded, fold};
use super::lexer::{Lexer, Token, int_range};
use super::names::{self, Builtin, Name};
use super::tree::{Binary, Form, Node, NodeId, Unary, reachable};

/// Longest text, in bytes.
pub(super) const MAX_TEXT: usize = 64 << 10;
/// Parentheses, calls, indices and unary operators within one another.
const MAX_DEPTH: usize = 200;
/// Names, numbers and operators of a text.
pub(super) const MAX_NODES: usize = 10_000;

/// A tree and what is known of its types; the root is last.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) kinds: Vec<Kind>,
}

/// The tree of `text`.
pub(super) fn parse(text: &str) -> Result<Tree, ExprError> {
    if text.len() > MAX_TEXT {
        return Err(ExprError::new(1, format!("longer than {MAX_TEXT} bytes: {} bytes", text.len())));
    }
    let mut lexer = Lexer::new(text);
    let (token, column) = lexer.token()?;
    if token == Token::End {
        return Err(ExprError::new(1, "the expression is empty"));
    }
    let mut parser = Parser { lexer, token, column, depth: 0, nodes: Vec::new(), kinds: Vec::new() };
    let root = parser.expression(0)?;
    if parser.token != Token::End {
        return Err(parser.unexpected());
    }
    let mut kinds = Vec::new();
    let nodes = reachable(&parser.nodes, root, |id| kinds.push(parser.kinds[id]));
    Ok(Tree { nodes, kinds })
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token to look at, and its column.
    token: Token<'a>,
    column: usize,
    depth: usize,
    nodes: Vec<Node>,
    kinds: Vec<Kind>,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<(), ExprError> {
        (self.token, self.column) = self.lexer.token()?;
        Ok(())
    }

    /// One level deeper; every recursion passes here, so this bounds the stack.
    fn enter(&mut self) -> Result<(), ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExprError::new(self.column, format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    /// Adds a node that was read at `column`, its text beginning at `start`.
    fn push(&mut self, form: Form, column: usize, start: usize) -> Result<NodeId, ExprError> {
        if self.nodes.len() >= MAX_NODES {
            return Err(ExprError::new(
                column,
                format!("more than {MAX_NODES} names, numbers and operators"),
            ));
        }
        let kind = Typed { nodes: &self.nodes, kinds: &self.kinds }.check(&form, column)?;
        let form = match fold(&self.nodes, &self.kinds, &form, column)? {
            Folded::Operand(id) => {
                self.nodes[id].start = start;
                return Ok(id);
            }
            Folded::Constant(constant) => constant,
            Folded::Kept => form,
        };
        self.nodes.push(Node { form, column, start });
        self.kinds.push(kind);
        Ok(self.nodes.len() - 1)
    }

    /// An expression of operators that bind at least as tightly as `level`.
    fn expression(&mut self, level: u8) -> Result<NodeId, ExprError> {
        let mut left = self.unary()?;
        let mut compared = false;
        while let Token::Symbol(symbol) = self.token
            && let Some(op) = Binary::from_symbol(symbol)
            && op.level() >= level
        {
            let column = self.column;
            let comparison = matches!(op, Binary::Compare(_));
            if comparison && compared {
                return Err(ExprError::new(
                    column,
                    "comparisons do not chain: instead of `a < b < c` write `a < b & b < c`",
                ));
            }
            compared = comparison;
            self.advance()?;
            let right = self.expression(op.level() + 1)?;
            let start = self.nodes[left].start;
            left = self.push(Form::Binary(op, left, right), column, start)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<NodeId, ExprError> {
        let op = match self.token {
            Token::Symbol("-") => Unary::Negate,
            Token::Symbol("!") => Unary::Not,
            _ => return self.primary(),
        };
        let column = self.column;
        self.advance()?;
        // A negative number is a number: the least int has no positive counterpart.
        match (op, self.token) {
            (Unary::Negate, Token::Int(value)) => {
                self.advance()?;
                return self.push(Form::Int(-value), column, column);
            }
            (Unary::Negate, Token::Float(value)) => {
                self.advance()?;
                return self.push(Form::Float(-value), column, column);
            }
            _ => {}
        }
        self.enter()?;
        let operand = self.unary()?;
        self.depth -= 1;
        self.push(Form::Unary(op, operand), column, column)
    }

    fn primary(&mut self) -> Result<NodeId, ExprError> {
        let column = self.column;
        match self.token {
            Token::Int(value) => {
                if i32::try_from(value).is_err() {
                    return Err(int_range(column));
                }
                self.advance()?;
                self.push(Form::Int(value), column, column)
            }
            Token::Float(value) => {
                self.advance()?;
                self.push(Form::Float(value), column, column)
            }
            Token::Symbol("(") => {
                self.enter()?;
                self.advance()?;
                let inner = self.expression(0)?;
                self.close(")", column)?;
                self.depth -= 1;
                self.nodes[inner].start = column;
                Ok(inner)
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

    /// Takes the bracket that closes the one at `open`.
    fn close(&mut self, bracket: &'static str, open: usize) -> Result<(), ExprError> {
        if self.token == Token::Symbol(bracket) {
            return self.advance();
        }
        if self.token == Token::End {
            let opened = if bracket == ")" { "(" } else { "[" };
            return Err(ExprError::new(open, format!("`{opened}` is never closed")));
        }
        Err(self.unexpected())
    }

    /// The token stands where an operator or a closing bracket should.
    fn unexpected(&self) -> ExprError {
        let message = match self.token {
            Token::Name(name) => match names::word_hint(name) {
                Some(hint) => format!("`{name}` is not an operator: {hint}"),
                None => format!("expected an operator before `{}`", shortened(name)),
            },
            Token::Int(_) | Token::Float(_) => "expected an operator before this number".into(),
            Token::Symbol(")") => "`)` closes nothing".into(),
            Token::Symbol("]") => "`]` closes nothing".into(),
            Token::Symbol("[") => "only tables are indexed: `name[..]`".into(),
            Token::Symbol("(") => "expected an operator before `(`; only functions are called".into(),
            Token::Symbol(",") => {
                "`,` stands only between the arguments of a function and between indices".into()
            }
            Token::Symbol(symbol) => format!("expected an operator, not `{symbol}`"),
            Token::End => "the expression ends too early".into(),
        };
        ExprError::new(self.column, message)
    }

    /// What begins with a name, already taken, at `column`.
    fn name(&mut self, name: &'a str, column: usize) -> Result<NodeId, ExprError> {
        let error = |message: String| Err(ExprError::new(column, message));
        let called = self.token == Token::Symbol("(");
        let indexed = self.token == Token::Symbol("[");
        let Some(meaning) = names::find(name) else {
            if let Some(hint) = names::word_hint(name) {
                return error(format!("`{name}` is not an operator: {hint}"));
            }
            return if indexed { self.lookup(name, column) } else { error(unknown(name, called)) };
        };
        if indexed {
            return error(format!("`{name}` is a name of the language and no table"));
        }
        let builtin = match meaning {
            Name::Builtin(builtin) => builtin,
            _ if called => return error(format!("`{name}` is a value: it is not called")),
            Name::Bool(value) => return self.push(Form::Bool(value), column, column),
            Name::Variable(variable) => return self.push(Form::Variable(variable), column, column),
            Name::Position => return self.push(Form::Position, column, column),
        };
        if builtin.parameters().is_empty() {
            if called {
                return error(format!("`{name}` takes no arguments: write it without parentheses"));
            }
            return self.push(Form::Call(builtin, Vec::new()), column, column);
        }
        if !called {
            return error(format!("`{name}` takes arguments: `{}`", builtin.signature()));
        }
        if builtin == Builtin::Same {
            return self.same(column);
        }
        let arguments = self.list(")")?;
        let (given, expected) = (arguments.len(), builtin.parameters().len());
        if given != expected {
            return error(format!(
                "`{}` takes {expected} argument{}, {given} {} given",
                builtin.signature(),
                if expected == 1 { "" } else { "s" },
                if given == 1 { "is" } else { "are" },
            ));
        }
        self.push(Form::Call(builtin, arguments), column, column)
    }

    fn lookup(&mut self, name: &str, column: usize) -> Result<NodeId, ExprError> {
        let open = self.column;
        let indices = self.list("]")?;
        if indices.is_empty() {
            return Err(ExprError::new(open, format!("`{name}[..]` takes one index a dimension")));
        }
        self.push(Form::Lookup(Arc::from(name), indices), column, column)
    }

    /// Expressions between commas, from the opening bracket to `bracket`, the closing one.
    fn list(&mut self, bracket: &'static str) -> Result<Vec<NodeId>, ExprError> {
        let open = self.column;
        self.enter()?;
        self.advance()?;
        let mut items = Vec::new();
        if self.token != Token::Symbol(bracket) {
            loop {
                items.push(self.expression(0)?);
                if self.token != Token::Symbol(",") {
                    break;
                }
                self.advance()?;
            }
        }
        self.close(bracket, open)?;
        self.depth -= 1;
        Ok(items)
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
            _ => self.close(")", open)?,
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

fn unknown(name: &str, called: bool) -> String {
    let mut message = format!("unknown name `{}`", shortened(name));
    if let Some(meant) = names::suggestion(name) {
        message += &format!("; did you mean `{meant}`?");
    } else if !called {
        message += &format!("; a table is indexed: `{}[..]`", shortened(name));
    }
    message
}

/// `name`, cut if it is so long that a message drowns in it.
fn shortened(name: &str) -> String {
    const SHOWN: usize = 40;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into(),
    }
}
