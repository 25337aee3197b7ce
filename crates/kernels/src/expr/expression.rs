//! [`Expr`]: a parsed, checked expression.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::{ExprError, Variable};
use crate::expr::syntax::{
    check::Kind,
    names::Builtin,
    parser::{MAX_TEXT, Tree, parse},
    print::print,
    tree::{Form, Node},
};

/// The use of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExprKind {
    /// Which pairs of a query and a key are seen: a bool, without `s`.
    Mask,
    /// The score of a pair, from the scaled score `s`: a number.
    Score,
}

/// A mask that kernels know by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Structural {
    /// `true`: every pair is seen.
    All,
    /// `causal`: `k <= q + nk - nq`.
    Causal,
    /// `causal_top_left`: `k <= q`.
    CausalTopLeft,
}

/// A mask or a score, parsed and checked as far as that is possible without its tables; [`Expr::bind`] does the rest.
///
/// Values are bools, ints and floats; an int beside a float becomes one. Operators, weakest first, all but comparisons
/// associating to the left:
///
/// | | |
/// |---|---|
/// | `\|` | or |
/// | `&` | and |
/// | `==` `!=` `<` `<=` `>` `>=` | comparisons; they do not chain |
/// | `+` `-` | |
/// | `*` `/` `%` | on ints `/` and `%` round down |
/// | `!` `-` | before an operand |
///
/// | name | value |
/// |---|---|
/// | `b` `h` `g` `q` `k` `nq` `nk` | batch entry, query head, kv head, query and key index, numbers of queries and keys |
/// | `qp` | `q + nk - nq`, the query's position among the keys |
/// | `s` | the scaled score (scores only) |
/// | `name[i, j]` | element of a table, one int index a dimension |
/// | `abs(x)` `min(x, y)` `max(x, y)` `clamp(x, low, high)` | of the type of their arguments |
/// | `floor(x)` | an int |
/// | `sqrt(x)` `exp(x)` `log(x)` `tanh(x)` | floats |
/// | `causal` `causal_top_left` | `k <= qp`, `k <= q` |
/// | `window(l, r)` | `qp - l <= k & k <= qp + r` |
/// | `sinks(n)` `prefix(n)` | `k < n` |
/// | `blocks(n)` `shifted_blocks(n, o)` | `q / n == k / n`, `(q + o) / n == (k + o) / n` |
/// | `dilated(r)` `strided(n, r)` | `(qp - k) % r == 0`, `k / n % r == 0` |
/// | `same(t)` `same(tq, tk)` | equal segment ids: `t[qp] == t[k]`, `tq[q] == tk[k]`; in tables of two dimensions `b` first |
/// | `disc(w, r)` `local(w, rx, ry)` | on a raster of width w: `dx*dx + dy*dy < r*r`, `abs(dx) <= rx & abs(dy) <= ry` |
/// | `window2d(w, m, o)` | on a raster of width w: in the same m x m window, both coordinates shifted by o |
/// | `softcap(x, c)`, `softcap(c)` | `c * tanh(x / c)`; of `s` (scores only) |
/// | `alibi(x)`, `alibi` | `x - slope(h) * abs(qp - k)`; of `s` (scores only) |
/// | `slope(h)` | `ALiBi`'s slope of a head |
///
/// Cheap to clone. Two are equal if they are the same tree, up to spaces and parentheses; constant parts are computed
/// (`window(2 * 8 - 1, 0)` equals `window(15, 0)`).
///
/// Its [`Display`](fmt::Display) is canonical, and parses to an equal expression.
///
/// ```
/// use foveal_kernels::expr::Expr;
///
/// let mask = Expr::parse_mask("(causal) & (window(255,0)|sinks(4))")?;
/// assert_eq!(mask.to_string(), "causal & (window(255, 0) | sinks(4))");
///
/// let error = Expr::parse_mask("q - k < 3 & windw(8, 0)").unwrap_err();
/// assert_eq!(error.to_string(), "column 13: unknown name `windw`; did you mean `window`?");
/// assert_eq!(error.excerpt(), "q - k < 3 & windw(8, 0)\n            ^");
/// # Ok::<(), foveal_kernels::expr::ExprError>(())
/// ```
#[derive(Clone)]
pub struct Expr {
    inner: Arc<Inner>,
}

struct Inner {
    tree: Tree,
    /// The canonical text: it says all that the tree does, so comparisons and hashes take it.
    text: String,
    source: String,
}

