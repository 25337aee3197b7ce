//! A tree as its canonical text: no parenthesis that is not needed, one space around binary operators.

use super::{
    names::variable_name,
    tree::{Binary, Form, Node, NodeId, UNARY_LEVEL, Unary},
};

enum Piece {
    /// A node, in parentheses unless it binds at least this tightly.
    Node(NodeId, u8),
    Text(&'static str),
    Operator(Binary),
}

/// The text of the tree beneath `root`.
pub(crate) fn print(nodes: &[Node], root: NodeId) -> String {
    use Piece::{Operator, Text};
    let mut text = String::new();
    // Pieces still to be written, the next last: a stack of our own, since trees may be thousands deep.
    let mut rest = vec![Piece::Node(root, 0)];
    while let Some(piece) = rest.pop() {
        let (id, level) = match piece {
            Text(piece) => {
                text.push_str(piece);
                continue;
            }
            Operator(op) => {
                text.push(' ');
                text.push_str(op.symbol());
                text.push(' ');
                continue;
            }
            Piece::Node(id, level) => (id, level),
        };
        let form = &nodes[id].form;
        if form.level() < level {
            text.push('(');
            rest.push(Text(")"));
        }
        match form {
            Form::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Form::Int(value) => text.push_str(&value.to_string()),
            // Shortest that reads back as the same, and never as an int.
            Form::Float(value) => text.push_str(&format!("{value:?}")),
            Form::Variable(variable) => text.push_str(variable_name(*variable)),
            Form::Position => text.push_str("qp"),
            Form::Unary(op, operand) => {
                text.push(match op {
                    Unary::Not => '!',
                    Unary::Negate => '-',
                });
                rest.push(Piece::Node(*operand, UNARY_LEVEL));
            }
            Form::Binary(op, a, b) => {
                let own = op.level();
                // Operators associate to the left, comparisons not at all.
                let left = own + u8::from(matches!(op, Binary::Compare(_)));
                rest.push(Piece::Node(*b, own + 1));
                rest.push(Operator(*op));
                rest.push(Piece::Node(*a, left));
            }
            Form::Call(builtin, arguments) => {
                text.push_str(builtin.name());
                if !arguments.is_empty() {
                    text.push('(');
                    rest.push(Text(")"));
                    list(arguments, &mut rest);
                }
            }
            Form::Same(first, second) => {
                text.push_str("same(");
                text.push_str(first);
                if let Some(second) = second {
                    text.push_str(", ");
                    text.push_str(second);
                }
                text.push(')');
            }
            Form::Lookup(name, indices) => {
                text.push_str(name);
                text.push('[');
                rest.push(Text("]"));
                list(indices, &mut rest);
            }
        }
    }
    text
}

fn list(items: &[NodeId], rest: &mut Vec<Piece>) {
    for (i, &item) in items.iter().enumerate().rev() {
        rest.push(Piece::Node(item, 0));
        if i > 0 {
            rest.push(Piece::Text(", "));
        }
    }
}
