//! Which keys a query sees, and the tables that expressions read.

use crate::{
    Dtype, Error,
    check::TableDistribution,
    expr::{Expr, Structural, Table},
};
use std::fmt;

/// Which keys a query sees.
///
/// A hidden key, its value and its score may be NaN or infinite, and do not matter. A visible one
/// matters: a score that is NaN makes its row NaN, and a value that is NaN or infinite makes its column of the row NaN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mask {
    /// All.
    #[default]
    None,
    /// Query `i` sees key `j` if `j <= i + Tk - Tq`: the last query sees all keys.
    Causal,
    /// Query `i` sees key `j` if `j <= i`: the first query sees one key.
    CausalTopLeft,
    /// Those for which the expression is true.
    Expression(Expr),
}

impl Mask {
    /// The mask that an expression describes. `causal`, `causal_top_left` and `true` are known by structure; nothing at
    /// all and `none` mean that all keys are seen.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the column.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if matches!(text.trim(), "" | "none") {
            return Ok(Self::None);
        }
        Ok(Expr::parse_mask(text).map_err(|error| error.in_argument("mask"))?.into())
    }

    /// The expression, if that is all that is known of it.
    #[must_use]
    pub fn expression(&self) -> Option<&Expr> {
        match self {
            Self::Expression(expr) => Some(expr),
            _ => None,
        }
    }
}

impl From<Expr> for Mask {
    fn from(expr: Expr) -> Self {
        match expr.structural() {
            Some(Structural::All) => Self::None,
            Some(Structural::Causal) => Self::Causal,
            Some(Structural::CausalTopLeft) => Self::CausalTopLeft,
            None => Self::Expression(expr),
        }
    }
}

/// The text that [`Mask::parse`] reads.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Causal => f.write_str("causal"),
            Self::CausalTopLeft => f.write_str("causal_top_left"),
            Self::Expression(expr) => fmt::Display::fmt(expr, f),
        }
    }
}

/// How rows of q and k are normalised before they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QkNorm {
    /// Divided by their Euclidean norm, or by 1e-12 if that is larger: scores are cosines. Liu et al. 2022, Swin
    /// Transformer V2, section 3.2.
    L2,
}

/// A table that the mask or the score reads, and how to fill it where no values are given.
#[derive(Clone, Debug, PartialEq)]
pub struct TableInput {
    /// Name, storage and sizes.
    pub table: Table,
    /// How random values for it are drawn.
    pub fill: TableDistribution,
}

impl TableInput {
    /// A table filled as its type suggests.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let fill = match table.element {
            Dtype::I32 => TableDistribution::Runs(4),
            Dtype::U8 => TableDistribution::Below(2),
            _ => TableDistribution::Normal,
        };
        Self { table, fill }
    }
}

/// An element type's name and sizes, as options carry them: `i32[1,200]`.
///
/// # Errors
/// If the text is nothing like that.
pub(super) fn parse_table(name: &str, text: &str) -> Result<Table, Error> {
    let wrong = || {
        let message = format!("expected a type and sizes as in `i32[1,200]`, got `{text}`");
        Error::invalid(format!("table `{name}`"), message)
    };
    let (element, sizes) =
        text.trim().strip_suffix(']').and_then(|text| text.split_once('[')).ok_or_else(wrong)?;
    let dtype = match element.trim() {
        "i32" => Dtype::I32,
        "u8" => Dtype::U8,
        "i8" => Dtype::I8,
        float => float.parse().map_err(|_| wrong())?,
    };
    let shape: Vec<usize> =
        sizes.split(',').map(|size| size.trim().parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    // No device counts further, and sizes without a tensor behind them may be any number.
    let elements = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    if elements.is_none_or(|elements| i32::try_from(elements).is_err()) {
        let message = format!("expected at most {} elements, got `{text}`", i32::MAX);
        return Err(Error::invalid(format!("table `{name}`"), message));
    }
    Ok(Table::new(name, dtype, shape))
}

/// The text that [`parse_table`] reads.
pub(super) fn describe_table(table: &Table) -> String {
    let sizes: Vec<String> = table.shape.iter().map(ToString::to_string).collect();
    format!("{}[{}]", table.element, sizes.join(","))
}
