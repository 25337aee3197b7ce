//! How positions are cut into blocks.

use crate::{Error, expr::Sizes};
use std::ops::Range;

/// Sides of a block that callers' own lists may have. Smaller ones would make lists longer than what they save.
pub(super) const GIVEN_SIDES: std::ops::RangeInclusive<usize> = 16..=128;

/// More rows than this, or blocks in a row, are an accident too: they cost memory even where they are empty.
const MAX_ROWS: usize = 1 << 24;

/// A problem's positions cut into blocks, and how many lists of blocks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockGrid {
    /// Queries of a block; the last block may have fewer. 16 to 128 in lists from callers, otherwise at least 1.
    pub q_block: usize,
    /// Keys of a block; the last block may have fewer. As `q_block`.
    pub kv_block: usize,
    /// Tq, at least 1.
    pub q_len: usize,
    /// Tk, at least 1.
    pub kv_len: usize,
    /// B, or 1 for lists that all batch entries share.
    pub batch: usize,
    /// H (query heads), or 1 for lists that all heads share.
    pub heads: usize,
}

impl BlockGrid {
    /// Blocks of `q_block` queries and `kv_block` keys over `q_len` queries and `kv_len` keys: one list for all batch entries
    /// and heads.
    #[must_use]
    pub fn new(q_len: usize, kv_len: usize, q_block: usize, kv_block: usize) -> Self {
        Self { q_block, kv_block, q_len, kv_len, batch: 1, heads: 1 }
    }

    /// The same with lists of their own for `batch` entries and `heads` heads.
    #[must_use]
    pub fn per(self, batch: usize, heads: usize) -> Self {
        Self { batch, heads, ..self }
    }

    /// Number of blocks along the queries.
    #[must_use]
    pub fn q_blocks(&self) -> usize {
        self.q_len.div_ceil(self.q_block.max(1))
    }

    /// Number of blocks along the keys.
    #[must_use]
    pub fn kv_blocks(&self) -> usize {
        self.kv_len.div_ceil(self.kv_block.max(1))
    }

    /// Number of rows of blocks: `batch * heads * q_blocks`, or as many as can be counted.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch.saturating_mul(self.heads).saturating_mul(self.q_blocks())
    }

    /// The queries that exist of these blocks.
    #[must_use]
    pub fn queries(&self, blocks: Range<usize>) -> Range<usize> {
        span(&blocks, self.q_block, self.q_len)
    }

    /// The keys that exist of these blocks.
    #[must_use]
    pub fn keys(&self, blocks: Range<usize>) -> Range<usize> {
        span(&blocks, self.kv_block, self.kv_len)
    }

    /// The number of the row of a query block, where batch entries and heads may share lists.
    #[must_use]
    pub fn row(&self, batch: usize, head: usize, q_block: usize) -> usize {
        let batch = if self.batch == 1 { 0 } else { batch };
        let head = if self.heads == 1 { 0 } else { head };
        (batch * self.heads + head) * self.q_blocks() + q_block
    }

    /// The batch entry, head and query block of a row.
    #[must_use]
    pub fn place(&self, row: usize) -> (usize, usize, usize) {
        let (list, q_block) = (row / self.q_blocks().max(1), row % self.q_blocks().max(1));
        (list / self.heads.max(1), list % self.heads.max(1), q_block)
    }

    /// Words of the element bits of a block: `q_block` rows of `ceil(kv_block / 32)`.
    #[must_use]
    pub fn block_words(&self) -> usize {
        self.q_block * self.row_words()
    }

    pub(super) fn row_words(&self) -> usize {
        self.kv_block.div_ceil(32)
    }

    /// Number of existing elements of one block.
    pub(super) fn area(&self, q_block: usize, kv_block: usize) -> u64 {
        let (queries, keys) = (self.queries(q_block..q_block + 1), self.keys(kv_block..kv_block + 1));
        queries.len() as u64 * keys.len() as u64
    }

    /// Whether lists for this grid fit a problem of these sizes.
    ///
    /// # Errors
    /// If a length differs, or `batch` or `heads` is neither 1 nor the problem's.
    pub fn fits(&self, sizes: &Sizes) -> Result<(), Error> {
        let equal = [("q_len", self.q_len, sizes.q_len), ("kv_len", self.kv_len, sizes.kv_len)];
        for (name, got, expected) in equal {
            if got != expected {
                return Err(Error::invalid(
                    "block_mask",
                    format!("made for {name} = {got}, expected {expected}"),
                ));
            }
        }
        for (name, got, expected) in
            [("batch", self.batch, sizes.batch), ("heads", self.heads, sizes.q_heads)]
        {
            if got != 1 && got != expected {
                let or = if expected == 1 { String::new() } else { format!(" or {expected}") };
                return Err(Error::invalid("block_mask", format!("made for {name} = {got}, expected 1{or}")));
            }
        }
        Ok(())
    }

    /// Whether the grid can be counted with 32 bits, as on the device.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (name, size) in [
            ("q_block", self.q_block),
            ("kv_block", self.kv_block),
            ("q_len", self.q_len),
            ("kv_len", self.kv_len),
            ("batch", self.batch),
            ("heads", self.heads),
        ] {
            if size == 0 || i32::try_from(size).is_err() {
                return Err(Error::invalid(name, format!("expected 1 to {}, got {size}", i32::MAX)));
            }
        }
        let words = self.q_block.checked_mul(self.row_words());
        if self.rows() > MAX_ROWS
            || self.kv_blocks() > MAX_ROWS
            || words.is_none_or(|words| i32::try_from(words).is_err())
        {
            return Err(Error::invalid(
                "block_mask",
                format!(
                    "{} x {} x {} rows of {} blocks of {} x {} are too many: take larger blocks",
                    self.batch,
                    self.heads,
                    self.q_blocks(),
                    self.kv_blocks(),
                    self.q_block,
                    self.kv_block
                ),
            ));
        }
        Ok(())
    }

    /// As [`BlockGrid::check`], and the sides of a block are what callers may give.
    pub(super) fn check_given(&self) -> Result<(), Error> {
        for (name, side) in [("q_block", self.q_block), ("kv_block", self.kv_block)] {
            if !GIVEN_SIDES.contains(&side) {
                let (min, max) = (GIVEN_SIDES.start(), GIVEN_SIDES.end());
                return Err(Error::invalid(name, format!("expected {min} to {max}, got {side}")));
            }
        }
        self.check()
    }
}

fn span(blocks: &Range<usize>, side: usize, length: usize) -> Range<usize> {
    (blocks.start * side).min(length)..(blocks.end * side).min(length)
}
