//! Lists against brute force.

mod classes;
mod expression;
mod import;
mod transposed;

use std::ops::Range;

use super::{BlockClass, BlockGrid, BlockMask, Classify};
use crate::expr::Sizes;

/// An element test for one list.
type Element = dyn Fn(usize, usize) -> bool + Sync;

fn sizes(q_len: usize, kv_len: usize) -> Sizes {
    Sizes { batch: 1, q_heads: 1, kv_heads: 1, q_len, kv_len }
}

/// `-right <= q + nk - nq - k <= left`, exactly classified.
struct Band {
    sizes: Sizes,
    left: i64,
    right: i64,
}

fn signed(position: usize) -> i64 {
    i64::try_from(position).unwrap()
}

impl Band {
    fn visible(&self, q: usize, k: usize) -> bool {
        let d = signed(q) + signed(self.sizes.kv_len) - signed(self.sizes.q_len) - signed(k);
        (-self.right..=self.left).contains(&d)
    }
}

impl Classify for Band {
    fn class(
        &self,
        _: Range<usize>,
        _: Range<usize>,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> BlockClass {
        let shift = signed(self.sizes.kv_len) - signed(self.sizes.q_len);
        let min = signed(queries.start) + shift - signed(keys.end - 1);
        let max = signed(queries.end - 1) + shift - signed(keys.start);
        if max < -self.right || min > self.left {
            BlockClass::Empty
        } else if -self.right <= min && max <= self.left {
            BlockClass::Full
        } else {
            BlockClass::Partial
        }
    }
}

/// The lists by looking at every element.
fn brute(grid: BlockGrid, element: &super::ElementTest<'_>) -> Vec<u8> {
    let mut map = Vec::new();
    for row in 0..grid.rows() {
        let (b, h, q_block) = grid.place(row);
        for kv_block in 0..grid.kv_blocks() {
            let keys = grid.keys(kv_block..kv_block + 1);
            let seen: Vec<bool> = grid
                .queries(q_block..q_block + 1)
                .flat_map(|q| keys.clone().map(move |k| (q, k)))
                .map(|(q, k)| element(b, h, q, k))
                .collect();
            map.push(match (seen.iter().any(|&seen| seen), seen.iter().all(|&seen| seen)) {
                (false, _) => 0,
                (true, true) => 1,
                (true, false) => 2,
            });
        }
    }
    map
}

/// Fails unless the mask keeps its promises about its own form.
fn check_form(mask: &BlockMask) {
    let grid = mask.grid();
    assert_eq!(mask.row_ptr().len(), grid.rows() + 1);
    assert_eq!(mask.row_ptr()[0], 0);
    assert_eq!(*mask.row_ptr().last().unwrap() as usize, mask.index().len());
    for row in 0..grid.rows() {
        let (partial, full) = mask.row(row);
        assert_eq!(partial.len(), mask.partial()[row] as usize);
        assert_eq!(partial.len() + full.len(), (mask.row_ptr()[row + 1] - mask.row_ptr()[row]) as usize);
        for blocks in [partial, full] {
            assert!(
                blocks.is_sorted_by(|a, b| a < b) && blocks.iter().all(|&b| (b as usize) < grid.kv_blocks())
            );
        }
        assert!(full.iter().all(|block| !partial.contains(block)));
    }
    if let Some(bits) = mask.bits() {
        assert_eq!(bits.len(), *mask.partial_ptr().last().unwrap() as usize * grid.block_words());
    }
}

/// Fails unless the mask shows exactly what `element` says; `asked` is what its own test is answered.
fn check_visible(mask: &BlockMask, asked: &super::ElementTest<'_>, element: &super::ElementTest<'_>) {
    let grid = mask.grid();
    for b in 0..grid.batch {
        for h in 0..grid.heads {
            for q in 0..grid.q_len {
                for k in 0..grid.kv_len {
                    let got = mask.is_visible(b, h, q, k, asked);
                    assert_eq!(got, element(b, h, q, k), "b {b} h {h} q {q} k {k} of {grid:?}");
                }
            }
        }
    }
}

/// Lists with any class for any block, for `lists` = (batch, heads).
fn arbitrary(random: &mut fastrand::Rng, lists: (usize, usize)) -> BlockMask {
    let (q_block, kv_block) = (random.usize(16..40), random.usize(16..40));
    let grid =
        BlockGrid::new(random.usize(1..150), random.usize(1..150), q_block, kv_block).per(lists.0, lists.1);
    let map: Vec<u8> = (0..grid.rows() * grid.kv_blocks()).map(|_| random.u8(0..3)).collect();
    BlockMask::from_dense_blocks(grid, &map).unwrap()
}

/// An element test without any structure.
fn noise(seed: u64) -> impl Fn(usize, usize, usize, usize) -> bool + Sync {
    move |b, h, q, k| {
        let mixed = [b, h, q, k]
            .into_iter()
            .fold(seed, |x, y| (x ^ y as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
        mixed % 4 != 0
    }
}

#[test]
fn visited_counts_the_existing_elements_of_listed_blocks() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..50 {
        let mask = arbitrary(&mut random, (2, 3));
        let everything = |_, _, _, _| true;
        let mut expected = 0;
        for row in 0..mask.grid().rows() {
            let (b, h, q_block) = mask.grid().place(row);
            for q in mask.grid().queries(q_block..q_block + 1) {
                expected += (0..mask.kv_len()).filter(|&k| mask.is_visible(b, h, q, k, everything)).count();
            }
        }
        assert_eq!(mask.visited(), expected as u64);
        let share = expected as f64 / (6 * mask.q_len() * mask.kv_len()) as f64;
        assert!((mask.density() - share).abs() < 1e-12);
        let counts = mask.counts();
        let map = mask.to_dense_blocks();
        let of = |kind: u8| map.iter().filter(|&&byte| byte == kind).count() as u64;
        assert_eq!((counts.empty, counts.full, counts.partial), (of(0), of(1), of(2)));
    }
}

#[test]
fn text_shows_blocks_and_says_what_a_character_is() {
    let grid = BlockGrid::new(100, 130, 32, 32);
    let mask =
        BlockMask::from_lists(grid, &[vec![0], vec![0, 1], vec![2], vec![]], super::Listed::Full).unwrap();
    assert_eq!(
        mask.ascii(0, 0, 80).unwrap(),
        "#....\n##...\n..#..\n.....\na character is a block of 32 queries x 32 keys\n"
    );
    assert_eq!(
        mask.ascii(3, 7, 4).unwrap(),
        "+..\n.+.\na character is 2 x 2 blocks of 32 queries x 32 keys\n"
    );
    let small = BlockMask::from_classes(
        sizes(3, 4),
        2,
        2,
        false,
        false,
        &Band { sizes: sizes(3, 4), left: 1, right: 0 },
    )
    .unwrap();
    let band = Band { sizes: sizes(3, 4), left: 1, right: 0 };
    assert_eq!(small.ascii_elements(0, 0, |_, _, q, k| band.visible(q, k)).unwrap(), "##..\n.##.\n..##\n");
    let two = BlockMask::random(BlockGrid::new(64, 64, 32, 32).per(1, 2), 1.0, 1).unwrap();
    assert!(two.ascii(0, 2, 80).unwrap_err().to_string().contains("expected 0 to 1, got 2"));
}

#[test]
fn random_rows_hold_the_same_number_of_blocks() {
    let grid = BlockGrid::new(640, 640, 64, 64).per(2, 2);
    for (density, expected) in [(0.0, 0), (0.01, 1), (0.25, 3), (0.5, 5), (1.0, 10)] {
        let mask = BlockMask::random(grid, density, 7).unwrap();
        check_form(&mask);
        assert!((0..grid.rows()).all(|row| mask.row(row).1.len() == expected), "{density}");
        assert_eq!(mask, BlockMask::random(grid, density, 7).unwrap());
    }
    assert_ne!(BlockMask::random(grid, 0.5, 7).unwrap(), BlockMask::random(grid, 0.5, 8).unwrap());
    for density in [-0.1, 1.1, f64::NAN] {
        assert!(BlockMask::random(grid, density, 7).unwrap_err().to_string().contains("0 to 1"));
    }
}

#[test]
fn big_bird_has_its_three_parts() {
    let grid = BlockGrid::new(20 * 64, 20 * 64, 64, 64);
    let mask = BlockMask::big_bird(grid, 3, 2, 3, 11).unwrap();
    check_form(&mask);
    for q_block in 0..20usize {
        let full = mask.row(q_block).1;
        let sees = |block: usize| full.contains(&u32::try_from(block).unwrap());
        assert!(sees(0) && sees(1) && (q_block.saturating_sub(1)..=(q_block + 1).min(19)).all(sees));
        let expected = match q_block {
            0 | 1 => 20,
            2 => 2 + 2 + 3,
            19 => 2 + 2 + 3,
            _ => 2 + 3 + 3,
        };
        assert_eq!(full.len(), expected, "{q_block}");
    }
    let everything = BlockMask::big_bird(grid, 3, 2, 99, 11).unwrap();
    assert_eq!(everything.counts().full, 400);
}

#[test]
fn sizes_of_made_up_lists_are_checked_before_any_is_made() {
    let grid = BlockGrid::new(20 * 64, 20 * 64, 64, 64);
    let many = 1_000_000_000_000;
    // More than there are is as many as there are.
    for counts in [[3, 2, many], [many, 2, 3], [3, many, 3], [usize::MAX; 3]] {
        let [window, global, random] = counts;
        let mask = BlockMask::big_bird(grid, window, global, random, 11).unwrap();
        check_form(&mask);
        assert_eq!(mask.counts().full, 400, "{counts:?}");
    }
    // 2^17 rows of 2^17 blocks, and as many lists as can be counted.
    let wide = BlockGrid::new(1 << 23, 1 << 23, 64, 64);
    let lists = grid.per(usize::MAX, 3);
    // 14 million rows of 20 are counted, but not listed.
    let many = grid.per(700_000, 1);
    for made in [
        BlockMask::random(wide, 0.001, 1),
        BlockMask::big_bird(wide, 1, 0, 0, 1),
        BlockMask::random(many, 1.0, 1),
        BlockMask::big_bird(many, 1, 20, 0, 1),
        BlockMask::random(lists, 0.5, 1),
        BlockMask::from_lists(lists, &[], super::Listed::Full),
        BlockMask::from_dense_blocks(grid.per(1 << 30, 1 << 30), &[]),
    ] {
        // Not `unwrap_err`, which would print the lists.
        assert!(made.is_err_and(|error| error.kind() == crate::ErrorKind::Invalid));
    }
    assert_eq!(lists.rows(), usize::MAX);
}

#[test]
fn made_up_lists_become_tested_ones() {
    let grid = BlockGrid::new(20 * 64, 17 * 64, 64, 64);
    let mask = BlockMask::random(grid, 0.3, 7).unwrap();
    let map: Vec<u8> = mask.to_dense_blocks().into_iter().map(|class| 2 * class).collect();
    assert_eq!(mask.all_tested(), BlockMask::from_dense_blocks(grid, &map).unwrap());
}
