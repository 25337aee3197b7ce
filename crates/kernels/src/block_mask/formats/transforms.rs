//! The same lists in other forms.

use crate::{
    Error,
    block_mask::{BlockClass, BlockMask, BlockRow, to_u32},
};

/// Lists padded to one width, as `FlexAttention` keeps them. Rows are (batch entry, head, query block), row-major.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Padded {
    /// `kv_num_blocks`: how many partial blocks each row has, `[rows]`.
    pub counts: Vec<u32>,
    /// `kv_indices`: the partial blocks of each row, `[rows, width]`; what follows them is padding.
    pub indices: Vec<u32>,
    /// `full_kv_num_blocks`: how many full blocks each row has, `[rows]`, or empty if there are none at all.
    pub full_counts: Vec<u32>,
    /// `full_kv_indices`: the full blocks, as `indices`.
    pub full_indices: Vec<u32>,
}

/// Lists of query blocks, one for each (batch entry or all, head or all, key block): what the gradients of keys and values are
/// summed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transposed {
    /// Where each row begins in `index`, and at last its length: `[batch * heads * kv_blocks + 1]`.
    pub row_ptr: Vec<u32>,
    /// How many blocks of each row are partial.
    pub partial: Vec<u32>,
    /// Query blocks; in each row first the partial ones, ascending, then the full ones, ascending.
    pub index: Vec<u32>,
    /// For each entry of `index` the block of [`BlockMask::bits`] that holds its elements; `u32::MAX` for full blocks.
    pub slots: Vec<u32>,
}

impl BlockMask {
    /// The lists of one batch entry and head by themselves, as lists that all share.
    ///
    /// # Errors
    /// If there is no such batch entry or head; of shared lists any will do.
    pub fn list(&self, batch: usize, head: usize) -> Result<Self, Error> {
        self.check_list(batch, head)?;
        let grid = self.grid.per(1, 1);
        let first = self.grid.row(batch, head, 0);
        let rows: Vec<BlockRow> = (first..first + grid.q_blocks())
            .map(|row| {
                let (partial, full) = self.row(row);
                BlockRow { partial: partial.to_vec(), full: full.to_vec() }
            })
            .collect();
        let words = |row: usize| self.partial_ptr[row] as usize * grid.block_words();
        let bits = self.bits.as_ref().map(|bits| bits[words(first)..words(first + rows.len())].to_vec());
        Self::assemble(grid, &rows, bits, self.test)
    }

    /// Lists padded to the number of key blocks, with zeros.
    #[must_use]
    pub fn to_padded(&self) -> Padded {
        let width = self.grid.kv_blocks();
        let mut padded = Padded::default();
        for row in 0..self.grid.rows() {
            let (partial, full) = self.row(row);
            for (blocks, counts, indices) in [
                (partial, &mut padded.counts, &mut padded.indices),
                (full, &mut padded.full_counts, &mut padded.full_indices),
            ] {
                counts.push(to_u32(blocks.len()));
                indices.extend_from_slice(blocks);
                indices.resize((row + 1) * width, 0);
            }
        }
        padded
    }

    /// A byte a block, `[batch, heads, q_blocks, kv_blocks]`: 0 empty, 1 full, 2 partial.
    #[must_use]
    pub fn to_dense_blocks(&self) -> Vec<u8> {
        let width = self.grid.kv_blocks();
        let mut map = vec![0; self.grid.rows() * width];
        for (row, line) in map.chunks_mut(width.max(1)).enumerate() {
            let (partial, full) = self.row(row);
            for (blocks, byte) in [(partial, 2), (full, 1)] {
                for &block in blocks {
                    if let Some(cell) = line.get_mut(block as usize) {
                        *cell = byte;
                    }
                }
            }
        }
        map
    }

    /// For every key block the query blocks that see it: partial ones first, then full ones, both ascending.
    #[must_use]
    pub fn transposed(&self) -> Transposed {
        let (tall, wide) = (self.grid.q_blocks(), self.grid.kv_blocks());
        let lists = self.grid.batch * self.grid.heads;
        let mut transposed = Transposed {
            row_ptr: vec![0],
            partial: vec![0; lists * wide],
            index: vec![0; self.index.len()],
            slots: vec![u32::MAX; self.index.len()],
        };
        let mut counts = vec![0u32; lists * wide];
        let entries = |class: BlockClass| {
            (0..lists * tall).flat_map(move |row| {
                let (partial, full) = self.row(row);
                let blocks = if class == BlockClass::Partial { partial } else { full };
                blocks.iter().map(move |&block| (row % tall, row / tall * wide + block as usize))
            })
        };
        for (_, column) in entries(BlockClass::Partial) {
            transposed.partial[column] += 1;
            counts[column] += 1;
        }
        entries(BlockClass::Full).for_each(|(_, column)| counts[column] += 1);
        let mut next = Vec::with_capacity(counts.len());
        let mut end = 0;
        for count in counts {
            next.push(end as usize);
            end += count;
            transposed.row_ptr.push(end);
        }
        // Rows are gone through in order, partial blocks first, so every list comes out in order.
        for (slot, (q_block, column)) in (0..).zip(entries(BlockClass::Partial)) {
            transposed.index[next[column]] = to_u32(q_block);
            transposed.slots[next[column]] = slot;
            next[column] += 1;
        }
        for (q_block, column) in entries(BlockClass::Full) {
            transposed.index[next[column]] = to_u32(q_block);
            next[column] += 1;
        }
        transposed
    }
}
