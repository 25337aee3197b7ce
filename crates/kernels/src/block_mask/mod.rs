//! Block-sparse masks: which blocks of keys each block of queries sees, wholly or in part.
//!
//! A list costs memory in proportion to the blocks it holds. It comes from classes of rectangles
//! ([`BlockMask::from_classes`]), from the caller's own data in one of the usual forms ([`BlockMask::from_rows`],
//! [`BlockMask::from_bsr`], [`BlockMask::from_padded`] and more), or at random; [`BlockMask::re_block`] turns it into lists of
//! other block sizes, as a kernel with its own tiles needs them.
//!
//! ```
//! use foveal_kernels::block_mask::{BlockGrid, BlockMask, Listed};
//!
//! // Two blocks of 64 queries; the first sees key block 0, the second key blocks 0 and 1.
//! let grid = BlockGrid::new(128, 128, 64, 64);
//! let mask = BlockMask::from_rows(grid, &[0, 1, 3], None, &[0, 0, 1], Listed::Full)?;
//! assert_eq!(mask.counts().full, 3);
//! assert_eq!(mask.ascii(0, 0, 80)?, "#.\n##\na character is a block of 64 queries x 64 keys\n");
//! # Ok::<(), foveal_kernels::Error>(())
//! ```

mod bits;
mod classes;
mod density;
mod expression;
mod formats;
mod grid;
mod patterns;
mod re_block;
#[cfg(test)]
mod tests;

pub use classes::{BlockClass, Classify};
pub use expression::Elements;
pub use formats::import::Listed;
pub use formats::transforms::{Padded, Transposed};
pub use grid::BlockGrid;

use crate::Error;

/// Whether query `q` sees key `k`: `(batch entry, head, q, k)`. Of lists that batch entries or heads share, entry or head 0 is
/// asked about.
pub type ElementTest<'a> = dyn Fn(usize, usize, usize, usize) -> bool + Sync + 'a;

/// More blocks than this are an accident, and would not fit a binding either (1 GiB of indices).
const MAX_BLOCKS: usize = 1 << 28;

/// Lists of key blocks, one for each (batch entry or all, head or all, query block): compressed sparse rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMask {
    grid: BlockGrid,
    row_ptr: Vec<u32>,
    partial: Vec<u32>,
    partial_ptr: Vec<u32>,
    index: Vec<u32>,
    bits: Option<Vec<u32>>,
    test: Test,
}

/// The test that decides whether an element of a partial block is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// The element test (the mask's expression); there are no bits.
    Element,
    /// The bits alone.
    Bits,
    /// An element is visible if its bit is set and it passes the element test.
    Both,
}

/// Numbers of blocks, over all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Blocks all of whose elements are visible.
    pub full: u64,
    /// Blocks whose elements are tested one by one.
    pub partial: u64,
    /// Blocks that are skipped.
    pub empty: u64,
}

/// The blocks of one row while lists are made: both kinds ascending.
#[derive(Clone, Debug, Default)]
struct BlockRow {
    partial: Vec<u32>,
    full: Vec<u32>,
}

impl BlockMask {
    /// How positions are cut into blocks.
    #[must_use]
    pub fn grid(&self) -> BlockGrid {
        self.grid
    }

    /// Queries of a block.
    #[must_use]
    pub fn q_block(&self) -> usize {
        self.grid.q_block
    }

    /// Keys of a block.
    #[must_use]
    pub fn kv_block(&self) -> usize {
        self.grid.kv_block
    }

    /// Tq.
    #[must_use]
    pub fn q_len(&self) -> usize {
        self.grid.q_len
    }

    /// Tk.
    #[must_use]
    pub fn kv_len(&self) -> usize {
        self.grid.kv_len
    }

