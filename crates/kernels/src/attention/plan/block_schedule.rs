//! Lists of blocks as the kernels read them: `shaders/attention/blocks.wgsl` says what lies where.

use std::sync::Arc;

use super::{
    mask_program::MaskProgram, partition::Partition, tile_scheduler::TileScheduler, token_order::TokenOrder,
};
use crate::{
    Limits, Scratch,
    attention::{Attention, DeviceBlockMask},
    block_mask::BlockMask,
    expr::Variable,
};

/// Which blocks tiles visit, laid out in one buffer of words.
#[derive(Debug)]
pub(crate) struct BlockSchedule {
    /// Where the parts lie, and how many lists there are.
    pub(crate) layout: Layout,
    /// The number of entries of each list, where the plan knows it.
    lengths: Option<Vec<u32>>,
    /// The words, where the plan knows them: to be followed by the orders of work.
    words: Vec<u32>,
    /// Words that passes write.
    device_words: usize,
}

/// Where the parts of the lists lie, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whether positions are taken in an order of their own, and where it is.
    pub(crate) reordered: bool,
    pub(crate) positions_at: usize,
    /// Tiles, heads (of key/value heads if heads are folded) and batch entries that have a list of their own.
    pub(crate) tiles: usize,
    pub(crate) heads: usize,
    pub(crate) batch: usize,
    pub(crate) kv_blocks: usize,
    pub(crate) order_at: usize,
    pub(crate) first_at: usize,
    pub(crate) partial_at: usize,
    pub(crate) count_at: usize,
    pub(crate) bits_of_at: usize,
    pub(crate) entries_at: usize,
    /// Of the device's lists only.
    pub(crate) classes_at: usize,
    pub(crate) bits_at: usize,
    /// Words of a block's bits; 0 if there are none.
    pub(crate) block_words: usize,
}

impl Layout {
    pub(crate) fn count(&self) -> usize {
        self.tiles * self.heads * self.batch
    }
}

/// Some lists that one dispatch works off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where the order of work begins.
    pub(crate) order_at: usize,
    /// How many.
    pub(crate) count: usize,
}

impl BlockSchedule {
    /// The lists of a mask, with bits if `bits`: elements that no bit speaks of are left to the expression.
    pub(crate) fn on_host(mask: &BlockMask, bits: bool, token_order: Option<&TokenOrder>) -> Self {
        let grid = mask.grid();
        let lists = grid.rows();
        let block_words = if bits { grid.block_words() } else { 0 };
        let first_at = 0;
        let partial_at = first_at + lists;
        let count_at = partial_at + lists;
        let bits_of_at = count_at + lists;
        let entries_at = bits_of_at + lists;
        let bits_at = entries_at + mask.index().len();
        let lengths: Vec<u32> = mask.row_ptr().windows(2).map(|row| row[1] - row[0]).collect();
        let mut words = Vec::with_capacity(bits_at + block_words);
        words.extend(&mask.row_ptr()[..lists]);
        words.extend(mask.partial());
        words.extend(&lengths);
        words.extend(&mask.partial_ptr()[..lists]);
        words.extend(mask.index());
        if bits {
            match mask.bits() {
                Some(bits) => words.extend(bits),
                None => {
                    let blocks = mask.partial_ptr().last().map_or(0, |&blocks| blocks as usize);
                    words.resize(words.len() + blocks * block_words, u32::MAX);
                }
            }
            // Kernels without branches also look at the bits of blocks that have none.
            words.resize(words.len() + block_words, u32::MAX);
        }
        let positions_at = words.len();
        words.extend(token_order.into_iter().flat_map(|token_order| &token_order.positions));
        let layout = Layout {
            reordered: token_order.is_some(),
            positions_at,
            tiles: grid.q_blocks(),
            heads: grid.heads,
            batch: grid.batch,
            kv_blocks: grid.kv_blocks(),
            order_at: words.len(),
            first_at,
            partial_at,
            count_at,
            bits_of_at,
            entries_at,
            classes_at: 0,
            bits_at,
            block_words,
        };
        Self { layout, lengths: Some(lengths), words, device_words: 0 }
    }

    /// Room for the lists that the device makes, and for bits unless they would take more than a binding holds. `None` if
    /// even the lists do.
    pub(crate) fn on_device(
        spec: &Attention,
        visibility: &MaskProgram<'_>,
        tile_rows: usize,
        kv_block: usize,
        limits: &Limits,
    ) -> Option<Self> {
        let per = |variables: &[Variable], count: usize| {
            if variables.iter().any(|&variable| visibility.mask_depends_on(variable)) { count } else { 1 }
        };
        let of_lengths = visibility.mask.as_ref().is_some_and(|mask| mask.depends_on_lengths(visibility.own));
        let batch = if of_lengths { spec.batch } else { per(&[Variable::Batch], spec.batch) };
        let heads = per(&[Variable::Head, Variable::KvHead], spec.q_heads);
        let (tiles, kv_blocks) = (spec.q_len.div_ceil(tile_rows), spec.kv_len.div_ceil(kv_block));
        let lists = tiles.checked_mul(heads)?.checked_mul(batch)?;
        let entries = lists.checked_mul(kv_blocks)?;
        let classes_at = lists.checked_mul(5)?;
        let entries_at = classes_at.checked_add(entries)?;
        let bits_at = entries_at.checked_add(entries)?;
        let block_words = tile_rows * kv_block / 32;
        let largest = usize::try_from(limits.max_storage_buffer_binding_size / 4).unwrap_or(usize::MAX);
        let with_bits = bits_at.checked_add((entries + 1).checked_mul(block_words)?)?;
        let (device_words, block_words) =
            if with_bits <= largest.min(MAX_DEVICE_WORDS) { (with_bits, block_words) } else { (bits_at, 0) };
        if device_words > largest {
            return None;
        }
        let layout = Layout {
            reordered: false,
            positions_at: 0,
            tiles,
            heads,
            batch,
            kv_blocks,
            order_at: 0,
            first_at: lists,
            partial_at: 2 * lists,
            count_at: 3 * lists,
            bits_of_at: 4 * lists,
            classes_at,
            entries_at,
            bits_at,
            block_words,
        };
        Some(Self { layout, lengths: None, words: Vec::new(), device_words })
    }

