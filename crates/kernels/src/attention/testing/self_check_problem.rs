//! A small problem that runs with the shaders of a large one.

use crate::{
    attention::{
        Attention, Pages, Quantised, Strides, TableInput, layout::Tensor, plan::mask_program::MaskProgram,
    },
    block_mask::{BlockGrid, BlockMask, Test},
    expr::sizes_needed,
};
use std::sync::Arc;

/// Keys of a block, at most, of all variants.
const LARGEST_BLOCK: usize = 256;

impl Attention {
    /// A small problem with the same shaders: what a variant proves itself with.
    pub(crate) fn self_check_problem(&self) -> Self {
        // More than one tile of most variants, an uneven rest, more keys than queries; if tables or masks have no sense at
        // those sizes, none that exceeds the problem's own; and at last the problem itself.
        let prefix = self.small_prefix();
        let own = (self.q_len.min(133), prefix + (self.kv_len - self.shared_prefix).min(141));
        let equal = own.0.min(own.1);
        let reordered = MaskProgram::new(self).is_ok_and(|visibility| visibility.token_order().is_some());
        // An order of places holds for queries and keys alike.
        let first = if reordered { (141, 141) } else { (133, prefix + 141) };
        let lengths = match self.kv_len {
            // Those run another kernel.
            0 => [(133, 0), own, own],
            _ => [first, own, (equal, equal)],
        };
        let small = lengths.into_iter().find_map(|(q_len, kv_len)| self.shrunk(q_len, kv_len));
        small.unwrap_or_else(|| Self {
            odd_values: true,
            specialized_for: Some(Arc::new(self.specialized().clone())),
            ..self.clone()
        })
    }

    /// Keys of a prefix that is visited as this one is, if it is visited by itself: no variant has larger blocks.
    fn small_prefix(&self) -> usize {
        let page = self.pages.as_ref().map_or(1, |pages| pages.page.max(1));
        self.shared_prefix.min(LARGEST_BLOCK.next_multiple_of(page))
    }

    fn shrunk(&self, q_len: usize, kv_len: usize) -> Option<Self> {
        let packed = self.pack_gqa() > 1;
        let q_len = if packed { self.q_len.clamp(1, 5) } else { q_len.max(1) };
        let kv_heads = if packed { 1 } else { 2 };
        let q_heads = if packed { self.group() } else { 2 };
        let packed_sequences = self.cu_seqlens_q.is_some() || self.cu_seqlens_k.is_some();
        let entries_differ = packed_sequences || self.pages.is_some() || self.shared_prefix > 0;
        let batch = if entries_differ { 3 } else { 1 };
        let pages = self.pages.as_ref().map(|pages| Pages {
            // One page more than are used.
            count: batch * kv_len.div_ceil(pages.page) + 1,
            ..pages.clone()
        });
        let kv_len = pages.as_ref().map_or(kv_len, |pages| kv_len.next_multiple_of(pages.page));
        let mut small = Self {
            batch,
            pages,
            quantised: self.quantised.clone().map(|quantised| Quantised { blocks: None, ..quantised }),
            q_heads,
            kv_heads,
            q_len,
            kv_len,
            shared_prefix: self.small_prefix(),
            q_strides: None,
            k_strides: None,
            v_strides: None,
            o_strides: None,
            odd_values: true,
            specialized_for: Some(Arc::new(self.specialized().clone())),
            ..self.clone()
        };
        if small.aligned() && !self.aligned() {
            // Uneven strides are what keeps the original from loading vectors.
            let position = self.head_dim + 1;
            let head = position * q_len;
            small.q_strides = Some(Strides { batch: head * q_heads, head, position });
            debug_assert!(!small.aligned(), "{:?}", small.strides(Tensor::Q));
        }
        small.tables = small.tables_at(self)?;
        if let Some(listed) = self.device_blocks() {
            let heads = if listed.heads > 1 { small.q_heads } else { 1 };
            let blocks = kv_len.div_ceil(listed.kv_block).max(1);
            let mut fewer = listed.clone().per(1, heads);
            fewer.max_blocks = listed.max_blocks.min(blocks);
            small.sparsity = fewer.into();
        }
        if let Some(blocks) = self.host_blocks() {
            small.sparsity = small.blocks_like(blocks)?.into();
        }
        small.validate().ok()?;
        Some(small)
    }

    /// The tables of `large`, with the sizes that this problem's indices ask for.
    fn tables_at(&self, large: &Self) -> Option<Vec<TableInput>> {
        let visibility = large.programs().ok()?;
        let mut tables = large.tables.clone();
        let mut grown: Vec<(usize, usize, usize)> = Vec::new();
        for program in visibility.mask.iter().chain(&visibility.score) {
            grown.extend(sizes_needed(program, self.expr_sizes())?);
        }
        for &(table, dimension, _) in &grown {
            let uses = grown.iter().filter(|(t, d, _)| (*t, *d) == (table, dimension));
            let size = uses.map(|&(_, _, size)| size).max()?;
            *tables.get_mut(table)?.table.shape.get_mut(dimension)? = size;
        }
        Some(tables)
    }

    /// Lists of blocks like these, at this problem's sizes: some blocks of every kind.
    fn blocks_like(&self, blocks: &BlockMask) -> Option<BlockMask> {
        let heads = if blocks.heads() > 1 { self.q_heads } else { 1 };
        let grid = BlockGrid::new(self.q_len, self.kv_len, blocks.q_block(), blocks.kv_block()).per(1, heads);
        let width = grid.kv_blocks().max(1);
        #[expect(clippy::cast_possible_truncation, reason = "a remainder by 3")]
        let class = |at: usize| ((at / width + at % width) % 3) as u8;
        // Full blocks hold only what an expression shows, so beside one all are partial.
        let class = |at: usize| {
            if class(at) == 1 && self.effective_mask().expression().is_some() { 2 } else { class(at) }
        };
        let map: Vec<u8> = (0..grid.rows() * width).map(class).collect();
        let lists = BlockMask::from_dense_blocks(grid, &map).ok()?;
        match blocks.test() {
            Test::Element => Some(lists),
            Test::Bits | Test::Both => lists.with_bits(&|_, h, q, k| (h + q + 2 * k) % 3 != 0).ok(),
        }
    }
}
