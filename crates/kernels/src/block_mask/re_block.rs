//! The same visibility over blocks of another size.

use std::ops::Range;

use super::{
    BlockGrid, BlockMask, BlockRow, ElementTest, Test,
    bits::{ones, or_range, set, set_range},
    classes::joined,
    to_u32,
};
use crate::{Error, parallel};

impl BlockMask {
    /// The same visibility as lists of blocks of `q_block` x `kv_block`, any sizes.
    ///
    /// A new block is full if all its elements are known to be visible, empty if none can be, and partial otherwise, with bits:
    /// an element's bit is set if it lies in a full block, or in a partial one and passes its test. With `element`, or if the
    /// bits there were decided alone, the new bits decide alone ([`Test::Bits`]). Otherwise elements of partial blocks are left
    /// for the caller to test: their bits are set and the result says [`Test::Both`], or [`Test::Element`] if all bits would be
    /// set. Where an old full block becomes part of such a new one, its elements are then tested too; that changes nothing as
    /// long as the caller's full blocks hold what the element test passes.
    ///
    /// # Errors
    /// If a size is 0 or beyond i32, or the lists or bits cannot be indexed with 32 bits.
    pub fn re_block(
        &self,
        q_block: usize,
        kv_block: usize,
        element: Option<&ElementTest<'_>>,
    ) -> Result<Self, Error> {
        let grid = BlockGrid { q_block, kv_block, ..self.grid };
        grid.check()?;
        let decided = element.is_some() || self.test == Test::Bits;
        let element = element.filter(|_| self.test != Test::Bits);
        let again = ReBlock { from: self, to: grid, element, decided };
        let (rows, bits): (Vec<BlockRow>, Vec<Vec<u32>>) =
            parallel::map(grid.rows(), |row| again.row(row)).into_iter().unzip();
        let bits = joined(&bits)?;
        if decided {
            return Self::assemble(grid, &rows, Some(bits), Test::Bits);
        }
        let mut mask = Self::assemble(grid, &rows, Some(bits), Test::Both)?;
        if mask.all_bits_set() {
            (mask.bits, mask.test) = (None, Test::Element);
        }
        Ok(mask)
    }

    /// Whether the bits exclude nothing.
    fn all_bits_set(&self) -> bool {
        let words = self.grid.block_words();
        let bits = self.bits.as_deref().unwrap_or_default();
        let row = |row: usize| {
            let first = self.partial_ptr[row] as usize;
            let (_, _, q_block) = self.grid.place(row);
            (first..).zip(self.row(row).0).all(|(slot, &block)| {
                let block_bits = bits.get(slot * words..(slot + 1) * words).unwrap_or_default();
                ones(block_bits) == self.grid.area(q_block, block as usize)
            })
        };
        (0..self.grid.rows()).all(row)
    }
}

struct ReBlock<'a> {
    from: &'a BlockMask,
    to: BlockGrid,
    element: Option<&'a ElementTest<'a>>,
    /// Whether the bits will be the truth, so that blocks can be told full or empty by them.
    decided: bool,
}

/// An old block that overlaps the new row: its keys, and the place of its bits if it is partial.
struct Piece {
    queries: Range<usize>,
    keys: Range<usize>,
    slot: Option<usize>,
}

impl ReBlock<'_> {
    /// The blocks and bits of one new row.
    fn row(&self, row: usize) -> (BlockRow, Vec<u32>) {
        let (batch, head, q_block) = self.to.place(row);
        let pieces = self.pieces(batch, head, self.to.queries(q_block..q_block + 1));
        let wide = self.to.kv_blocks();
        let mut covered = vec![0u64; wide];
        let mut touched = vec![false; wide];
        for piece in &pieces {
            for (block, keys) in self.cut(&piece.keys) {
                touched[block] = true;
                if piece.slot.is_none() {
                    covered[block] += piece.queries.len() as u64 * keys.len() as u64;
                }
            }
        }
        // Where each block's bits are; the full ones need none.
        let words = self.to.block_words();
        let mut places = vec![None; wide];
        let mut end = 0;
        for block in 0..wide {
            if touched[block] && covered[block] < self.to.area(q_block, block) {
                places[block] = Some(end);
                end += words;
            }
        }
        let mut bits = vec![0u32; end];
        for piece in &pieces {
            for (block, keys) in self.cut(&piece.keys) {
                if let Some(block_bits) = places[block].and_then(|at| bits.get_mut(at..at + words)) {
                    self.fill((batch, head), piece, block, keys, block_bits);
                }
            }
        }
        let mut found = BlockRow::default();
        let mut kept = Vec::with_capacity(end);
        for block in (0..wide).filter(|&block| touched[block]) {
            let Some(at) = places[block] else {
                found.full.push(to_u32(block));
                continue;
            };
            let block_bits = &bits[at..at + words];
            match ones(block_bits) {
                0 => {}
                set if self.decided && set == self.to.area(q_block, block) => found.full.push(to_u32(block)),
                _ => {
                    found.partial.push(to_u32(block));
                    kept.extend_from_slice(block_bits);
                }
            }
        }
        (found, kept)
    }

    /// The old blocks over these queries.
    fn pieces(&self, batch: usize, head: usize, queries: Range<usize>) -> Vec<Piece> {
        let from = self.from.grid;
        let mut pieces = Vec::new();
        for q_block in queries.start / from.q_block..queries.end.div_ceil(from.q_block) {
            let row = from.row(batch, head, q_block);
            let whole = from.queries(q_block..q_block + 1);
            let queries = whole.start.max(queries.start)..whole.end.min(queries.end);
            let (partial, full) = self.from.row(row);
            let first = self.from.partial_ptr[row] as usize;
            let slots = (first..).map(Some).take(partial.len()).chain(std::iter::repeat(None));
            for (&block, slot) in partial.iter().chain(full).zip(slots) {
                let keys = from.keys(block as usize..block as usize + 1);
                pieces.push(Piece { queries: queries.clone(), keys, slot });
            }
        }
        pieces
    }

    /// These keys, cut at the edges of the new blocks.
    fn cut(&self, keys: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let (keys, to) = (keys.clone(), self.to);
        (keys.start / to.kv_block..keys.end.div_ceil(to.kv_block)).map(move |block| {
            let whole = to.keys(block..block + 1);
            (block, whole.start.max(keys.start)..whole.end.min(keys.end))
        })
    }

    /// Sets the bits of the elements of `piece` that have these keys, all of which lie in the new block.
    fn fill(
        &self,
        (batch, head): (usize, usize),
        piece: &Piece,
        block: usize,
        keys: Range<usize>,
        bits: &mut [u32],
    ) {
        let (from, to) = (self.from.grid, self.to);
        let old = self.from.bits.as_deref().zip(piece.slot);
        for q in piece.queries.clone() {
            let row = q % to.q_block * to.row_words() * 32;
            let at = row + keys.start - block * to.kv_block;
            match (piece.slot, self.element) {
                (Some(slot), Some(element)) => {
                    for (k, at) in keys.clone().zip(at..) {
                        let bit = self.from.bit(slot, q % from.q_block, k % from.kv_block);
                        if bit && element(batch, head, q, k) {
                            set(bits, at);
                        }
                    }
                }
                _ => match old {
                    Some((source, slot)) => {
                        let start = slot * from.block_words() + q % from.q_block * from.row_words();
                        or_range(bits, at, source, start * 32 + keys.start % from.kv_block, keys.len());
                    }
                    None => set_range(bits, at, keys.len()),
                },
            }
        }
    }
}
