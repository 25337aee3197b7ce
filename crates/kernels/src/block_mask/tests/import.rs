//! Lists from callers: read as meant, or refused in words.

use super::{
    super::{BlockGrid, BlockMask, Listed, Padded, Test},
    arbitrary, check_form,
};
use crate::{Error, HostTensor, TensorData};

fn refused(result: Result<BlockMask, Error>, expected: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    for part in expected {
        assert!(error.to_string().contains(part), "expected `{part}` in `{error}`");
    }
}

/// Two heads of 3 x 4 blocks, the last ones not whole.
fn grid() -> BlockGrid {
    BlockGrid::new(40, 60, 16, 16).per(1, 2)
}

#[test]
fn rows_are_read() {
    let (row_ptr, index) = ([0, 2, 2, 3, 5, 6, 9], [0, 3, 1, 2, 0, 3, 0, 1, 2]);
    let partial = [1, 0, 0, 1, 1, 2];
    let mask = BlockMask::from_rows(grid(), &row_ptr, Some(&partial), &index, Listed::Full).unwrap();
    check_form(&mask);
    assert_eq!(mask.row(0), (&[0][..], &[3][..]));
    assert_eq!(mask.row(1), (&[][..], &[][..]));
    assert_eq!(mask.row(3), (&[2][..], &[0][..]));
    assert_eq!(mask.row(5), (&[0, 1][..], &[2][..]));
    assert_eq!(mask.row(6), (&[][..], &[][..]));
    assert_eq!((mask.test(), mask.bits()), (Test::Element, None));
    let sorted = [0, 3, 1, 0, 2, 3, 0, 1, 2];
    for (listed, full) in [(Listed::Full, 9), (Listed::Tested, 0)] {
        let mask = BlockMask::from_rows(grid(), &row_ptr, None, &sorted, listed).unwrap();
        assert_eq!((mask.counts().full, mask.counts().partial), (full, 9 - full));
    }
}

#[test]
fn wrong_rows_are_refused() {
    let rows = |row_ptr: &[u32], partial: Option<&[u32]>, index: &[u32]| {
        BlockMask::from_rows(grid(), row_ptr, partial, index, Listed::Full)
    };
    refused(rows(&[0; 6], None, &[]), &["row_ptr: expected 7 entries (1 x 2 x 3 rows and one), got 6"]);
    refused(rows(&[1, 1, 1, 1, 1, 1, 1], None, &[0]), &["row_ptr: at 0: expected 0, got 1"]);
    refused(rows(&[0, 1, 1, 1, 1, 1, 1], None, &[0, 1]), &["row_ptr: at 6:", "length of index, 2, got 1"]);
    refused(rows(&[0, 2, 1, 2, 2, 2, 2], None, &[0, 1]), &["row_ptr: at 2: expected 2", "got 1"]);
    refused(rows(&[0, 9, 9, 9, 9, 9, 2], None, &[0, 1]), &["row_ptr: at 1: expected 0", "to 2, got 9"]);
    let two = [0, 0, 0, 0, 2, 2, 2];
    refused(rows(&two, None, &[1, 4]), &["index: at 1:", "head 1, query block 0), 0 to 3, got 4"]);
    refused(rows(&two, None, &[3, 1]), &["index: at 1: expected ascending", "more than 3, got 1"]);
    refused(rows(&two, None, &[3, 3]), &["index: at 1: expected each block once", "got 3"]);
    refused(rows(&two, Some(&[0; 5]), &[1, 2]), &["partial: expected 6 entries", "got 5"]);
    refused(rows(&two, Some(&[0, 0, 0, 3, 0, 0]), &[1, 2]), &["partial: at 3: expected at most 2", "got 3"]);
    refused(rows(&two, Some(&[0, 0, 0, 1, 0, 0]), &[2, 2]), &["index: at 1:", "partial already, got 2"]);
    for (q_block, kv_block, name) in [(8, 16, "q_block"), (16, 129, "kv_block"), (0, 16, "q_block")] {
        let grid = BlockGrid { q_block, kv_block, ..grid() };
        refused(BlockMask::from_rows(grid, &[0], None, &[], Listed::Full), &[name, "expected 16 to 128"]);
    }
}

#[test]
fn tensors_are_read_or_refused() {
    let i32s =
        |values: &[i32]| HostTensor::new(vec![values.len()], TensorData::I32(values.to_vec())).unwrap();
    let row_ptr = i32s(&[0, 2, 2, 2, 2, 2, 2]);
    let wide = HostTensor::new(vec![2], TensorData::I64(vec![0, 3])).unwrap();
    let mask = BlockMask::from_tensors(grid(), &row_ptr, None, &wide, Listed::Tested).unwrap();
    assert_eq!(mask.row(0), (&[0, 3][..], &[][..]));
    let bad = |index: &HostTensor| BlockMask::from_tensors(grid(), &row_ptr, None, index, Listed::Full);
    refused(bad(&i32s(&[0, -3])), &["index: at 1: expected 0 to", "got -3"]);
    let float = HostTensor::new(vec![1], TensorData::F32(vec![0.0])).unwrap();
    refused(bad(&float), &["index: expected integers", "floating-point"]);
    let counts = i32s(&[1, 0, 0, 0, 0, -1]);
    let error = Padded::from_tensors(&counts, &i32s(&[0; 24]), None).unwrap_err();
    assert!(error.to_string().contains("kv_num_blocks: at 5: expected 0 to"), "{error}");
}

