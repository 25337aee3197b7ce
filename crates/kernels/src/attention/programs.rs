//! Mask and score of a problem, bound to its tables.

use super::Attention;
use crate::{
    Error,
    expr::{self, OwnLengths, Program, Sizes, Table},
};

/// The programs of a problem's expressions.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Which lengths batch entries have of their own.
    pub(crate) own: OwnLengths,
    /// The mask's expression, if it has one.
    pub(crate) mask: Option<Program>,
    /// The score's expression, if there is one.
    pub(crate) score: Option<Program>,
}

impl Attention {
    /// The sizes that expressions are evaluated within.
    pub(crate) fn expr_sizes(&self) -> Sizes {
        Sizes {
            batch: self.batch,
            q_heads: self.q_heads,
            kv_heads: self.kv_heads,
            q_len: self.q_len,
            kv_len: self.kv_len,
        }
    }

    pub(crate) fn table_list(&self) -> Vec<Table> {
        self.tables.iter().map(|input| input.table.clone()).collect()
    }

    /// Checks of mask, score, tables and lists.
    pub(crate) fn validate_visibility(&self) -> Result<(), Error> {
        self.validate_names()?;
        for input in &self.tables {
            let count = input.table.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
            // Where there are no keys, there is nothing to say of them.
            let min = usize::from(self.kv_len > 0);
            if count.is_none_or(|count| count < min || count > i32::MAX as usize) {
                return Err(Error::invalid(
                    input.table.name.as_str(),
                    format!("expected 1 to 2^31 elements, got the sizes {:?}", input.table.shape),
                ));
            }
        }
        self.validate_listed()?;
        if let Some(blocks) = self.host_blocks() {
            blocks.grid().fits(&self.expr_sizes())?;
        }
        self.programs().map(|_| ())
    }

    /// Binds the expressions to the problem's tables.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming `mask` or `score` and the column.
    pub(crate) fn programs(&self) -> Result<Programs, Error> {
        let (tables, own) = (self.table_list(), self.own_lengths());
        let bind = |name: &str, text: Option<&expr::Expr>| {
            let Some(text) = text else { return Ok::<_, Error>(None) };
            let program = text.bind(&tables).map_err(|error| error.in_argument(name))?;
            if self.q_len > 0 && self.kv_len > 0 {
                expr::check_lengths(&program, self.expr_sizes(), own, &[])
                    .map_err(|complaint| complaint.in_argument(name, text.source()))?;
            }
            Ok(Some(program))
        };
        let mask = bind("mask", self.effective_mask().expression())?;
        Ok(Programs { own, mask, score: bind("score", self.score.as_ref())? })
    }
}
