//! Text into a checked, folded tree.

mod operands;

use std::sync::Arc;

use super::{
    check::{Kind, Typed},
    fold::{Folded, fold},
    lexer::{Lexer, Token},
    names::{self, Builtin},
    tree::{Binary, Form, Node, NodeId, Unary, reachable},
};
use crate::expr::ExprError;

/// Longest text, in bytes.
pub(crate) const MAX_TEXT: usize = 64 << 10;
/// Parentheses, calls, indices and unary operators within one another.
const MAX_DEPTH: usize = 200;
/// Names, numbers and operators of a text.
pub(crate) const MAX_NODES: usize = 10_000;

/// A tree and what is known of its types; the root is last.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) kinds: Vec<Kind>,
}

/// The tree of `text`.
pub(crate) fn parse(text: &str) -> Result<Tree, ExprError> {
    if text.len() > MAX_TEXT {
        return Err(ExprError::new(1, format!("longer than {MAX_TEXT} bytes: {} bytes", text.len())));
    }
    let mut lexer = Lexer::new(text);
    let (token, column) = lexer.token()?;
    if token == Token::End {
        return Err(ExprError::new(1, "the expression is empty"));
    }
    let mut parser =
        Parser { lexer, token, column, depth: 0, pending: Vec::new(), nodes: Vec::new(), kinds: Vec::new() };
    let root = parser.expression()?;
    let mut kinds = Vec::new();
    let nodes = reachable(&parser.nodes, root, |id| kinds.push(parser.kinds[id]));
    Ok(Tree { nodes, kinds })
}

/// Operators that wait for an operand. A stack of our own: the machine's may be small (a browser's, a worker's).
enum Pending {
    Prefix(Unary, usize),
    /// An operator, its column and its left operand.
    Infix(Binary, usize, NodeId),
    Open(Bracket),
}

/// An open bracket.
struct Bracket {
    of: Of,
    /// Where the bracket is, and where what it belongs to begins.
    column: usize,
    start: usize,
    /// The operands between commas so far.
    items: Vec<NodeId>,
}

enum Of {
    Group,
    Call(Builtin),
    Lookup(Arc<str>),
}

impl Of {
    fn closing(&self) -> &'static str {
        if matches!(self, Self::Lookup(_)) { "]" } else { ")" }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token to look at, and its column.
    token: Token<'a>,
    column: usize,
    pending: Vec<Pending>,
    /// How many of those are brackets and prefixes.
    depth: usize,
    nodes: Vec<Node>,
    kinds: Vec<Kind>,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<(), ExprError> {
        (self.token, self.column) = self.lexer.token()?;
        Ok(())
    }

