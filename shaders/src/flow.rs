//! How control leaves statements, and where their declarations go.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{CompoundStatement, Function, Statement};

use crate::tree::{self, Node, Stmt};

/// Where a statement's declarations go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into a block of their own, as in the source.
    Block,
    /// Into the block around it, because the block they stood in is taken away: their names must be new there.
    Around,
}

/// Whether control can pass the end of some statements. Statements after an end are dead, and are dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Continues,
    Ends,
}

/// Whether statements contain a `break` out of the `switch` they are in.
pub(crate) fn has_break(body: &[Stmt]) -> bool {
    jumps(body, true, false)
}

/// Whether statements contain a `break` or `continue` of the loop or switch around them.
pub(crate) fn jumps(body: &[Stmt], on_break: bool, on_continue: bool) -> bool {
    let block = |b: &CompoundStatement| jumps(&b.statements, on_break, on_continue);
    body.iter().any(|statement| match statement.node() {
        Statement::Break(_) => on_break,
        Statement::Continue(_) => on_continue,
        Statement::Compound(b) => block(b),
        Statement::If(s) => {
            block(&s.if_clause.body)
                || s.else_if_clauses.iter().any(|clause| block(&clause.body))
                || s.else_clause.as_ref().is_some_and(|clause| block(&clause.body))
        }
        Statement::Switch(s) => {
            s.clauses.iter().any(|clause| jumps(&clause.body.statements, false, on_continue))
        }
        _ => false,
    })
}

/// The place of the first `return` in some statements.
pub(crate) fn first_return(statements: &[Stmt]) -> Option<Span> {
    let mut first = None;
    tree::walk(statements, &mut |node| {
        if let Node::Statement(s) = node
            && matches!(s.node(), Statement::Return(_))
        {
            first.get_or_insert(s.span());
        }
    });
    first
}

/// Whether a function returns nowhere but as its last statement.
pub(crate) fn returns_at_the_end(function: &Function) -> bool {
    match function.body.statements.as_slice() {
        [before @ .., last] if matches!(last.node(), Statement::Return(_)) => first_return(before).is_none(),
        all => first_return(all).is_none(),
    }
}