    /// B, or 1 if all batch entries share the lists.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.grid.batch
    }

    /// H, or 1 if all heads share the lists.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.grid.heads
    }

    /// Where each row begins in [`BlockMask::index`], and at last its length: `[rows + 1]`. Rows are (batch entry, head, query
    /// block), row-major.
    #[must_use]
    pub fn row_ptr(&self) -> &[u32] {
        &self.row_ptr
    }

    /// How many blocks of each row are partial: `[rows]`.
    #[must_use]
    pub fn partial(&self) -> &[u32] {
        &self.partial
    }

    /// Running sum of [`BlockMask::partial`]: `[rows + 1]`. The bits of the `i`-th partial block of row `r` are the block
    /// `partial_ptr[r] + i` of [`BlockMask::bits`].
    #[must_use]
    pub fn partial_ptr(&self) -> &[u32] {
        &self.partial_ptr
    }

    /// Key blocks, row after row; in each row first the partial ones, ascending, then the full ones, ascending.
    #[must_use]
    pub fn index(&self) -> &[u32] {
        &self.index
    }

    /// Element bits of the partial blocks in the order in which they occur, [`BlockGrid::block_words`] words each: `q_block`
    /// rows of `ceil(kv_block / 32)` words, key `32 * w + j` of the block in bit `j` of word `w`. Bits beyond the lengths are 0.
    #[must_use]
    pub fn bits(&self) -> Option<&[u32]> {
        self.bits.as_deref()
    }

    /// The test of the elements of partial blocks.
    #[must_use]
    pub fn test(&self) -> Test {
        self.test
    }

    /// The partial and the full key blocks of a row, each ascending; nothing for a row that does not exist.
    #[must_use]
    pub fn row(&self, row: usize) -> (&[u32], &[u32]) {
        let bounds = self.row_ptr.get(row).zip(self.row_ptr.get(row + 1)).zip(self.partial.get(row));
        let Some(((&start, &end), &partial)) = bounds else { return (&[], &[]) };
        let blocks = self.index.get(start as usize..end as usize).unwrap_or_default();
        blocks.split_at_checked(partial as usize).unwrap_or_default()
    }

    /// The class of one block: [`BlockClass::Partial`] if its elements are tested.
    #[must_use]
    pub fn class(&self, batch: usize, head: usize, q_block: usize, kv_block: usize) -> BlockClass {
        self.find(self.grid.row(batch, head, q_block), kv_block).0
    }

    /// The class of a block of a row, and the place of its bits if it is partial.
    fn find(&self, row: usize, kv_block: usize) -> (BlockClass, usize) {
        let (partial, full) = self.row(row);
        let wanted = to_u32(kv_block);
        if let Ok(at) = partial.binary_search(&wanted) {
            let first = self.partial_ptr.get(row).copied().unwrap_or_default();
            return (BlockClass::Partial, first as usize + at);
        }
        let class = if full.binary_search(&wanted).is_ok() { BlockClass::Full } else { BlockClass::Empty };
        (class, 0)
    }

    /// Whether query `q` sees key `k`: `element(b, h, q, k)` is asked only if the element lies in a partial block and
    /// [`BlockMask::test`] says that it counts. Nothing outside the lengths is visible.
    #[must_use]
    pub fn is_visible(
        &self,
        batch: usize,
        head: usize,
        q: usize,
        k: usize,
        mut element: impl FnMut(usize, usize, usize, usize) -> bool,
    ) -> bool {
        let grid = self.grid;
        if q >= grid.q_len || k >= grid.kv_len {
            return false;
        }
        let row = grid.row(batch, head, q / grid.q_block);
        match self.find(row, k / grid.kv_block) {
            (BlockClass::Empty, _) => false,
            (BlockClass::Full, _) => true,
            (BlockClass::Partial, slot) => {
                let bit = self.bit(slot, q % grid.q_block, k % grid.kv_block);
                bit && (self.test == Test::Bits || element(batch, head, q, k))
            }
        }
    }

    /// The bit of an element of a partial block; 1 if there are no bits.
    fn bit(&self, slot: usize, q: usize, k: usize) -> bool {
        let Some(bits) = &self.bits else { return true };
        let word = slot * self.grid.block_words() + q * self.grid.row_words() + k / 32;
        bits.get(word).is_some_and(|word| word >> (k % 32) & 1 == 1)
    }

    /// Number of elements in blocks that are not skipped, over all rows.
    #[must_use]
    pub fn visited(&self) -> u64 {
        // Only the last block of either axis can be smaller than the others.
        let grid = self.grid;
        let last = to_u32(grid.kv_blocks().saturating_sub(1));
        let (side, last_side) =
            (grid.kv_block as u64, grid.keys(last as usize..last as usize + 1).len() as u64);
        let row = |row: usize| {
            let (partial, full) = self.row(row);
            let short = [partial, full].iter().filter(|blocks| blocks.last() == Some(&last)).count() as u64;
            let keys = (partial.len() + full.len()) as u64 * side - short * (side - last_side);
            let (_, _, q_block) = grid.place(row);
            keys * grid.queries(q_block..q_block + 1).len() as u64
        };
        (0..grid.rows()).map(row).sum()
    }

    /// Share of the elements that lie in blocks that are not skipped, 0 to 1: what a kernel that skips blocks computes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn density(&self) -> f64 {
        let grid = self.grid;
        let all = (grid.batch * grid.heads) as f64 * grid.q_len as f64 * grid.kv_len as f64;
        self.visited() as f64 / all
    }

    /// How many blocks there are of each kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let listed = self.index.len() as u64;
        let partial = u64::from(self.partial_ptr.last().copied().unwrap_or_default());
        let all = self.grid.rows() as u64 * self.grid.kv_blocks() as u64;
        Counts { full: listed - partial, partial, empty: all - listed }
    }

    /// The lists of these rows; `bits` in the order of their partial blocks.
    fn assemble(
        grid: BlockGrid,
        rows: &[BlockRow],
        bits: Option<Vec<u32>>,
        test: Test,
    ) -> Result<Self, Error> {
        let count: usize = rows.iter().map(|row| row.partial.len() + row.full.len()).sum();
        if count > MAX_BLOCKS {
            return Err(too_many_blocks(&grid));
        }
        let mut mask = Self {
            grid,
            row_ptr: Vec::with_capacity(rows.len() + 1),
            partial: Vec::with_capacity(rows.len()),
            partial_ptr: Vec::with_capacity(rows.len() + 1),
            index: Vec::with_capacity(count),
            bits,
            test,
        };
        mask.row_ptr.push(0);
        mask.partial_ptr.push(0);
        let mut partial = 0;
        for row in rows {
            mask.index.extend_from_slice(&row.partial);
            mask.index.extend_from_slice(&row.full);
            partial += row.partial.len();
            mask.row_ptr.push(to_u32(mask.index.len()));
            mask.partial.push(to_u32(row.partial.len()));
            mask.partial_ptr.push(to_u32(partial));
        }
        Ok(mask)
    }
}

fn too_many_blocks(grid: &BlockGrid) -> Error {
    let message = format!(
        "more than {MAX_BLOCKS} blocks of {} x {} would be listed: take larger blocks",
        grid.q_block, grid.kv_block
    );
    Error::invalid("block_mask", message)
}

/// For counts that [`BlockGrid::check`] and [`MAX_BLOCKS`] keep below 2^32.
fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
