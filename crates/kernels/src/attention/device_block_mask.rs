//! Lists of blocks that lie on the device.

/// Which blocks of keys each block of queries visits, as tensors that an earlier pass may have written: counts
/// `[B or 1, H or 1, blocks of queries]` and indices `[B or 1, H or 1, blocks of queries, max_blocks]`, both i32. Of each list the
/// first `count` indices are read, and each should be there once; a block that does not exist shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceBlockMask {
    /// Queries of a block: a multiple of 64.
    pub q_block: usize,
    /// Keys of a block: a multiple of 64.
    pub kv_block: usize,
    /// Room for so many indices in each list.
    pub max_blocks: usize,
    /// Batch entries that have lists of their own: all, or one for all.
    pub batch: usize,
    /// Heads that have lists of their own: all, or one for all.
    pub heads: usize,
    /// The name of the tensor of counts, FlexAttention's `kv_num_blocks`.
    pub num_blocks: String,
    /// The name of the tensor of indices, FlexAttention's `kv_indices`.
    pub indices: String,
}

impl DeviceBlockMask {
    /// Lists of up to `max_blocks` blocks, the same for all batch entries and heads, in tensors named `counts` and `indices`.
    #[must_use]
    pub fn new(q_block: usize, kv_block: usize, max_blocks: usize) -> Self {
        let (num_blocks, indices) = ("counts".to_owned(), "indices".to_owned());
        Self { q_block, kv_block, max_blocks, batch: 1, heads: 1, num_blocks, indices }
    }

    /// With lists of their own for so many batch entries and heads.
    #[must_use]
    pub fn per(mut self, batch: usize, heads: usize) -> Self {
        (self.batch, self.heads) = (batch, heads);
        self
    }

    /// Whether a block of keys is listed for a block of queries.
    pub(super) fn shows(&self, lists: &Values, place: [usize; 4]) -> bool {
        let [batch, head, query, key] = place;
        let per = |count: usize, at: usize| if count > 1 { at } else { 0 };
        let row = (per(self.batch, batch) * self.heads + per(self.heads, head)) * lists.q_blocks
            + query / self.q_block;
        let block = i64::try_from(key / self.kv_block).unwrap_or(i64::MAX);
        lists.rows.get(row).is_some_and(|row| row.contains(&block))
    }
}

/// Contents of the tensors.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) q_blocks: usize,
    pub(super) rows: Vec<Vec<i64>>,
}
