//! Branches that exclude each other, and how often loops turn, on small programs written by hand.

use gpu_stats::assembly::parse;
use gpu_stats::branches::diamonds;
use gpu_stats::flow::loops;
use gpu_stats::planned::{Section, Work, turns};
use gpu_stats::{Part, analyse, analyse_without};

const NESTED: &str = include_str!("data/nested.s");

/// Lanes disagree: two `if`s, the second under the rest of the first's mask.
const DIVERGENT: &str = "BB0:\n\ts_mov_b64 s[16:17], exec\n\tv_cmpx_gt_u32_e32 vcc, 0x80, v0\n\ts_cbranch_execz BB2\n\
    BB1:\n\tv_mov_b32_e32 v1, 1\n\tv_mov_b32_e32 v2, 2\n\
    BB2:\n\ts_andn2_b64 exec, s[16:17], exec\n\ts_cbranch_execz BB4\n\
    BB3:\n\tv_mov_b32_e32 v1, 3\n\tv_mov_b32_e32 v2, 4\n\tv_mov_b32_e32 v3, 5\n\
    BB4:\n\ts_mov_b64 exec, s[16:17]\n\ts_endpgm\n";

/// All lanes agree: a jump over either side.
const UNIFORM: &str = "BB0:\n\ts_cmp_lt_u32 s0, s1\n\ts_cbranch_scc0 BB2\n\
    BB1:\n\tv_mov_b32_e32 v1, 1\n\tv_mov_b32_e32 v2, 2\n\ts_branch BB3\n\
    BB2:\n\tv_mov_b32_e32 v1, 3\n\
    BB3:\n\tv_mov_b32_e32 v4, 1\n\ts_endpgm\n";

/// Labels of the blocks of either side.
fn sides(text: &str) -> Vec<[Vec<String>; 2]> {
    let blocks = parse(text);
    let loops = loops(&blocks);
    let label = |&block: &usize| blocks[block].label.clone();
    let each = diamonds(&blocks, &loops).into_iter();
    each.map(|d| d.sides.map(|side| side.iter().map(label).collect())).collect()
}

fn counts(parts: &[Part]) -> (u32, u32) {
    (parts.iter().map(|p| p.counts.instructions).sum(), parts.iter().map(|p| p.taken.instructions).sum())
}

#[test]
fn both_forms_of_if_else_are_found() {
    let expected = |a: &str, b: &str| vec![[vec![a.to_owned()], vec![b.to_owned()]]];
    assert_eq!(sides(DIVERGENT), expected("BB1", "BB3"));
    assert_eq!(sides(UNIFORM), expected("BB1", "BB2"));
    let rdna3 = DIVERGENT.replace("s_andn2_b64", "s_and_not1_b64");
    assert_eq!(sides(&rdna3), expected("BB1", "BB3"));
    let half =
        DIVERGENT.replace("b64", "b32").replace("exec,", "exec_lo,").replace(", exec\n", ", exec_lo\n");
    assert_eq!(sides(&half), expected("BB1", "BB3"));
}

#[test]
fn the_longer_side_counts() {
    assert_eq!(counts(&analyse(DIVERGENT)), (12, 10));
    assert_eq!(counts(&analyse(UNIFORM)), (8, 7));
}

#[test]
fn what_is_no_if_else_counts_fully() {
    // Two conditions in a row: the second mask is not what the first left over.
    let two = DIVERGENT.replace("s_andn2_b64 exec, s[16:17], exec", "s_and_b64 exec, s[16:17], vcc");
    // The mask of another branch.
    let other = DIVERGENT.replace("s_andn2_b64 exec, s[16:17]", "s_andn2_b64 exec, s[18:19]");
    // A barrier starts a new part; a jump out of the side leaves it without a common end.
    let barrier = UNIFORM.replace("v_mov_b32_e32 v1, 3", "s_barrier");
    let leaves = UNIFORM.replace("s_branch BB3", "s_endpgm");
    for text in [two, other, barrier, leaves, NESTED.to_owned()] {
        assert!(sides(&text).is_empty(), "{text}");
        let (all, taken) = counts(&analyse(&text));
        assert_eq!(all, taken);
    }
}

#[test]
fn inner_branches_are_decided_first() {
    // The first side is the longer one only if both sides of the `if`/`else` inside of it count.
    let inner = UNIFORM.replace("BB0:", "BBa:").replace("BB", "BBi").replace("\ts_endpgm\n", "");
    let text = format!(
        "BB0:\n\ts_cbranch_scc0 BB2\n{inner}\ts_branch BB3\nBB2:\n{}BB3:\n\ts_endpgm\n",
        "\tv_mov_b32_e32 v1, 1\n".repeat(7)
    );
    assert_eq!(sides(&text).len(), 2);
    let (all, taken) = counts(&analyse(&text));
    assert_eq!((all, taken), (1 + 8 + 7 + 1, 1 + 7 + 7 + 1 - 7));
}

#[test]
fn rare_bodies_are_left_out_by_label() {
    let whole = counts(&analyse(NESTED));
    let without = counts(&analyse_without(NESTED, &["BB6+1".to_owned()]));
    assert_eq!(whole.1 - without.1, 1);
    assert_eq!(whole.0, without.0);
    assert_eq!(counts(&analyse_without(NESTED, &["BB77".to_owned()])), whole);
}

fn two(scores: f64, values: f64) -> Work {
    let section = |fmas| Section { fmas, outer: 1.0 };
    Work { sections: vec![section(scores), section(values)], reads: 0.0 }
}

#[test]
fn turns_follow_from_the_multiply_adds() {
    let parts = analyse(NESTED);
    assert_eq!(turns(&parts, &two(8.0 * 16.0, 10.0 * 3.0)).unwrap(), [(1, 16.0), (2, 3.0)]);
    assert!(turns(&parts, &two(8.0 * 16.5, 30.0)).is_err());
    let one = Work { sections: vec![Section { fmas: 128.0, outer: 1.0 }], reads: 0.0 };
    assert!(turns(&parts, &one).is_err());
    assert!(turns(&analyse(UNIFORM), &one).is_err());
}
