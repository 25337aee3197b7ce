//! Lists made up for measurements. All blocks are full.

use super::{BlockGrid, BlockMask, BlockRow, MAX_BLOCKS, Test, to_u32, too_many_blocks};
use crate::Error;

impl BlockMask {
    /// Key blocks chosen at random, the same number in every row: `density` (0 to 1) of them, rounded, at least one unless
    /// `density` is 0. The same seed gives the same lists.
    ///
    /// # Errors
    /// If a size is 0 or beyond i32, `density` is not within 0 to 1, more than 2^28 blocks would be listed, or there are
    /// more than 2^32 to draw from.
    pub fn random(grid: BlockGrid, density: f64, seed: u64) -> Result<Self, Error> {
        grid.check()?;
        if !(0.0..=1.0).contains(&density) {
            return Err(Error::invalid("density", format!("expected 0 to 1, got {density}")));
        }
        let wide = grid.kv_blocks();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count"
        )]
        let count = ((density * wide as f64).round() as usize).clamp(usize::from(density > 0.0), wide);
        drawable(&grid)?;
        if grid.rows().saturating_mul(count) > MAX_BLOCKS {
            return Err(too_many_blocks(&grid));
        }
        let mut random = fastrand::Rng::with_seed(seed);
        let rows: Vec<BlockRow> = (0..grid.rows())
            .map(|_| {
                let mut full = random.choose_multiple(0..to_u32(wide), count);
                full.sort_unstable();
                BlockRow { full, ..BlockRow::default() }
            })
            .collect();
        Self::assemble(grid, &rows, None, Test::Element)
    }

    /// The pattern of Zaheer et al. 2020, Big Bird, section 2: `window_blocks` around the diagonal (aligned at the last blocks),
    /// the first `global_blocks` seen by all and seeing all, and `random_blocks` more in every other row, or as many as there
    /// are. The same seed gives the same lists.
    ///
    /// # Errors
    /// If a size is 0 or beyond i32, more than 2^28 blocks would be listed, or there are more than 2^32 to draw from.
    pub fn big_bird(
        grid: BlockGrid,
        window_blocks: usize,
        global_blocks: usize,
        random_blocks: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        grid.check()?;
        let wide = grid.kv_blocks();
        drawable(&grid)?;
        // The rows that see all there are known before any is made.
        let whole = (grid.batch * grid.heads).saturating_mul(global_blocks.min(grid.q_blocks()));
        if whole.saturating_mul(wide) > MAX_BLOCKS {
            return Err(too_many_blocks(&grid));
        }
        let mut random = fastrand::Rng::with_seed(seed);
        let row_of = |row: usize| {
            let (_, _, q_block) = grid.place(row);
            if q_block < global_blocks {
                return BlockRow { full: (0..to_u32(wide)).collect(), ..BlockRow::default() };
            }
            let centre = (q_block + wide).saturating_sub(grid.q_blocks());
            // Of an even number the one more lies before the diagonal.
            let window =
                centre.saturating_sub(window_blocks / 2)..centre.saturating_add(window_blocks.div_ceil(2));
            let (mut full, rest): (Vec<u32>, Vec<u32>) = (0..to_u32(wide))
                .partition(|&block| (block as usize) < global_blocks || window.contains(&(block as usize)));
            // Room is made for as many as are asked for, so no more than there are.
            let some = random_blocks.min(rest.len());
            full.extend(random.choose_multiple(rest, some));
            full.sort_unstable();
            BlockRow { full, ..BlockRow::default() }
        };
        let (mut row, mut rows, mut listed) = (row_of, Vec::new(), 0usize);
        for number in 0..grid.rows() {
            let row: BlockRow = row(number);
            listed += row.full.len();
            if listed > MAX_BLOCKS {
                return Err(too_many_blocks(&grid));
            }
            rows.push(row);
        }
        Self::assemble(grid, &rows, None, Test::Element)
    }

    /// The same lists with every block partial, its elements subject to the element test. Without bits only, as made-up lists
    /// are.
    #[must_use]
    pub(crate) fn all_tested(&self) -> Self {
        let partial = self.row_ptr.windows(2).map(|pair| pair[1] - pair[0]).collect();
        Self { partial, partial_ptr: self.row_ptr.clone(), test: Test::Element, bits: None, ..self.clone() }
    }
}

/// Every row is drawn from all its blocks: more of them than this would take minutes.
const MAX_DRAWN: u64 = 1 << 32;

/// Checks that lists for this grid can be drawn in a bounded time, before any is.
fn drawable(grid: &BlockGrid) -> Result<(), Error> {
    let (rows, wide) = (grid.rows(), grid.kv_blocks());
    if (rows as u64).saturating_mul(wide as u64) <= MAX_DRAWN {
        return Ok(());
    }
    let message = format!(
        "expected at most {MAX_DRAWN} blocks to draw from, got {rows} rows of {wide}: take larger blocks"
    );
    Err(Error::invalid("block_mask", message))
}
