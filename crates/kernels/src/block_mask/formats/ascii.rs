//! Masks as text.

use crate::{
    Error,
    block_mask::{BlockClass, BlockMask},
};
use std::fmt::Write;

/// Lines that are shown for each column: characters are about twice as tall as wide, and a screen is wider than tall.
const LINES_PER_COLUMN: f64 = 0.5;

impl BlockMask {
    /// One list's blocks, query blocks down and key blocks across: `#` full, `+` partial, `.` empty, and a last line that says
    /// what a character is. Where there are more key blocks than `max_columns` (at least 1), or more query blocks than half of
    /// it, a character is several blocks: `#` if all are full, `.` if all are empty, `+` otherwise.
    ///
    /// # Errors
    /// If there is no such batch entry or head; of shared lists any will do.
    pub fn ascii(&self, batch: usize, head: usize, max_columns: usize) -> Result<String, Error> {
        self.check_list(batch, head)?;
        let grid = self.grid;
        let (tall, wide) = (grid.q_blocks(), grid.kv_blocks());
        let columns = max_columns.max(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a number of lines"
        )]
        let lines = ((columns as f64 * LINES_PER_COLUMN) as usize).max(1);
        let (down, across) = (tall.div_ceil(lines), wide.div_ceil(columns));
        let mut text = String::new();
        for first in (0..tall).step_by(down) {
            let blocks = first..(first + down).min(tall);
            let mut full = vec![0usize; wide.div_ceil(across)];
            let mut partial = full.clone();
            for q_block in blocks.clone() {
                let (some, all) = self.row(grid.row(batch, head, q_block));
                some.iter().for_each(|&block| partial[block as usize / across] += 1);
                all.iter().for_each(|&block| full[block as usize / across] += 1);
            }
            for (cell, (&full, &partial)) in full.iter().zip(&partial).enumerate() {
                let blocks = blocks.len() * (((cell + 1) * across).min(wide) - cell * across);
                text.push(match (full, partial) {
                    (0, 0) => '.',
                    (full, _) if full == blocks => '#',
                    _ => '+',
                });
            }
            text.push('\n');
        }
        let (q_block, kv_block) = (grid.q_block, grid.kv_block);
        let _ = match (down, across) {
            (1, 1) => writeln!(text, "a character is a block of {q_block} queries x {kv_block} keys"),
            _ => writeln!(
                text,
                "a character is {down} x {across} blocks of {q_block} queries x {kv_block} keys"
            ),
        };
        Ok(text)
    }

    /// One list's elements, queries down and keys across: `#` visible, `.` not. `element` as in [`BlockMask::is_visible`].
    /// For small problems: a character is an element.
    ///
    /// # Errors
    /// If there is no such batch entry or head; of shared lists any will do.
    pub fn ascii_elements(
        &self,
        batch: usize,
        head: usize,
        element: impl Fn(usize, usize, usize, usize) -> bool,
    ) -> Result<String, Error> {
        self.check_list(batch, head)?;
        let mut text = String::with_capacity(self.grid.q_len * (self.grid.kv_len + 1));
        for q in 0..self.grid.q_len {
            for k in 0..self.grid.kv_len {
                text.push(if self.is_visible(batch, head, q, k, &element) { '#' } else { '.' });
            }
            text.push('\n');
        }
        Ok(text)
    }

    pub(crate) fn check_list(&self, batch: usize, head: usize) -> Result<(), Error> {
        for (name, got, count) in [("batch", batch, self.grid.batch), ("head", head, self.grid.heads)] {
            if count > 1 && got >= count {
                return Err(Error::invalid(name, format!("expected 0 to {}, got {got}", count - 1)));
            }
        }
        Ok(())
    }
}

impl BlockClass {
    /// As [`BlockMask::ascii`] shows it.
    #[must_use]
    pub fn symbol(self) -> char {
        match self {
            Self::Empty => '.',
            Self::Partial => '+',
            Self::Full => '#',
        }
    }
}
