//! Lists from the caller's own data. Everything is checked: what is wrong, where, what was expected and what came.

use crate::{
    Error,
    block_mask::{BlockGrid, BlockMask, BlockRow, MAX_BLOCKS, Padded, Test, to_u32},
};
use std::fmt::Display;

/// Meaning of the blocks in a list that does not tell full ones from partial ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listed {
    /// Every element of a listed block is visible.
    Full,
    /// The elements of listed blocks are subject to the element test: all are partial.
    Tested,
}

impl BlockMask {
    /// Compressed rows: the blocks of row `r` are `index[row_ptr[r]..row_ptr[r + 1]]`, ascending, each once.
    ///
    /// `row_ptr` is `[rows + 1]`, with rows as [`BlockGrid::row`] numbers them. `partial` is `[rows]`: the first `partial[r]`
    /// blocks of the row are partial and the rest full, each part ascending; without it `listed` says what all are.
    ///
    /// # Errors
    /// If `q_block` or `kv_block` is not 16 to 128, an array has the wrong length, `row_ptr` does not begin with 0, grow and
    /// end with the length of `index`, or a row has a block that does not exist, is out of order or occurs twice.
    pub fn from_rows(
        grid: BlockGrid,
        row_ptr: &[u32],
        partial: Option<&[u32]>,
        index: &[u32],
        listed: Listed,
    ) -> Result<Self, Error> {
        Self::of_rows(grid, "row_ptr", row_ptr, "index", index, partial, listed)
    }

    /// The block structure of a SciPy `bsr_matrix` of `[q_len, kv_len]` with blocks of `r` x `c`: one list for all batch
    /// entries and heads. Unlike there, the lengths need not be multiples of the sides.
    ///
    /// # Errors
    /// As [`BlockMask::from_rows`]. Indices out of order are refused: `sort_indices()` puts them in order.
    pub fn from_bsr(
        [q_len, kv_len]: [usize; 2],
        [r, c]: [usize; 2],
        indptr: &[u32],
        indices: &[u32],
        listed: Listed,
    ) -> Result<Self, Error> {
        let grid = BlockGrid::new(q_len, kv_len, r, c);
        Self::of_rows(grid, "indptr", indptr, "indices", indices, None, listed)
    }

    fn of_rows(
        grid: BlockGrid,
        ptr_name: &str,
        row_ptr: &[u32],
        index_name: &str,
        index: &[u32],
        partial: Option<&[u32]>,
        listed: Listed,
    ) -> Result<Self, Error> {
        grid.check_given()?;
        let rows = grid.rows();
        length(ptr_name, row_ptr.len(), rows + 1, &format!("{} and one", shape_of_rows(&grid)))?;
        if let Some(partial) = partial {
            length("partial", partial.len(), rows, &shape_of_rows(&grid))?;
        }
        if let Some(&first) = row_ptr.first().filter(|&&first| first != 0) {
            return Err(entry(ptr_name, 0, "0", first));
        }
        let end = row_ptr.last().copied().unwrap_or_default() as usize;
        if end != index.len() {
            let expected = format!("the length of {index_name}, {}", index.len());
            return Err(entry(ptr_name, rows, &expected, end));
        }
        let mut found = Vec::with_capacity(rows);
        for (row, pair) in row_ptr.windows(2).enumerate() {
            let (start, end) = (pair[0] as usize, pair[1] as usize);
            let blocks = index.get(start..end).ok_or_else(|| {
                let expected = format!("{start} (the entry before) to {}", index.len());
                entry(ptr_name, row + 1, &expected, end)
            })?;
            let count = match partial.map(|partial| partial[row] as usize) {
                Some(count) if count > blocks.len() => {
                    let expected = format!("at most {}, the blocks of the row", blocks.len());
                    return Err(entry("partial", row, &expected, count));
                }
                Some(count) => count,
                None if listed == Listed::Tested => blocks.len(),
                None => 0,
            };
            let (tested, full) = blocks.split_at(count);
            let at = |offset: usize| (index_name, start + offset);
            found.push(BlockRow {
                partial: ascending(&grid, row, tested, at)?,
                full: ascending(&grid, row, full, |i| at(count + i))?,
            });
            if let Some(last) = found.last() {
                disjoint(&grid, row, last, |i| at(count + i))?;
            }
        }
        Self::assemble(grid, &found, None, Test::Element)
    }

    /// A byte a block, `[batch, heads, q_blocks, kv_blocks]`: 0 empty, 1 full, 2 partial.
    ///
    /// # Errors
    /// If `q_block` or `kv_block` is not 16 to 128, the length is wrong or a byte is none of these.
    pub fn from_dense_blocks(grid: BlockGrid, map: &[u8]) -> Result<Self, Error> {
        grid.check_given()?;
        let wide = grid.kv_blocks();
        let expected = grid.rows().saturating_mul(wide);
        let shape = format!("[{}, {}, {}, {wide}]", grid.batch, grid.heads, grid.q_blocks());
        length("blocks", map.len(), expected, &shape)?;
        if let Some((at, &byte)) = map.iter().enumerate().find(|&(_, &byte)| byte > 2) {
            return Err(entry("blocks", at, "0 (empty), 1 (full) or 2 (partial)", byte));
        }
        let of = |row: &[u8], kind: u8| -> Vec<u32> {
            (0..).zip(row).filter(|&(_, &byte)| byte == kind).map(|(block, _)| block).collect()
        };
        let rows: Vec<BlockRow> =
            map.chunks(wide).map(|row| BlockRow { partial: of(row, 2), full: of(row, 1) }).collect();
        Self::assemble(grid, &rows, None, Test::Element)
    }

