//! Expressions that are well-formed and probably not meant.

use crate::expr::{
    Expr, ExprError, Variable,
    syntax::{
        names::Builtin,
        tree::{Binary, Form, Node, NodeId, Unary},
    },
};

impl Expr {
    /// Parts that are probably not meant, each with its column: sums in which both sides are the score and more
    /// (`softcap(30.0) + alibi` adds `s` twice).
    #[must_use]
    pub fn notes(&self) -> Vec<ExprError> {
        let nodes = self.nodes();
        let mut slopes: Vec<Option<f64>> = Vec::with_capacity(nodes.len());
        let mut notes = Vec::new();
        for node in nodes {
            slopes.push(slope(nodes, &slopes, node));
            let Form::Binary(Binary::Add, a, b) = node.form else { continue };
            let whole = |id: NodeId| slopes[id].is_some_and(|slope| slope > 1.0 - 1e-6);
            if whole(a) && whole(b) {
                let message = "both sides of this sum are `s` and more, so that `s` is added twice; what changes the score \
                               is applied one after the other: `alibi(softcap(s, 30.0))`";
                notes.push(ExprError::new(node.column, message).with_text(self.source()));
            }
        }
        notes
    }
}

/// How much a value changes with the score where the score is near 0, as far as that is known.
fn slope(nodes: &[Node], slopes: &[Option<f64>], node: &Node) -> Option<f64> {
    let of = |id: NodeId| slopes[id];
    let number = |id: NodeId| match nodes[id].form {
        #[expect(clippy::cast_precision_loss, reason = "ints of a text are within 32 bits")]
        Form::Int(value) => Some(value as f64),
        Form::Float(value) => Some(value),
        _ => None,
    };
    let none = |ids: &[NodeId]| ids.iter().all(|&id| of(id) == Some(0.0)).then_some(0.0);
    match &node.form {
        Form::Variable(Variable::Score) => Some(1.0),
        Form::Bool(_) | Form::Int(_) | Form::Float(_) | Form::Variable(_) | Form::Position => Some(0.0),
        Form::Same(..) | Form::Lookup(..) => Some(0.0),
        Form::Unary(Unary::Negate, a) => of(*a).map(|slope| -slope),
        Form::Unary(Unary::Not, a) => none(&[*a]),
        Form::Binary(Binary::Add, a, b) => Some(of(*a)? + of(*b)?),
        Form::Binary(Binary::Subtract, a, b) => Some(of(*a)? - of(*b)?),
        Form::Binary(Binary::Multiply, a, b) => match (number(*a), number(*b)) {
            (_, Some(factor)) => Some(of(*a)? * factor),
            (Some(factor), None) => Some(of(*b)? * factor),
            (None, None) => none(&[*a, *b]),
        },
        Form::Binary(Binary::Divide, a, b) => match number(*b) {
            Some(divisor) => Some(of(*a)? / divisor),
            None => none(&[*a, *b]),
        },
        Form::Binary(_, a, b) => none(&[*a, *b]),
        Form::Call(builtin, arguments) if builtin.of_score(arguments.len()) => Some(1.0),
        Form::Call(Builtin::Softcap | Builtin::Alibi | Builtin::Tanh, arguments) => of(*arguments.first()?),
        // Where one operand is of the score, it is it that is chosen near 0, or bounded.
        Form::Call(Builtin::Min | Builtin::Max | Builtin::Clamp, arguments) => {
            let mut moving = arguments.iter().map(|&id| of(id)).filter(|slope| *slope != Some(0.0));
            match (moving.next(), moving.next()) {
                (None, _) => Some(0.0),
                (Some(slope), None) => slope,
                _ => None,
            }
        }
        Form::Call(_, arguments) => none(arguments),
    }
}
