//! Lists made up for measurements. All blocks are full.

use super::{BlockGrid, BlockMask, Row, Test, to_u32};
use crate::Error;

impl BlockMask {
    /// Key blocks chosen at random, the same number in every row: `density` (0 to 1) of them, rounded, at least one unless
    /// `density` is 0. The same seed gives the same lists.
    ///
    /// # Errors
    /// If a size is 0 or beyond i32, or `density` is not within 0 to 1.
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
        let mut random = fastrand::Rng::with_seed(seed);
        let rows: Vec<Row> = (0..grid.rows())
            .map(|_| {
                let mut full = random.choose_multiple(0..to_u32(wide), count);
                full.sort_unstable();
                Row { full, ..Row::default() }
            })
            .collect();
        Self::assemble(grid, &rows, None, Test::Element)
    }

    /// The pattern of Zaheer et al. 2020, Big Bird, section 2: `window_blocks` around the diagonal (aligned at the last blocks),
    /// the first `global_blocks` seen by all and seeing all, and `random_blocks` more in every other row, or as many as there
    /// are. The same seed gives the same lists.
    ///
    /// # Errors
    /// If a size is 0 or beyond i32.
    pub fn big_bird(
        grid: BlockGrid,
        window_blocks: usize,
        global_blocks: usize,
        random_blocks: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        grid.check()?;
        let wide = grid.kv_blocks();
        let mut random = fastrand::Rng::with_seed(seed);
        let row = |row: usize| {
            let (_, _, q_block) = grid.place(row);
            if q_block < global_blocks {
                return Row { full: (0..to_u32(wide)).collect(), ..Row::default() };
            }
            let centre = (q_block + wide).saturating_sub(grid.q_blocks());
            // Of an even number the one more lies before the diagonal.
            let window = centre.saturating_sub(window_blocks / 2)..centre + window_blocks.div_ceil(2);
            let (mut full, rest): (Vec<u32>, Vec<u32>) = (0..to_u32(wide))
                .partition(|&block| (block as usize) < global_blocks || window.contains(&(block as usize)));
            full.extend(random.choose_multiple(rest, random_blocks));
            full.sort_unstable();
            Row { full, ..Row::default() }
        };
        let rows: Vec<Row> = (0..grid.rows()).map(row).collect();
        Self::assemble(grid, &rows, None, Test::Element)
    }
}