    /// Begins a bracket or a prefix at `column`.
    fn enter(&mut self, pending: Pending, column: usize) -> Result<(), ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExprError::new(column, format!("nested deeper than {MAX_DEPTH}")));
        }
        self.pending.push(pending);
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

    /// The whole text: operands and what follows them in turn (Dijkstra's shunting yard).
    fn expression(&mut self) -> Result<NodeId, ExprError> {
        loop {
            let Some(mut value) = self.operand()? else { continue };
            loop {
                value = self.prefixed(value)?;
                match self.token {
                    Token::Symbol(symbol) if let Some(op) = Binary::from_symbol(symbol) => {
                        value = self.reduce(value, Some(op))?;
                        self.pending.push(Pending::Infix(op, self.column, value));
                        self.advance()?;
                        break;
                    }
                    Token::Symbol(",") => {
                        value = self.reduce(value, None)?;
                        match self.pending.last_mut() {
                            Some(Pending::Open(bracket)) if !matches!(bracket.of, Of::Group) => {
                                bracket.items.push(value);
                            }
                            _ => return Err(self.unexpected()),
                        }
                        self.advance()?;
                        break;
                    }
                    Token::Symbol(")" | "]") => {
                        value = self.reduce(value, None)?;
                        value = self.close(Some(value))?;
                    }
                    Token::End => {
                        value = self.reduce(value, None)?;
                        let Some(Pending::Open(bracket)) = self.pending.last() else { return Ok(value) };
                        let opening = if bracket.of.closing() == ")" { "(" } else { "[" };
                        return Err(ExprError::new(bracket.column, format!("`{opening}` is never closed")));
                    }
                    _ => return Err(self.unexpected()),
                }
            }
        }
    }

    /// `value` under the prefixes that stand before it: they bind tighter than what may follow.
    fn prefixed(&mut self, mut value: NodeId) -> Result<NodeId, ExprError> {
        while let Some(&Pending::Prefix(op, column)) = self.pending.last() {
            self.pending.pop();
            self.depth -= 1;
            value = self.push(Form::Unary(op, value), column, column)?;
        }
        Ok(value)
    }

    /// `value` as the right operand of every operator that waits for it and binds at least as tightly as `next`.
    fn reduce(&mut self, mut value: NodeId, next: Option<Binary>) -> Result<NodeId, ExprError> {
        while let Some(&Pending::Infix(op, column, left)) = self.pending.last() {
            if next.is_some_and(|next| op.level() < next.level()) {
                break;
            }
            if let (Binary::Compare(_), Some(Binary::Compare(_))) = (op, next) {
                return Err(ExprError::new(
                    self.column,
                    "comparisons do not chain: instead of `a < b < c` write `a < b & b < c`",
                ));
            }
            self.pending.pop();
            let start = self.nodes[left].start;
            value = self.push(Form::Binary(op, left, value), column, start)?;
        }
        Ok(value)
    }

    /// Takes the token, a bracket that closes the one that is open; `value` is what stands before it, if anything.
    fn close(&mut self, value: Option<NodeId>) -> Result<NodeId, ExprError> {
        let Some(Pending::Open(bracket)) = self.pending.pop() else { return Err(self.unexpected()) };
        let closing = bracket.of.closing();
        if self.token != Token::Symbol(closing) {
            let message = format!("the bracket at column {} is closed by `{closing}`", bracket.column);
            return Err(ExprError::new(self.column, message));
        }
        self.advance()?;
        self.depth -= 1;
        let Bracket { of, column, start, mut items } = bracket;
        items.extend(value);
        match of {
            Of::Group => {
                let Some(inner) = value else { return Err(ExprError::new(column, "nothing stands in `()`")) };
                self.nodes[inner].start = start;
                Ok(inner)
            }
            Of::Lookup(name) if items.is_empty() => {
                Err(ExprError::new(column, format!("`{name}[..]` takes one index a dimension")))
            }
            Of::Lookup(name) => self.push(Form::Lookup(name, items), start, start),
            Of::Call(builtin) => {
                let (given, expected) = (items.len(), builtin.parameters().len());
                if given > 0 && builtin.takes(given) {
                    return self.push(Form::Call(builtin, items), start, start);
                }
                if given == 0 && builtin.takes(0) {
                    return Err(ExprError::new(
                        start,
                        format!(
                            "`{}` takes no empty parentheses: write it without parentheses",
                            builtin.name()
                        ),
                    ));
                }
                let expected = match (builtin, expected) {
                    (Builtin::Softcap, _) => "1 or 2 arguments".into(),
                    (Builtin::Alibi, _) => "no argument or 1".into(),
                    (_, 1) => "1 argument".into(),
                    (_, count) => format!("{count} arguments"),
                };
                let message = format!(
                    "`{}` takes {expected}, {given} {} given",
                    builtin.signature(),
                    if given == 1 { "is" } else { "are" },
                );
                Err(ExprError::new(start, message))
            }
        }
    }

    /// Takes the opening bracket of what begins at `start`; its value, if it closes at once.
    fn open(&mut self, of: Of, start: usize) -> Result<Option<NodeId>, ExprError> {
        let column = self.column;
        let closing = Token::Symbol(of.closing());
        self.enter(Pending::Open(Bracket { of, column, start, items: Vec::new() }), column)?;
        self.advance()?;
        if self.token == closing { self.close(None).map(Some) } else { Ok(None) }
    }

    /// The token stands where an operator or a closing bracket should.
    fn unexpected(&self) -> ExprError {
        let message = match self.token {
            Token::Name(name) => match names::word_hint(name) {
                Some(hint) => format!("`{name}` is not an operator: {hint}"),
                None => format!("expected an operator before `{}`", names::shortened(name)),
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
}
