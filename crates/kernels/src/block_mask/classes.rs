//! Lists from what is known of rectangles, and the exact pass over what is not.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    BlockGrid, BlockMask, BlockRow, ElementTest, MAX_BLOCKS, Test, bits::set, to_u32, too_many_blocks,
};
use crate::{Error, expr::Sizes, parallel};

/// Visibility of a rectangle of elements, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockClass {
    /// No element is visible.
    Empty,
    /// Not known to be empty or full.
    Partial,
    /// All elements are visible.
    Full,
}

/// Something that knows classes of rectangles: a mask's expression over intervals, for one.
pub trait Classify: Sync {
    /// The class of these elements. The ranges are not empty and within the sizes of the problem.
    ///
    /// Has to be sound for every such rectangle; [`BlockClass::Partial`] always is.
    fn class(
        &self,
        batch: Range<usize>,
        heads: Range<usize>,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> BlockClass;
}

impl<F> Classify for F
where
    F: Fn(Range<usize>, Range<usize>, Range<usize>, Range<usize>) -> BlockClass + Sync,
{
    fn class(
        &self,
        batch: Range<usize>,
        heads: Range<usize>,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> BlockClass {
        self(batch, heads, queries, keys)
    }
}

/// Query blocks that are classified together at first: enough for whole stretches of keys to be settled at once, few enough
/// for all cores to have work.
const BAND: usize = 16;

impl BlockMask {
    /// The lists of a mask whose classes are known, for blocks of any size (at least 1): one list a batch entry if
    /// `per_batch`, a head if `per_head`; otherwise blocks are classified over all of them together.
    ///
    /// The key range is halved until a rectangle's class is known, so time is in proportion to the edges of the mask rather
    /// than to its blocks. An edge block counts as full if all its existing elements are visible.
    ///
    /// # Errors
    /// If a size is 0 or beyond i32, or more than 2^28 blocks would be listed.
    pub fn from_classes(
        sizes: Sizes,
        q_block: usize,
        kv_block: usize,
        per_batch: bool,
        per_head: bool,
        classes: &dyn Classify,
    ) -> Result<Self, Error> {
        let lists = (if per_batch { sizes.batch } else { 1 }, if per_head { sizes.q_heads } else { 1 });
        let grid = BlockGrid::new(sizes.q_len, sizes.kv_len, q_block, kv_block).per(lists.0, lists.1);
        grid.check()?;
        let bands = grid.q_blocks().div_ceil(BAND);
        let listed = AtomicUsize::new(0);
        let band = |task: usize| -> Vec<BlockRow> {
            let (list, band) = (task / bands, task % bands);
            let only = |each: bool, at: usize, all: usize| if each { at..at + 1 } else { 0..all };
            let walk = Walk {
                grid,
                classes,
                batch: only(per_batch, list / grid.heads, sizes.batch),
                heads: only(per_head, list % grid.heads, sizes.q_heads),
                listed: &listed,
            };
            let blocks = band * BAND..((band + 1) * BAND).min(grid.q_blocks());
            let mut rows = vec![BlockRow::default(); blocks.len()];
            walk.descend(blocks, 0..grid.kv_blocks(), &mut rows);
            rows
        };
        let rows = parallel::map(grid.batch * grid.heads * bands, band)
            .into_iter()
            .flatten()
            .collect::<Vec<BlockRow>>();
        // The walk stops at the limit, so what it found so far is no result.
        if listed.load(Ordering::Relaxed) > MAX_BLOCKS {
            return Err(too_many_blocks(&grid));
        }
        Self::assemble(grid, &rows, None, Test::Element)
    }

    /// The same visibility with exact classes: partial blocks whose elements all are (in)visible become full (or empty). Bits
    /// are kept if they decide alone ([`Test::Bits`]), and dropped otherwise; `element` is asked where it counts.
    ///
    /// # Errors
    /// As [`BlockMask::with_bits`].
    pub fn refine(&self, element: &ElementTest<'_>) -> Result<Self, Error> {
        self.tested(element, self.test == Test::Bits)
    }

    /// The same visibility with exact classes and the bits of the elements of partial blocks: [`Test::Bits`].
    ///
    /// # Errors
    /// If the bits are more than 2^32 words.
    pub fn with_bits(&self, element: &ElementTest<'_>) -> Result<Self, Error> {
        self.tested(element, true)
    }

    /// The same visibility with what `classes` knows of the element test: partial blocks that it calls full or empty become so,
    /// without a look at their elements. For lists that came with an expression; bits, where there are any, are left alone.
    ///
    /// # Errors
    /// If the lists are not for a problem of these sizes.
    pub fn settle(&self, sizes: Sizes, classes: &dyn Classify) -> Result<Self, Error> {
        let grid = self.grid;
        grid.fits(&sizes)?;
        if self.test != Test::Element {
            return Ok(self.clone());
        }
        let row = |number: usize| -> BlockRow {
            let (batch, head, q_block) = grid.place(number);
            let (partial, full) = self.row(number);
            let of = |lists: usize, at: usize, all: usize| if lists == 1 { 0..all } else { at..at + 1 };
            let (batch, heads) = (of(grid.batch, batch, sizes.batch), of(grid.heads, head, sizes.q_heads));
            let queries = grid.queries(q_block..q_block + 1);
            let (mut found, mut also_full) = (BlockRow::default(), Vec::new());
            for &block in partial {
                let keys = grid.keys(block as usize..block as usize + 1);
                match classes.class(batch.clone(), heads.clone(), queries.clone(), keys) {
                    BlockClass::Empty => {}
                    BlockClass::Partial => found.partial.push(block),
                    BlockClass::Full => also_full.push(block),
                }
            }
            found.full = merged(full, &also_full);
            found
        };
        let rows = parallel::map(grid.rows(), row);
        Self::assemble(grid, &rows, None, Test::Element)
    }

    fn tested(&self, element: &ElementTest<'_>, keep: bool) -> Result<Self, Error> {
        let grid = self.grid;
        let words = if keep { grid.block_words() } else { 0 };
        let row = |number: usize| -> (BlockRow, Vec<u32>) {
            let (batch, head, q_block) = grid.place(number);
            let (partial, full) = self.row(number);
            let first = self.partial_ptr.get(number).copied().unwrap_or_default() as usize;
            let (mut found, mut bits) = (BlockRow::default(), Vec::new());
            let mut also_full = Vec::new();
            for (&block, slot) in partial.iter().zip(first..) {
                let start = bits.len();
                bits.resize(start + words, 0);
                let block_bits = bits.get_mut(start..).unwrap_or_default();
                let visible = |q: usize, k: usize| {
                    self.bit(slot, q % grid.q_block, k % grid.kv_block)
                        && (self.test == Test::Bits || element(batch, head, q, k))
                };
                match scan(&grid, q_block, block as usize, visible, block_bits) {
                    BlockClass::Partial => found.partial.push(block),
                    class => {
                        bits.truncate(start);
                        if class == BlockClass::Full {
                            also_full.push(block);
                        }
                    }
                }
            }
            found.full = merged(full, &also_full);
            (found, bits)
        };
        let (rows, bits): (Vec<BlockRow>, Vec<Vec<u32>>) =
            parallel::map(grid.rows(), row).into_iter().unzip();
        let bits = if keep { Some(joined(&bits)?) } else { None };
        Self::assemble(grid, &rows, bits, if keep { Test::Bits } else { Test::Element })
    }
}

/// One walk down the rectangles of a band of query blocks.
struct Walk<'a> {
    grid: BlockGrid,
    classes: &'a dyn Classify,
    batch: Range<usize>,
    heads: Range<usize>,
    /// Blocks listed so far, by all walks.
    listed: &'a AtomicUsize,
}

impl Walk<'_> {
    /// Lists the blocks of a rectangle; `rows` are those of `q_blocks`. Keys are visited in order, so lists are ascending.
    fn descend(&self, q_blocks: Range<usize>, kv_blocks: Range<usize>, rows: &mut [BlockRow]) {
        let (queries, keys) = (self.grid.queries(q_blocks.clone()), self.grid.keys(kv_blocks.clone()));
        let (tall, wide) = (queries.len(), keys.len());
        let class = self.classes.class(self.batch.clone(), self.heads.clone(), queries, keys);
        match class {
            BlockClass::Empty => {}
            BlockClass::Full => {
                if self.count(rows.len() * kv_blocks.len()) {
                    let blocks = to_u32(kv_blocks.start)..to_u32(kv_blocks.end);
                    rows.iter_mut().for_each(|row| row.full.extend(blocks.clone()));
                }
            }
            BlockClass::Partial if kv_blocks.len() > 1 && (wide >= tall || q_blocks.len() == 1) => {
                let middle = kv_blocks.start + kv_blocks.len() / 2;
                self.descend(q_blocks.clone(), kv_blocks.start..middle, rows);
                self.descend(q_blocks, middle..kv_blocks.end, rows);
            }
            BlockClass::Partial if q_blocks.len() > 1 => {
                let half = q_blocks.len() / 2;
                let middle = q_blocks.start + half;
                if let Some((above, below)) = rows.split_at_mut_checked(half) {
                    self.descend(q_blocks.start..middle, kv_blocks.clone(), above);
                    self.descend(middle..q_blocks.end, kv_blocks, below);
                }
            }
            BlockClass::Partial => {
                if self.count(1) {
                    rows.iter_mut().for_each(|row| row.partial.push(to_u32(kv_blocks.start)));
                }
            }
        }
    }

