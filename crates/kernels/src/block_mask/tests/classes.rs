//! Lists from classes, and the exact pass.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    super::{BlockClass, BlockGrid, BlockMask, Classify, Test},
    Band, Element, arbitrary, brute, check_form, check_visible, sizes,
};
use crate::expr::Sizes;

#[test]
fn classes_of_bands_are_those_of_their_elements() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let sizes = sizes(random.usize(1..200), random.usize(1..200));
        let right = random.i64(-50..250);
        let band = Band { sizes, left: random.i64(0..300) - right, right };
        let (q_block, kv_block) = (random.usize(1..70), random.usize(1..70));
        let mask = BlockMask::from_classes(sizes, q_block, kv_block, false, false, &band).unwrap();
        check_form(&mask);
        let element = |_, _, q, k| band.visible(q, k);
        assert_eq!(mask.to_dense_blocks(), brute(mask.grid(), &element), "{sizes:?} {q_block} {kv_block}");
        check_visible(&mask, &element, &element);
    }
}

#[test]
fn lists_are_per_batch_entry_and_head_where_asked() {
    let sizes = Sizes { batch: 2, q_heads: 3, kv_heads: 1, q_len: 90, kv_len: 70 };
    // Entry b and head h see the keys below 10 * (1 + b + h).
    let classify = |batch: std::ops::Range<usize>,
                    heads: std::ops::Range<usize>,
                    _: std::ops::Range<usize>,
                    keys: std::ops::Range<usize>| {
        let (min, max) = (10 * (1 + batch.start + heads.start), 10 * (batch.end + heads.end - 1));
        if keys.end <= min {
            BlockClass::Full
        } else if keys.start >= max {
            BlockClass::Empty
        } else {
            BlockClass::Partial
        }
    };
    let element = |b: usize, h: usize, _: usize, k: usize| k < 10 * (1 + b + h);
    for (per_batch, per_head) in [(false, false), (true, false), (false, true), (true, true)] {
        let mask = BlockMask::from_classes(sizes, 16, 16, per_batch, per_head, &classify).unwrap();
        assert_eq!(
            (mask.batch(), mask.heads()),
            (if per_batch { 2 } else { 1 }, if per_head { 3 } else { 1 })
        );
        check_form(&mask);
        assert!(mask.grid().fits(&sizes).is_ok());
        for b in 0..2 {
            for h in 0..3 {
                for k in 0..70 {
                    assert_eq!(mask.is_visible(b, h, 5, k, element), element(b, h, 5, k), "{b} {h} {k}");
                }
            }
        }
        if per_batch && per_head {
            assert_eq!(mask.to_dense_blocks(), brute(mask.grid(), &element));
        }
    }
    let other = BlockGrid::new(90, 70, 16, 16).per(2, 2).fits(&sizes).unwrap_err();
    assert!(other.to_string().contains("heads = 2, expected 1 or 3"), "{other}");
}

#[test]
fn the_exact_pass_settles_what_classes_left_open() {
    let masks: [&Element; 4] = [
        &|q, k| k <= q,
        &|q, k| (q % 8).abs_diff(k % 8).pow(2) + (q / 8).abs_diff(k / 8).pow(2) < 9,
        &|q, k| q / 20 == k / 20,
        &|_, _| true,
    ];
    for element in masks {
        let element = move |_: usize, _: usize, q: usize, k: usize| element(q, k);
        let unknown = |_, _, _, _| BlockClass::Partial;
        let lazy = BlockMask::from_classes(sizes(100, 75), 20, 10, false, false, &unknown).unwrap();
        assert_eq!(lazy.counts().partial, 40);
        let exact = lazy.refine(&element).unwrap();
        let grid = exact.grid();
        assert_eq!(exact.to_dense_blocks(), brute(grid, &element));
        assert_eq!((exact.test(), exact.bits()), (Test::Element, None));
        let with_bits = lazy.with_bits(&element).unwrap();
        assert_eq!((with_bits.row_ptr(), with_bits.index()), (exact.row_ptr(), exact.index()));
        assert_eq!(with_bits.test(), Test::Bits);
        for mask in [&exact, &with_bits] {
            check_form(mask);
        }
        check_visible(&exact, &element, &element);
        check_visible(&with_bits, &|_, _, _, _| panic!("bits decide alone"), &element);
        assert_eq!(with_bits.refine(&|_, _, _, _| panic!("bits decide alone")).unwrap(), with_bits);
    }
}

#[test]
fn what_is_known_of_the_test_settles_given_blocks() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..50 {
        let given = arbitrary(&mut random, (1, 2));
        let sizes = Sizes { q_heads: 2, ..sizes(given.q_len(), given.kv_len()) };
        let band = Band { sizes, left: 60, right: 0 };
        let element = |_, _, q, k| band.visible(q, k);
        let settled = given.settle(sizes, &band).unwrap();
        check_form(&settled);
        assert_eq!(settled, given.refine(&element).unwrap());
        check_visible(&settled, &element, &|b, h, q, k| given.is_visible(b, h, q, k, element));
    }
}

#[test]
fn sizes_that_cannot_be_counted_are_refused() {
    let unknown = |_, _, _, _| BlockClass::Partial;
    let refused = |sizes: Sizes, side: usize, expected: &str| {
        let error = BlockMask::from_classes(sizes, side, side, true, true, &unknown).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused(sizes(0, 5), 16, "q_len: expected 1 to");
    refused(sizes(5, 5), 0, "q_block: expected 1 to");
    refused(sizes(1 << 40, 5), 16, "q_len: expected 1 to");
    refused(Sizes { batch: 1 << 20, q_heads: 1 << 20, ..sizes(5, 5) }, 16, "too many");
    refused(sizes(1 << 30, 5), 16, "too many");
    let full = |_, _, _, _| BlockClass::Full;
    let error = BlockMask::from_classes(sizes(1 << 20, 1 << 20), 16, 16, false, false, &full).unwrap_err();
    assert!(error.to_string().contains("take larger blocks"), "{error}");
}

#[test]
fn long_bands_are_listed_without_a_look_at_every_block() {
    let sizes = sizes(65_536, 65_536);
    let band = Band { sizes, left: 1023, right: 0 };
    // Rectangles of blocks are asked for before blocks: 18 in each row, not all 1024.
    let asked = AtomicUsize::new(0);
    let counted = |batch, heads, queries, keys| {
        asked.fetch_add(1, Ordering::Relaxed);
        band.class(batch, heads, queries, keys)
    };
    let mask = BlockMask::from_classes(sizes, 64, 64, false, false, &counted).unwrap();
    let asked = asked.into_inner();
    assert!(asked < 100 * 1024, "{asked} rectangles for {} blocks", mask.index().len());
    assert_eq!(mask.row(1023).0.len(), 2);
    assert_eq!(mask.row(1023).1.len(), 15);
    assert!(mask.index().len() < 18 * 1024);
    let causal = Band { sizes, left: i64::MAX, right: 0 };
    let mask = BlockMask::from_classes(sizes, 64, 64, false, false, &causal).unwrap();
    assert_eq!(mask.index().len(), 1024 * 1025 / 2);
}