    /// Room for lists of the caller's, cut for tiles of so many rows and blocks of so many keys.
    pub(crate) fn given(
        spec: &Attention,
        listed: &DeviceBlockMask,
        tile_rows: usize,
        kv_block: usize,
    ) -> Option<Self> {
        let tiles = spec.q_len.div_ceil(tile_rows);
        let room = listed.max_blocks.checked_mul(listed.kv_block / kv_block)?;
        let lists = tiles.checked_mul(listed.heads)?.checked_mul(listed.batch)?;
        let entries_at = lists.checked_mul(5)?;
        let device_words = entries_at.checked_add(lists.checked_mul(room)?)?;
        let layout = Layout {
            reordered: false,
            positions_at: 0,
            tiles,
            heads: listed.heads,
            batch: listed.batch,
            kv_blocks: room,
            order_at: 0,
            first_at: lists,
            partial_at: 2 * lists,
            count_at: 3 * lists,
            bits_of_at: 4 * lists,
            classes_at: entries_at,
            entries_at,
            bits_at: device_words,
            block_words: 0,
        };
        Some(Self { layout, lengths: None, words: Vec::new(), device_words })
    }

    /// The most entries that a list has, as far as is known.
    pub(crate) fn longest(&self) -> usize {
        let longest = self.lengths.as_ref().and_then(|lengths| lengths.iter().max());
        longest.map_or(self.layout.kv_blocks, |&longest| longest as usize)
    }

    /// The same without bits, if the other has none.
    pub(crate) fn with_bits_as(mut self, other: &Self) -> Self {
        if other.layout.block_words == 0 {
            self.layout.block_words = 0;
            self.device_words = self.layout.bits_at;
        }
        self
    }

    /// The lists in words, for plans.
    pub(crate) fn describe(&self) -> String {
        let Layout { tiles, heads, batch, kv_blocks, block_words, .. } = self.layout;
        let bits = if block_words > 0 { ", with element bits" } else { "" };
        let order = if self.layout.reordered { ", places in patches of the raster" } else { "" };
        let Some(lengths) = &self.lengths else {
            return format!("made on the device, {} of up to {kv_blocks}{bits}", tiles * heads * batch);
        };
        let visited: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        let partial: u64 =
            self.words[self.layout.partial_at..self.layout.count_at].iter().copied().map(u64::from).sum();
        let all = lengths.len() as u64 * kv_blocks as u64;
        format!("{visited} of {all} visited, {partial} of them partly visible{bits}{order}")
    }

    /// Whether the device makes them.
    pub(crate) fn made_by_device(&self) -> bool {
        self.lengths.is_none()
    }

    /// The dispatches that work off the lists of a partition, each at most `most` of them, in this order where lengths
    /// are known.
    pub(crate) fn runs(
        &mut self,
        partition: &Partition,
        tile_rows: usize,
        max: usize,
        order: TileScheduler,
    ) -> Vec<Run> {
        let layout = self.layout;
        let range = |each: usize, (from, to): (usize, usize)| if each > 1 { from..to } else { 0..1 };
        let tiles = partition.rows.0 / tile_rows..partition.rows.1.div_ceil(tile_rows);
        let mut lists = Vec::new();
        for batch in range(layout.batch, partition.batch) {
            for head in range(layout.heads, partition.heads) {
                let first = (batch * layout.heads + head) * layout.tiles;
                lists.extend(tiles.clone().map(|tile| first + tile));
            }
        }
        let mut runs = Vec::new();
        if let Some(lengths) = &self.lengths {
            // Roughly: among lists of like length those of one head stay together, which share its keys in the caches.
            let longest = lists.iter().map(|&list| lengths[list]).max().unwrap_or(0).max(1);
            let eighths = |list: usize| (8 * u64::from(lengths[list])).div_ceil(u64::from(longest));
            lists.sort_by_key(|&list| (std::cmp::Reverse(eighths(list)), list));
            for part in order.arrange(lists).chunks(max) {
                runs.push(Run { order_at: self.words.len(), count: part.len() });
                #[expect(clippy::cast_possible_truncation, reason = "block masks have fewer than 2^32 rows")]
                self.words.extend(part.iter().map(|&list| list as u32));
            }
        } else {
            // The device's order is that of the lists: neighbours make a run.
            for part in lists.chunk_by(|a, b| a + 1 == *b).flat_map(|neighbours| neighbours.chunks(max)) {
                runs.push(Run { order_at: layout.order_at + part[0], count: part.len() });
            }
        }
        runs
    }

    /// The buffer, once all runs are known.
    pub(crate) fn into_scratch(self) -> Scratch {
        let bytes = 4 * self.words.len().max(self.device_words) as u64;
        let contents = (!self.made_by_device()).then(|| Arc::from(self.words));
        Scratch { name: "foveal.attention.lists", bytes, contents }
    }

    /// Its size as things stand.
    pub(crate) fn size_bytes(&self) -> u64 {
        4 * self.words.len().max(self.device_words) as u64
    }
}

/// More than this (256 MiB) is too much for what saves a kernel some work.
const MAX_DEVICE_WORDS: usize = 64 << 20;