    /// Counts blocks; `false` once they are too many.
    fn count(&self, blocks: usize) -> bool {
        self.listed.fetch_add(blocks, Ordering::Relaxed) + blocks <= MAX_BLOCKS
    }
}

/// The class of a block by its elements. `bits` is filled if it is not empty; otherwise the scan ends as soon as the block is
/// known to be mixed.
fn scan(
    grid: &BlockGrid,
    q_block: usize,
    kv_block: usize,
    visible: impl Fn(usize, usize) -> bool,
    bits: &mut [u32],
) -> BlockClass {
    let (mut some, mut all) = (false, true);
    let (queries, keys) = (grid.queries(q_block..q_block + 1), grid.keys(kv_block..kv_block + 1));
    for (q, row) in queries.zip(0..) {
        for (k, column) in keys.clone().zip(0..) {
            let seen = visible(q, k);
            some |= seen;
            all &= seen;
            if bits.is_empty() && some && !all {
                return BlockClass::Partial;
            }
            if seen {
                set(bits, row * grid.row_words() * 32 + column);
            }
        }
    }
    match (some, all) {
        (false, _) => BlockClass::Empty,
        (true, true) => BlockClass::Full,
        (true, false) => BlockClass::Partial,
    }
}

/// Two ascending lists as one.
fn merged(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    all
}

/// The bits of all rows, one after the other.
pub(super) fn joined(rows: &[Vec<u32>]) -> Result<Vec<u32>, Error> {
    let words: usize = rows.iter().map(Vec::len).sum();
    if u32::try_from(words).is_err() {
        let message =
            format!("the bits of the partial blocks are {words} words, at most {} can be indexed", u32::MAX);
        return Err(Error::invalid("block_mask", message));
    }
    Ok(rows.concat())
}