impl Expr {
    /// The expression of `text`, of either kind.
    ///
    /// # Errors
    ///
    /// The error and its column: grammar, an unknown name, types, arguments that make no sense, a division by a
    /// constant zero; a text (as it is, or canonical) of more than 64 KiB, more than 10,000 names, numbers and operators,
    /// or more than 200 brackets and unary operators within one another.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let expression = || {
            let tree = parse(text)?;
            let canonical = print(&tree.nodes, tree.nodes.len() - 1);
            if canonical.len() > MAX_TEXT {
                return Err(ExprError::new(
                    1,
                    format!("longer than {MAX_TEXT} bytes with a space around each operator"),
                ));
            }
            Ok(Self { inner: Arc::new(Inner { tree, text: canonical, source: text.into() }) })
        };
        expression().map_err(|error: ExprError| error.with_text(text))
    }

    /// The mask of `text`: a bool that does not depend on the score.
    ///
    /// # Errors
    ///
    /// Those of [`Expr::parse`] and [`Expr::check`].
    pub fn parse_mask(text: &str) -> Result<Self, ExprError> {
        let expression = Self::parse(text)?;
        expression.check(ExprKind::Mask)?;
        Ok(expression)
    }

    /// The score of `text`: a number, usually of `s`; an int becomes a float when it is bound.
    ///
    /// # Errors
    ///
    /// Those of [`Expr::parse`] and [`Expr::check`].
    pub fn parse_score(text: &str) -> Result<Self, ExprError> {
        let expression = Self::parse(text)?;
        expression.check(ExprKind::Score)?;
        Ok(expression)
    }

    /// Whether it can serve as `kind`.
    ///
    /// # Errors
    ///
    /// If a mask is no bool or reads the score (`s`, `softcap`, `alibi`), or a score is no number.
    pub fn check(&self, kind: ExprKind) -> Result<(), ExprError> {
        let error = |column, message: String| Err(ExprError::new(column, message).with_text(self.source()));
        let (Some(root), Some(found)) = (self.nodes().last(), self.inner.tree.kinds.last()) else {
            return Ok(());
        };
        match (kind, *found == Kind::Bool) {
            (ExprKind::Score, false) => return Ok(()),
            (ExprKind::Score, true) => {
                return error(
                    root.start,
                    "a score is a number, this is a bool: masks are given apart".into(),
                );
            }
            (ExprKind::Mask, true) => {}
            (ExprKind::Mask, false) => {
                let message = match &root.form {
                    Form::Lookup(name, _) => {
                        format!("a mask is a bool, this is a number: write `{name}[..] != 0`")
                    }
                    _ => "a mask is a bool, this is a number: compare it with something".into(),
                };
                return error(root.start, message);
            }
        }
        for node in self.nodes() {
            let name = match node.form {
                Form::Variable(Variable::Score) => "s",
                Form::Call(builtin, ref arguments) if builtin.of_score(arguments.len()) => builtin.name(),
                _ => continue,
            };
            return error(node.column, format!("`{name}` is of scores: a mask does not depend on the score"));
        }
        Ok(())
    }

    /// Whether its value is a bool, so that it can be a mask.
    #[must_use]
    pub fn is_bool(&self) -> bool {
        self.inner.tree.kinds.last() == Some(&Kind::Bool)
    }

    /// The text that it was parsed from, which columns count in; the canonical one if it was built without a text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// The tables that it names, in the order of their first use, each once.
    #[must_use]
    pub fn table_names(&self) -> Vec<&str> {
        let mut uses: Vec<(usize, &str)> = Vec::new();
        for node in self.nodes() {
            match &node.form {
                Form::Lookup(name, _) => uses.push((node.column, name)),
                Form::Same(first, second) => {
                    uses.push((node.column, first));
                    uses.extend(second.as_deref().map(|second| (node.column, second)));
                }
                _ => {}
            }
        }
        // An index comes before its look-up in the tree, but after it in the text.
        uses.sort_by_key(|(column, _)| *column);
        let mut seen = std::collections::HashSet::new();
        uses.into_iter().map(|(_, name)| name).filter(|name| seen.insert(*name)).collect()
    }

    /// Whether its value may depend on `variable`, directly or through a builtin: `causal` uses the query, the key and
    /// both counts. `same(t)` counts as using the batch entry, which it does for tables of rank 2.
    #[must_use]
    pub fn uses(&self, variable: Variable) -> bool {
        use Variable::{KeyCount, Query, QueryCount};
        self.nodes().iter().any(|node| match &node.form {
            Form::Variable(used) => *used == variable,
            Form::Position => matches!(variable, Query | QueryCount | KeyCount),
            Form::Same(..) => Builtin::Same.reads(1).contains(&variable),
            Form::Call(builtin, arguments) => builtin.reads(arguments.len()).contains(&variable),
            _ => false,
        })
    }

    /// The mask that the whole expression is, if kernels know it by name.
    #[must_use]
    pub fn structural(&self) -> Option<Structural> {
        match self.nodes() {
            [Node { form: Form::Bool(true), .. }] => Some(Structural::All),
            [Node { form: Form::Call(Builtin::Causal, _), .. }] => Some(Structural::Causal),
            [Node { form: Form::Call(Builtin::CausalTopLeft, _), .. }] => Some(Structural::CausalTopLeft),
            _ => None,
        }
    }

    /// The nodes, the root last.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.inner.tree.nodes
    }
}

impl FromStr for Expr {
    type Err = ExprError;

    fn from_str(text: &str) -> Result<Self, ExprError> {
        Self::parse(text)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.text)
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({self})")
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.inner.text == other.inner.text
    }
}

impl Eq for Expr {}

impl Hash for Expr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.text.hash(state);
    }
}