#[test]
fn bsr_is_read_as_scipy_makes_it() {
    // scipy.sparse.bsr_matrix of 64 x 64 in blocks of 32 x 16: indptr and indices as it holds them.
    let mask = BlockMask::from_bsr([64, 64], [32, 16], &[0, 2, 3], &[0, 2, 1], Listed::Full).unwrap();
    assert_eq!(mask.to_dense_blocks(), [1, 0, 1, 0, 0, 1, 0, 0]);
    let unsorted = BlockMask::from_bsr([64, 64], [32, 16], &[0, 2, 3], &[2, 0, 1], Listed::Full);
    refused(unsorted, &["indices: at 1: expected ascending"]);
    let short = BlockMask::from_bsr([64, 64], [32, 16], &[0, 2], &[0, 2], Listed::Full);
    refused(short, &["indptr: expected 3 entries", "got 2"]);
}

#[test]
fn lists_and_maps_are_read_or_refused() {
    let lists = [vec![0, 3], vec![], vec![1], vec![2], vec![0, 1, 2, 3], vec![3]];
    let mask = BlockMask::from_lists(grid(), &lists, Listed::Full).unwrap();
    check_form(&mask);
    assert_eq!(mask.row(4).1, [0, 1, 2, 3]);
    refused(
        BlockMask::from_lists(grid(), &lists[..5], Listed::Full),
        &["lists: expected 6 entries", "got 5"],
    );
    let mut wrong = lists.to_vec();
    wrong[2] = vec![1, 7];
    refused(BlockMask::from_lists(grid(), &wrong, Listed::Full), &["lists[2]: at 1:", "0 to 3, got 7"]);
    refused(
        BlockMask::from_dense_blocks(grid(), &[0; 23]),
        &["blocks: expected 24 entries ([1, 2, 3, 4])", "23"],
    );
    let mut map = [1; 24];
    map[7] = 3;
    refused(BlockMask::from_dense_blocks(grid(), &map), &["blocks: at 7: expected 0 (empty), 1", "got 3"]);
}

#[test]
fn padded_lists_are_read_or_refused() {
    let padded = Padded {
        counts: vec![1, 0, 2, 0, 0, 0],
        indices: vec![3, 9, 9, 9, 0, 2, 9, 9, 9, 9, 9, 9],
        ..Padded::default()
    };
    let mask = BlockMask::from_padded(grid(), &padded).unwrap();
    assert_eq!((mask.row(0).0, mask.row(2).0, mask.counts().full), (&[3][..], &[0, 2][..], 0));
    let with = |change: &dyn Fn(&mut Padded)| {
        let mut padded = padded.clone();
        change(&mut padded);
        BlockMask::from_padded(grid(), &padded)
    };
    refused(with(&|p| p.counts.truncate(5)), &["kv_num_blocks: expected 6 entries", "got 5"]);
    refused(with(&|p| p.indices.truncate(11)), &["kv_indices: expected [6, width] entries, got 11"]);
    refused(with(&|p| p.counts[1] = 3), &["kv_num_blocks: at 1: expected at most 2, the width, got 3"]);
    refused(with(&|p| p.indices[5] = 0), &["kv_indices: at 5: expected each block once", "more than 0"]);
    refused(with(&|p| p.full_counts = vec![0; 5]), &["full_kv_num_blocks: expected 6"]);
    let twice = with(&|p| (p.full_counts, p.full_indices) = (vec![1; 6], vec![3; 6]));
    refused(twice, &["full_kv_indices: at 0:", "partial already, got 3"]);
}

#[test]
fn forms_are_read_back() {
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..50 {
        let mask = arbitrary(&mut random, (1 + round % 2, 1 + round % 3));
        check_form(&mask);
        let grid = mask.grid();
        assert_eq!(BlockMask::from_padded(grid, &mask.to_padded()).unwrap(), mask);
        assert_eq!(BlockMask::from_dense_blocks(grid, &mask.to_dense_blocks()).unwrap(), mask);
        let again =
            BlockMask::from_rows(grid, mask.row_ptr(), Some(mask.partial()), mask.index(), Listed::Full);
        assert_eq!(again.unwrap(), mask);
    }
}

#[test]
fn hostile_rows_never_panic() {
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..3000 {
        let mut any = |count: usize, max: u32| -> Vec<u32> {
            (0..count).map(|_| if random.u8(..) == 0 { random.u32(..) } else { random.u32(..max) }).collect()
        };
        let mut row_ptr = any(7, 4);
        row_ptr.sort_unstable();
        row_ptr[0] = 0;
        let index = any(row_ptr[6].min(20) as usize, 4);
        let partial = any(6, 2);
        if let Ok(mask) = BlockMask::from_rows(grid(), &row_ptr, Some(&partial), &index, Listed::Full) {
            check_form(&mask);
        }
        let padded = Padded {
            counts: any(6, 3),
            indices: any(12, 4),
            full_counts: any(6, 2),
            full_indices: any(6, 4),
        };
        if let Ok(mask) = BlockMask::from_padded(grid(), &padded) {
            check_form(&mask);
        }
    }
}
