//! Transposed lists and lists of other block sizes.

use super::{
    super::{BlockClass, BlockGrid, BlockMask, Test},
    arbitrary, brute, check_form, check_visible, noise,
};

#[test]
fn transposed_lists_hold_the_same_blocks() {
    let mut random = fastrand::Rng::with_seed(6);
    for _ in 0..50 {
        let mask = arbitrary(&mut random, (2, 2));
        let (grid, transposed) = (mask.grid(), mask.transposed());
        assert_eq!(transposed.index.len(), mask.index().len());
        assert_eq!(transposed.row_ptr.len(), 4 * grid.kv_blocks() + 1);
        for list in 0..4 {
            for kv_block in 0..grid.kv_blocks() {
                let column = list * grid.kv_blocks() + kv_block;
                let bounds = transposed.row_ptr[column] as usize..transposed.row_ptr[column + 1] as usize;
                let (blocks, slots) = (&transposed.index[bounds.clone()], &transposed.slots[bounds]);
                let expected = |wanted: BlockClass| -> Vec<u32> {
                    (0..)
                        .zip(0..grid.q_blocks())
                        .filter(|&(_, q_block)| mask.class(list / 2, list % 2, q_block, kv_block) == wanted)
                        .map(|(q_block, _)| q_block)
                        .collect()
                };
                let (partial, full) = blocks.split_at(transposed.partial[column] as usize);
                assert_eq!((partial, full), (&*expected(BlockClass::Partial), &*expected(BlockClass::Full)));
                for (&q_block, &slot) in blocks.iter().zip(slots) {
                    let row = grid.row(list / 2, list % 2, q_block as usize);
                    let (class, expected) = mask.find(row, kv_block);
                    if class == BlockClass::Partial {
                        assert_eq!(slot as usize, expected);
                    } else {
                        assert_eq!(slot, u32::MAX);
                    }
                }
            }
        }
    }
}

#[test]
fn other_block_sizes_show_the_same() {
    let mut random = fastrand::Rng::with_seed(8);
    for round in 0..120 {
        let mask = arbitrary(&mut random, (1 + round % 2, 1));
        let element = noise(round as u64);
        let truth = |b: usize, h: usize, q: usize, k: usize| mask.is_visible(b, h, q, k, &element);
        let (q_block, kv_block) = (random.usize(1..100), random.usize(1..100));
        let grid = BlockGrid { q_block, kv_block, ..mask.grid() };
        let none = |_: usize, _: usize, _: usize, _: usize| -> bool { panic!("bits decide alone") };

        let decided = mask.re_block(q_block, kv_block, Some(&element)).unwrap();
        check_form(&decided);
        assert_eq!((decided.grid(), decided.test()), (grid, Test::Bits));
        check_visible(&decided, &none, &truth);
        assert_eq!(decided.to_dense_blocks(), brute(grid, &truth), "classes are exact");

        // Lists with bits need no element test, and two steps are as good as one.
        let stepped = mask.with_bits(&element).unwrap().re_block(q_block, kv_block, None).unwrap();
        assert_eq!(stepped, decided);
        let (q_block, kv_block) = (random.usize(1..100), random.usize(1..100));
        assert_eq!(
            decided.re_block(q_block, kv_block, None).unwrap(),
            mask.re_block(q_block, kv_block, Some(&element)).unwrap()
        );
    }
}

#[test]
fn without_a_test_elements_are_left_to_the_caller() {
    let mut random = fastrand::Rng::with_seed(9);
    for round in 0..60 {
        let mask = arbitrary(&mut random, (1, 2));
        // A caller whose full blocks agree with the element test.
        let some = noise(round);
        let element = |b: usize, h: usize, q: usize, k: usize| {
            let class = mask.class(b, h, q / mask.q_block(), k / mask.kv_block());
            class == BlockClass::Full || some(b, h, q, k)
        };
        let truth = |b: usize, h: usize, q: usize, k: usize| mask.is_visible(b, h, q, k, element);
        let open = mask.re_block(random.usize(1..100), random.usize(1..100), None).unwrap();
        check_form(&open);
        assert_ne!(open.test(), Test::Bits);
        assert_eq!(open.test() == Test::Element, open.bits().is_none());
        check_visible(&open, &element, &truth);
        let bits = open.with_bits(&element).unwrap();
        assert_eq!(bits.test(), Test::Bits);
        check_visible(&bits, &|_, _, _, _| panic!("bits decide alone"), &truth);
        // Blocks that lie in one old block each need no bits.
        let halves = BlockMask::from_dense_blocks(BlockGrid::new(64, 64, 32, 32), &[2, 1, 0, 2]).unwrap();
        let quarters = halves.re_block(16, 8, None).unwrap();
        assert_eq!((quarters.test(), quarters.counts().partial), (Test::Element, 16));
        assert_eq!(halves.re_block(32, 32, None).unwrap(), halves);
    }
}

#[test]
fn small_blocks_become_large_ones() {
    let grid = BlockGrid::new(4096, 4096, 16, 16);
    let mut random = fastrand::Rng::with_seed(10);
    let map: Vec<u8> = (0..256 * 256).map(|_| random.u8(0..3)).collect();
    let mask = BlockMask::from_dense_blocks(grid, &map).unwrap();
    let open = mask.re_block(64, 64, None).unwrap();
    let meets = |block: usize| {
        let (row, column) = (block / 64 * 4, block % 64 * 4);
        (row..row + 4).any(|row| map[row * 256 + column..][..4].iter().any(|&class| class != 0))
    };
    assert_eq!(open.index().len(), (0..64 * 64).filter(|&block| meets(block)).count());
    let element = |_: usize, _: usize, q: usize, k: usize| k <= q;
    let tested = mask.re_block(64, 64, Some(&element)).unwrap();
    assert!((1..open.index().len()).contains(&tested.index().len()));
}
