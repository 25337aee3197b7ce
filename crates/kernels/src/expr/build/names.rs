//! The names of the language as functions: tables, built-in functions and variables.

use std::sync::Arc;

use super::Build;
use crate::expr::syntax::{
    names::{Builtin, is_table_name},
    tree::Form,
};

/// The table called `name`, to be indexed with [`TableName::at`].
pub fn table(name: &str) -> TableName {
    TableName(name.into())
}

/// A table's name.
#[derive(Clone, Debug)]
pub struct TableName(Arc<str>);

impl TableName {
    /// Its element at these int indices, one a dimension, outermost first.
    #[must_use]
    pub fn at<I: Into<Build>>(self, indices: impl IntoIterator<Item = I>) -> Build {
        let checked = checked_name(&self.0);
        let indices: Vec<Build> = indices.into_iter().map(Into::into).collect();
        match checked {
            Err(failed) => failed,
            Ok(_) if indices.is_empty() => {
                Build::failed(format!("`{}[..]` takes one index a dimension", self.0))
            }
            Ok(name) => Build::joined(indices, |ids| Form::Lookup(name, ids)),
        }
    }
}

/// `same(t)`: query and key have equal segment ids in the int table `t`, `[Tk]` or `[B, Tk]`.
pub fn same(t: &str) -> Build {
    match checked_name(t) {
        Ok(t) => Build::leaf(Form::Same(t, None)),
        Err(failed) => failed,
    }
}

/// `same(tq, tk)`: the query's segment id in `tq`, `[Tq]` or `[B, Tq]`, equals the key's in `tk`, `[Tk]` or `[B, Tk]`.
pub fn same_pair(tq: &str, tk: &str) -> Build {
    match (checked_name(tq), checked_name(tk)) {
        (Ok(tq), Ok(tk)) => Build::leaf(Form::Same(tq, Some(tk))),
        (Err(failed), _) | (_, Err(failed)) => failed,
    }
}

/// A name that text could write, too: anything else would be text of another meaning.
fn checked_name(name: &str) -> Result<Arc<str>, Build> {
    if is_table_name(name) {
        Ok(name.into())
    } else {
        Err(Build::failed(format!("`{name}` can't be the name of a table")))
    }
}

macro_rules! builtins {
    ($($(#[$doc:meta])* $name:ident($($parameter:ident),*) $builtin:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name($($parameter: impl Into<Build>),*) -> Build {
            Build::call(Builtin::$builtin, [$($parameter.into()),*])
        }
    )*};
}

builtins! {
    /// `k <= qp`: no key after the query, the last query aligned with the last key.
    causal() Causal;
    /// `k <= q`: no key after the query, the first query aligned with the first key.
    causal_top_left() CausalTopLeft;
    /// `qp - l <= k & k <= qp + r`.
    window(l, r) Window;
    /// `k < n`, n at least 0.
    sinks(n) Sinks;
    /// `k < n`, n at least 0.
    prefix(n) Prefix;
    /// `q / n == k / n`, n at least 1.
    blocks(n) Blocks;
    /// `(q + o) / n == (k + o) / n`, n at least 1.
    shifted_blocks(n, o) ShiftedBlocks;
    /// `(qp - k) % r == 0`, r at least 1.
    dilated(r) Dilated;
    /// `k / n % r == 0`, both at least 1.
    strided(n, r) Strided;
    /// `dx * dx + dy * dy < r * r` on a raster of width `w`, at least 1.
    disc(w, r) Disc;
    /// `abs(dx) <= rx & abs(dy) <= ry` on a raster of width `w`, at least 1.
    local(w, rx, ry) Local;
    /// The same `m` x `m` window of a raster of width `w`, both coordinates shifted by `o`.
    window2d(w, m, o) Window2d;
    /// `c * tanh(s / c)`, c above 0.
    softcap(c) Softcap;
    /// `s - slope(h) * abs(qp - k)`. Press et al. 2022, section 3.
    alibi() Alibi;
    /// `ALiBi`'s slope of head `h`.
    slope(h) Slope;
}

/// Variables of expressions: the element at hand and the problem's sizes.
pub mod var {
    use super::{Build, Form};
    use crate::expr::Variable;

    macro_rules! variables {
        ($($(#[$doc:meta])* $name:ident $variable:ident;)*) => {$(
            $(#[$doc])*
            pub fn $name() -> Build {
                Build::leaf(Form::Variable(Variable::$variable))
            }
        )*};
    }

    variables! {
        /// Batch entry.
        b Batch;
        /// Query head.
        h Head;
        /// Key/value head.
        g KvHead;
        /// Query index.
        q Query;
        /// Key index.
        k Key;
        /// Number of queries.
        nq QueryCount;
        /// Number of keys.
        nk KeyCount;
        /// The scaled score.
        s Score;
    }

    /// `q + nk - nq`, the query's position among the keys.
    pub fn qp() -> Build {
        Build::leaf(Form::Position)
    }
}