    /// The key blocks of each row, ascending, one list a row ([`BlockGrid::row`] numbers them).
    ///
    /// # Errors
    /// If `q_block` or `kv_block` is not 16 to 128, the number of lists is wrong, or a list has a block that does not exist,
    /// is out of order or occurs twice.
    pub fn from_lists(grid: BlockGrid, lists: &[Vec<usize>], listed: Listed) -> Result<Self, Error> {
        grid.check_given()?;
        length("lists", lists.len(), grid.rows(), &shape_of_rows(&grid))?;
        let mut rows = Vec::with_capacity(lists.len());
        for (row, list) in lists.iter().enumerate() {
            let name = format!("lists[{row}]");
            let blocks: Vec<u32> = list.iter().map(|&block| to_u32(block)).collect();
            let blocks = ascending(&grid, row, &blocks, |i| (&name, i))?;
            rows.push(match listed {
                Listed::Full => BlockRow { full: blocks, ..BlockRow::default() },
                Listed::Tested => BlockRow { partial: blocks, ..BlockRow::default() },
            });
        }
        Self::assemble(grid, &rows, None, Test::Element)
    }

    /// Padded lists, as `FlexAttention` keeps them: `counts` and `full_counts` `[rows]`, `indices` and `full_indices`
    /// `[rows, width]`, of which the first `counts[r]` of row `r` count. Empty `full_counts` mean that no block is full.
    ///
    /// # Errors
    /// If `q_block` or `kv_block` is not 16 to 128, a length is wrong, a count exceeds the width, or a list has a block that
    /// does not exist, is out of order or occurs twice.
    pub fn from_padded(grid: BlockGrid, padded: &Padded) -> Result<Self, Error> {
        grid.check_given()?;
        let kinds = [
            ("kv_num_blocks", "kv_indices", &padded.counts, &padded.indices),
            ("full_kv_num_blocks", "full_kv_indices", &padded.full_counts, &padded.full_indices),
        ];
        let rows = grid.rows();
        let mut found = vec![BlockRow::default(); rows];
        for (is_full, (counts_name, indices_name, counts, indices)) in kinds.into_iter().enumerate() {
            if is_full == 1 && counts.is_empty() && indices.is_empty() {
                continue;
            }
            length(counts_name, counts.len(), rows, &shape_of_rows(&grid))?;
            if indices.len() % rows != 0 {
                let message = format!("expected [{rows}, width] entries, got {}", indices.len());
                return Err(Error::invalid(indices_name, message));
            }
            let width = indices.len() / rows;
            for (row, (&count, into)) in counts.iter().zip(&mut found).enumerate() {
                let start = row * width;
                let Some(blocks) =
                    indices.get(start..start + width).and_then(|list| list.get(..count as usize))
                else {
                    return Err(entry(counts_name, row, &format!("at most {width}, the width"), count));
                };
                let blocks = ascending(&grid, row, blocks, |i| (indices_name, start + i))?;
                if is_full == 1 {
                    into.full = blocks;
                    disjoint(&grid, row, into, |i| (indices_name, start + i))?;
                } else {
                    into.partial = blocks;
                }
            }
        }
        if found.iter().map(|row| row.partial.len() + row.full.len()).sum::<usize>() > MAX_BLOCKS {
            return Err(crate::block_mask::too_many_blocks(&grid));
        }
        Self::assemble(grid, &found, None, Test::Element)
    }
}

/// The blocks of a list, which have to exist and ascend. `at` says how the caller calls the `i`-th.
fn ascending<'a>(
    grid: &BlockGrid,
    row: usize,
    blocks: &[u32],
    at: impl Fn(usize) -> (&'a str, usize),
) -> Result<Vec<u32>, Error> {
    let count = grid.kv_blocks();
    for (i, &block) in blocks.iter().enumerate() {
        let (name, position) = at(i);
        if block as usize >= count {
            let expected = format!("a key block of {}, 0 to {}", of_row(grid, row), count - 1);
            return Err(entry(name, position, &expected, block));
        }
        let before = i.checked_sub(1).and_then(|before| blocks.get(before));
        if let Some(&before) = before.filter(|&&before| before >= block) {
            let what = if before == block { "each block once" } else { "ascending blocks" };
            let expected = format!("{what} in {}, so more than {before}", of_row(grid, row));
            return Err(entry(name, position, &expected, block));
        }
    }
    Ok(blocks.to_vec())
}

/// A block cannot be both partial and full.
fn disjoint<'a>(
    grid: &BlockGrid,
    row: usize,
    blocks: &BlockRow,
    at: impl Fn(usize) -> (&'a str, usize),
) -> Result<(), Error> {
    let twice = blocks.full.iter().enumerate().find(|(_, block)| blocks.partial.binary_search(block).is_ok());
    match twice {
        Some((i, block)) => {
            let (name, position) = at(i);
            let expected = format!("each block once in {}, and it is partial already", of_row(grid, row));
            Err(entry(name, position, &expected, block))
        }
        None => Ok(()),
    }
}

fn of_row(grid: &BlockGrid, row: usize) -> String {
    let (batch, head, q_block) = grid.place(row);
    format!("row {row} (batch {batch}, head {head}, query block {q_block})")
}

fn shape_of_rows(grid: &BlockGrid) -> String {
    format!("{} x {} x {} rows", grid.batch, grid.heads, grid.q_blocks())
}

fn length(name: &str, got: usize, expected: usize, why: &str) -> Result<(), Error> {
    if got == expected {
        return Ok(());
    }
    Err(Error::invalid(name, format!("expected {expected} entries ({why}), got {got}")))
}

fn entry(name: &str, position: usize, expected: &str, got: impl Display) -> Error {
    Error::invalid(name, format!("at {position}: expected {expected}, got {got}"))
}
