//! How much of a problem lists visit and show.

use std::ops::Range;

use super::{BlockGrid, BlockMask, Test};

impl BlockMask {
    /// The share of all elements that lies in the blocks which tiles of `q_block` x `kv_block` visit, if they visit every tile
    /// that meets a listed block.
    #[must_use]
    pub fn visited_by(&self, q_block: usize, kv_block: usize) -> f64 {
        let grid = self.grid;
        let (q_block, kv_block) = (q_block.max(1), kv_block.max(1));
        let tall = grid.q_len.div_ceil(q_block);
        let wide = grid.kv_len.div_ceil(kv_block);
        let lists = grid.batch * grid.heads;
        if tall * wide * lists == 0 {
            return 0.0;
        }
        let mut met = vec![false; wide];
        let mut visited = 0u64;
        for list in 0..lists {
            for tile in 0..tall {
                met.fill(false);
                let queries = tile * q_block..((tile + 1) * q_block).min(grid.q_len);
                let rows = queries.start / grid.q_block..(queries.end - 1) / grid.q_block + 1;
                for row in rows {
                    let (partial, full) = self.row(list * grid.q_blocks() + row);
                    for &block in partial.iter().chain(full) {
                        let keys = grid.keys(block as usize..block as usize + 1);
                        met[keys.start / kv_block..(keys.end - 1) / kv_block + 1].fill(true);
                    }
                }
                for (block, _) in met.iter().enumerate().filter(|(_, met)| **met) {
                    let keys = ((block + 1) * kv_block).min(grid.kv_len) - block * kv_block;
                    visited += (queries.len() * keys) as u64;
                }
            }
        }
        share(visited, lists as u64 * grid.q_len as u64 * grid.kv_len as u64)
    }

    /// The share of all elements that is visible, by the bits alone; `None` if there are none or an element test counts too.
    #[must_use]
    pub fn visible_share_of_bits(&self) -> Option<f64> {
        let bits = self.bits().filter(|_| self.test == Test::Bits)?;
        let grid = self.grid;
        let mut seen: u64 = bits.iter().map(|word| u64::from(word.count_ones())).sum();
        for number in 0..grid.rows() {
            let (_, _, q_block) = grid.place(number);
            seen += self.row(number).1.iter().map(|&block| grid.area(q_block, block as usize)).sum::<u64>();
        }
        Some(share(seen, elements(&grid)))
    }

    /// The share of all elements that is visible: full blocks whole, of partial ones what their bits or, for about `samples`
    /// elements, `element(b, h, q, k)` say. Of lists that are shared, entry and head 0 are asked about.
    #[must_use]
    pub fn visible_density(
        &self,
        samples: usize,
        element: &mut dyn FnMut(usize, usize, usize, usize) -> bool,
    ) -> f64 {
        let grid = self.grid;
        let (mut whole, mut tested) = (0u64, 0u64);
        let mut partial_blocks = Vec::new();
        for number in 0..grid.rows() {
            let (batch, head, q_block) = grid.place(number);
            let (partial, full) = self.row(number);
            whole += full.iter().map(|&block| grid.area(q_block, block as usize)).sum::<u64>();
            for &block in partial {
                tested += grid.area(q_block, block as usize);
                partial_blocks.push((batch, head, q_block, block as usize));
            }
        }
        // The same elements every time, so that the figure does not change from call to call.
        let mut random = fastrand::Rng::with_seed(1);
        let mut one = |range: Range<usize>| random.usize(range);
        let (mut seen, mut asked) = (0u64, 0u64);
        if self.test != Test::Element || tested > 0 {
            for _ in 0..if partial_blocks.is_empty() { 0 } else { samples } {
                let (batch, head, q_block, kv_block) = partial_blocks[one(0..partial_blocks.len())];
                let query = one(grid.queries(q_block..q_block + 1));
                let key = one(grid.keys(kv_block..kv_block + 1));
                asked += 1;
                seen += u64::from(self.is_visible(batch, head, query, key, &mut *element));
            }
        }
        let of_tested = if asked == 0 { 1.0 } else { share(seen, asked) };
        let all = elements(&grid);
        share(whole, all) + share(tested, all) * of_tested
    }
}

/// Elements of all lists: more than addresses count where those have 32 bits.
fn elements(grid: &BlockGrid) -> u64 {
    grid.batch as u64 * grid.heads as u64 * grid.q_len as u64 * grid.kv_len as u64
}

#[expect(clippy::cast_precision_loss, reason = "a share needs few digits")]
fn share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}
