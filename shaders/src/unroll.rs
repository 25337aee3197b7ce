//! Unrolling of `for` loops, and the rule that says which.
//!
//! A loop with constant bounds is unrolled if its variable reaches the index of a function-scope array, because only then
//! can the array become scalars, or if its header names a constant that begins with `UNROLL`, because the author asks for
//! it. Every other loop stays a loop: that is how authors keep the size of the code in hand. (A loop of one iteration is
//! always resolved, and one of none dropped: neither adds code.) A `break` or `continue` of its own keeps a loop, unless
//! folding drops it.

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    BinaryOperator, DeclarationKind, Expression, ForStatement, Statement, UnaryOperator,
};

use crate::arithmetic;
use crate::context::{Context, Expansion};
use crate::error::{Error, ErrorKind};
use crate::flow::{Flow, jumps};
use crate::reach::reaches_an_index;
use crate::scope::{Local, Shape};
use crate::tree::{self, Expr, Node, Stmt, each_operand, is_ident, mentions, operation};
use crate::value::{Known, Num};

/// Longest loop that may be unrolled.
const MAX_ITERATIONS: usize = 65_536;

impl Context<'_> {
    pub(crate) fn for_statement(
        &mut self,
        s: &ForStatement,
        span: Span,
        out: &mut Vec<Stmt>,
    ) -> Result<Flow, Error> {
        if self.unroll
            && s.attributes.is_empty()
            && let Some((name, values, demanded)) = self.iterations(s, span)?
        {
            // Whether a `break` is live is known once the body is folded.
            let mut body = Vec::new();
            let flow = self.unrolled(s, span, &name, &values, demanded, &mut body)?;
            if !jumps(&body, true, true) {
                out.append(&mut body);
                return Ok(flow);
            }
        }
        let rolled = self.rolled(s)?;
        self.push_loop(rolled, span, out)
    }

    fn unrolled(
        &mut self,
        s: &ForStatement,
        span: Span,
        name: &str,
        values: &[Num],
        demanded: bool,
        out: &mut Vec<Stmt>,
    ) -> Result<Flow, Error> {
        let outer = self.suffix.len();
        if demanded {
            self.expansions.push(Expansion { file: self.file, span, what: "unrolling this loop" });
        }
        let mut flow = Flow::Continues;
        for num in values {
            self.count_expanded()?;
            if demanded {
                self.suffix.push_str(&match num.as_i64() {
                    Some(v) if v < 0 => format!("_n{}", v.unsigned_abs()),
                    Some(v) => format!("_{v}"),
                    None => "_".to_owned(),
                });
            }
            let mark = self.scope.enter();
            let known = Some(Known { num: *num, constant: false });
            let ident = wgsl_parse::syntax::Ident::new(name.to_owned());
            self.scope.declare(name, Local { known, ..Local::new(ident, Shape::Int) });
            flow = self.content(&s.body, out)?;
            self.scope.leave(mark);
            self.suffix.truncate(outer);
            if flow == Flow::Ends {
                break;
            }
        }
        if demanded {
            self.expansions.pop();
        }
        Ok(flow)
    }

    /// The loop variable, its value in each iteration, and whether the rule demands unrolling; `None` if the loop is to
    /// stay.
    fn iterations(
        &mut self,
        s: &ForStatement,
        span: Span,
    ) -> Result<Option<(String, Vec<Num>, bool)>, Error> {
        let (Some(init), Some(condition), Some(update)) = (&s.initializer, &s.condition, &s.update) else {
            return Ok(None);
        };
        let Statement::Declaration(d) = init.node() else { return Ok(None) };
        let (DeclarationKind::Var(_), Some(start)) = (d.kind, &d.initializer) else { return Ok(None) };
        let name = d.ident.to_string();
        let Some(start) = self.expr(start)?.1.filter(|k| k.num.is_int()) else { return Ok(None) };
        let Some(start) = self.declared_value(Some(start), d.ty.as_ref(), init.span())? else {
            return Ok(None);
        };
        let mut num = start.num.concrete().map_err(|m| self.constant_error(span, &m))?;
        if assigns(&s.body.statements, &name) {
            return Ok(None);
        }
        let demanded = self.is_demanded(s, &name);
        let several = demanded && !jumps(&s.body.statements, true, true);

        let mut values = Vec::new();
        loop {
            let mark = self.scope.enter();
            let known = Known { num, constant: false };
            let local = Local { known: Some(known), ..Local::new(d.ident.clone(), Shape::Int) };
            self.scope.declare(&name, local);
            let goes_on = self.expr(condition)?.1.and_then(|k| k.num.as_bool());
            let next = self.step(update, &name, known)?;
            self.scope.leave(mark);
            match goes_on {
                None => return Ok(None),
                Some(false) => return Ok(Some((name, values, demanded))),
                Some(true) => values.push(num),
            }
            if !several && values.len() > 1 {
                return Ok(None);
            }
            if values.len() > MAX_ITERATIONS {
                let message =
                    format!("this loop is to be unrolled, but has more than {MAX_ITERATIONS} iterations");
                return Err(self.error(ErrorKind::Limit, span, message));
            }
            let Some(next) = next else { return Ok(None) };
            num = next;
        }
    }

    /// The loop variable's value after the update statement.
    fn step(&mut self, update: &Stmt, name: &str, known: Known) -> Result<Option<Num>, Error> {
        let one = Known { num: Num::Int(1), constant: false };
        let (op, by) = match update.node() {
            Statement::Increment(s) if is_ident(&s.expression, name) => (BinaryOperator::Addition, one),
            Statement::Decrement(s) if is_ident(&s.expression, name) => (BinaryOperator::Subtraction, one),
            Statement::Assignment(s) if is_ident(&s.lhs, name) => {
                let Some(by) = self.expr(&s.rhs)?.1 else { return Ok(None) };
                let Some(op) = operation(s.operator) else {
                    let ty = known.num.type_name();
                    return by.num.convert(ty).map_err(|m| self.constant_error(update.span(), &m));
                };
                (op, by)
            }
            _ => return Ok(None),
        };
        let next = arithmetic::binary(op, known, by).map_err(|m| self.constant_error(update.span(), &m))?;
        Ok(next.map(|next| next.num))
    }

    /// Whether the rule demands that a loop over `name` be unrolled. The answer depends on the source alone, so it is
    /// found once even for a loop within an unrolled one.
    fn is_demanded(&mut self, s: &ForStatement, name: &str) -> bool {
        let key = std::ptr::from_ref(s).addr();
        if let Some(demanded) = self.demands.get(&key) {
            return *demanded;
        }
        let mut is_unroll = |name: &str| name.starts_with("UNROLL") && self.linked.items.contains_key(name);
        let start = match s.initializer.as_ref().map(wgsl_parse::span::Spanned::node) {
            Some(Statement::Declaration(d)) => d.initializer.as_ref(),
            _ => None,
        };
        let asked = [start, s.condition.as_ref()].into_iter().flatten().any(|e| mentions(e, &mut is_unroll));
        let demanded = asked || reaches_an_index(self, name, &s.body.statements);
        self.demands.insert(key, demanded);
        demanded
    }
}

