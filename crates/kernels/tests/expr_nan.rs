//! NaN stays NaN through every function, and what comparisons make of it.
#![expect(clippy::unwrap_used, reason = "tests report by panicking, their helpers too")]

use foveal_kernels::expr::{EntryLengths, Evaluator, Expr, Sizes};

const SIZES: Sizes = Sizes { batch: 2, q_heads: 2, kv_heads: 1, q_len: 6, kv_len: 9 };

/// The score at query 2 and key 3 of a scaled score.
fn score(text: &str, s: f64) -> f64 {
    let program = Expr::parse_score(text).unwrap().bind(&[]).unwrap();
    let evaluator = Evaluator::new(&program, SIZES, &[]).unwrap();
    evaluator.score(&mut evaluator.scratch(), [0, 0, 2, 3], s).unwrap()
}

#[test]
fn nan_in_is_nan_out() {
    for text in [
        "max(s, 0.0)",
        "max(0.0, s)",
        "min(s, 3)",
        "min(3, s)",
        "max(s, s * 2.0)",
        "clamp(s, -1.0, 1.0)",
        "clamp(0.0, s, 1.0)",
        "clamp(0.0, -1.0, s)",
        "abs(s)",
        "-s",
        "softcap(30.0)",
        "alibi",
        "tanh(s)",
        "exp(s)",
        "log(s)",
        "sqrt(s)",
        "s % 2.0",
        "2.0 % s",
        "s * 0.0",
        "max(log(s), -5.0)",
        "softcap(max(s, 0.0), 2.0)",
    ] {
        assert!(score(text, f64::NAN).is_nan(), "{text}: {}", score(text, f64::NAN));
        assert!(!score(text, 0.5).is_nan(), "{text}");
    }
    for (text, expected) in [("floor(s)", 0.0), ("floor(s) + 3", 3.0)] {
        assert_eq!(score(text, f64::NAN).to_bits(), f64::to_bits(expected), "{text}");
    }
    for (text, undefined) in [("log(s)", true), ("sqrt(s)", true), ("exp(s)", false)] {
        assert_eq!(score(text, -1.0).is_nan(), undefined, "{text}");
    }
    assert_eq!(score("log(s)", 0.0), f64::NEG_INFINITY);
}

#[test]
fn floors_of_scores_end_where_ints_are_told_apart() {
    for (s, floor) in
        [(1e30, 16_777_216.0), (-1e30, -16_777_216.0), (-2.5, -3.0), (f64::INFINITY, 16_777_216.0)]
    {
        assert_eq!(score("floor(s)", s), floor, "{s}");
    }
}

#[test]
fn lengths_are_those_of_the_entry() {
    let lengths = EntryLengths { queries: Some(vec![6, 2]), keys: Some(vec![9, 4]) };
    // Query 0 of entry 0 stands at key 3 of 9, query 1 of entry 1 at key 3 of 4.
    for (text, seen) in [
        ("causal", [4, 4]),
        ("k <= qp", [4, 4]),
        ("causal & window(1, 0)", [2, 2]),
        ("k < nk - nq", [3, 2]),
        ("k + 1 == nk", [1, 1]),
        ("q + 1 == nq", [0, 4]),
    ] {
        let program = Expr::parse_mask(text).unwrap().bind(&[]).unwrap();
        let evaluator = Evaluator::with_lengths(&program, SIZES, lengths.clone(), &[]).unwrap();
        let mut scratch = evaluator.scratch();
        let mut count = |b: usize, q: usize, keys: usize| {
            (0..keys).filter(|&k| evaluator.visible(&mut scratch, b, 1, q, k).unwrap()).count()
        };
        assert_eq!([count(0, 0, 9), count(1, 1, 4)], seen, "{text}");
    }
}