/// Whether statements change the variable `name`, or could through a pointer. Names declared anew within them only make
/// the answer more careful than it need be.
fn assigns(body: &[Stmt], name: &str) -> bool {
    let mut found = false;
    tree::walk(body, &mut |node| match node {
        Node::Statement(s) => match s.node() {
            Statement::Assignment(s) => found |= mentions_root(&s.lhs, name),
            Statement::Increment(s) => found |= mentions_root(&s.expression, name),
            Statement::Decrement(s) => found |= mentions_root(&s.expression, name),
            _ => {}
        },
        Node::Expr(e) => found |= takes_address(e, name),
        _ => {}
    });
    found
}

/// Whether an assignment's target is the variable `name` or a part of it.
fn mentions_root(target: &Expr, name: &str) -> bool {
    match target.node() {
        Expression::Parenthesized(p) => mentions_root(&p.expression, name),
        Expression::NamedComponent(c) => mentions_root(&c.base, name),
        Expression::Indexing(i) => mentions_root(&i.base, name),
        _ => is_ident(target, name),
    }
}

fn takes_address(e: &Expr, name: &str) -> bool {
    let mut found = matches!(e.node(), Expression::Unary(u)
        if u.operator == UnaryOperator::AddressOf && mentions_root(&u.operand, name));
    each_operand(e, &mut |operand| found = found || takes_address(operand, name));
    found
}
