//! The expressions of the golden files: each parses, prints itself back and binds to the file's tables.

use foveal_kernels::Dtype;
use foveal_kernels::expr::{Expr, Table, Type};

const F32: Dtype = Dtype::F32;

fn table(name: &str, element: Dtype, shape: &[usize]) -> Table {
    Table { name: name.into(), element, shape: shape.to_vec() }
}

/// Text, canonical text if it differs, tables of the file.
fn masks() -> Vec<(&'static str, Option<&'static str>, Vec<Table>)> {
    let ids = |name, shape: &[usize]| table(name, Dtype::I32, shape);
    let bytes = |name, shape: &[usize]| table(name, Dtype::U8, shape);
    vec![
        ("causal", None, vec![]),
        ("causal_top_left", None, vec![]),
        ("window(15, 0)", None, vec![]),
        (
            "((causal) & (((window(31, 0)) | (sinks(4)))))",
            Some("causal & (window(31, 0) | sinks(4))"),
            vec![],
        ),
        ("((prefix(30)) | (causal))", Some("prefix(30) | causal"), vec![]),
        ("(mask[b, h, q, k] != 0)", Some("mask[b, h, q, k] != 0"), vec![bytes("mask", &[2, 1, 64, 64])]),
        ("same(doc_ids)", None, vec![ids("doc_ids", &[2, 63])]),
        ("((same(doc_ids)) & (causal))", Some("same(doc_ids) & causal"), vec![ids("doc_ids", &[1, 100])]),
        (
            "((abs(q - k) <= 12) & (abs(q - k) % 3 == 0))",
            Some("abs(q - k) <= 12 & abs(q - k) % 3 == 0"),
            vec![],
        ),
        ("local(12, 3, 2)", None, vec![]),
        (
            "((q / 13 - k / 13) * (q / 13 - k / 13) + (q % 13 - k % 13) * (q % 13 - k % 13) <= 12.25)",
            Some("(q / 13 - k / 13) * (q / 13 - k / 13) + (q % 13 - k % 13) * (q % 13 - k % 13) <= 12.25"),
            vec![],
        ),
        (
            "(((clamp(q / 12 - 2, 0, 12 - 5) <= k / 12) & (k / 12 < clamp(q / 12 - 2, 0, 12 - 5) + 5)) & \
             ((clamp(q % 12 - 2, 0, 12 - 5) <= k % 12) & (k % 12 < clamp(q % 12 - 2, 0, 12 - 5) + 5)))",
            Some(
                "clamp(q / 12 - 2, 0, 7) <= k / 12 & k / 12 < clamp(q / 12 - 2, 0, 7) + 5 & \
                 (clamp(q % 12 - 2, 0, 7) <= k % 12 & k % 12 < clamp(q % 12 - 2, 0, 7) + 5)",
            ),
            vec![],
        ),
        (
            "((h == 0) & (causal)) | ((h == 1) & (window(8, 8))) | ((h == 2) & (((prefix(20)) | (causal)))) | \
             ((h == 3) & (((abs(q - k) <= 20) & (abs(q - k) % 4 == 0))))",
            Some(
                "h == 0 & causal | h == 1 & window(8, 8) | h == 2 & (prefix(20) | causal) | \
                 h == 3 & (abs(q - k) <= 20 & abs(q - k) % 4 == 0)",
            ),
            vec![],
        ),
        (
            "(((q / 10) % 2 == (k / 10) % 2) & (clamp((q / 10) / 2 - 1, 0, ((12 - 1 - (q / 10) % 2) / 2 + 1) - 3) \
             <= (k / 10) / 2))",
            Some(
                "q / 10 % 2 == k / 10 % 2 & clamp(q / 10 / 2 - 1, 0, (11 - q / 10 % 2) / 2 + 1 - 3) <= k / 10 / 2",
            ),
            vec![],
        ),
        (
            "(((max(q / 15 - 6, 0) <= k / 15) & (k / 15 <= q / 15)) & ((clamp(q % 15 - 1, 0, 15 - 3) <= k % 15)))",
            Some("max(q / 15 - 6, 0) <= k / 15 & k / 15 <= q / 15 & clamp(q % 15 - 1, 0, 12) <= k % 15"),
            vec![],
        ),
        ("((causal) & (blocks(32)))", Some("causal & blocks(32)"), vec![]),
        (
            "same(seg_q, seg_k) & (k <= q + shift[q])",
            Some("same(seg_q, seg_k) & k <= q + shift[q]"),
            vec![ids("seg_k", &[120]), ids("seg_q", &[33]), ids("shift", &[33])],
        ),
        (
            "(mask_blocks[b, h, q / 16, k / 32] == 1) | ((mask_blocks[b, h, q / 16, k / 32] == 2) & \
             (mask_fine[b, h, q, k] != 0))",
            Some(
                "mask_blocks[b, h, q / 16, k / 32] == 1 | mask_blocks[b, h, q / 16, k / 32] == 2 & \
                 mask_fine[b, h, q, k] != 0",
            ),
            vec![bytes("mask_blocks", &[1, 2, 5, 3]), bytes("mask_fine", &[1, 2, 80, 96])],
        ),
        ("(k < kv_len[b])", Some("k < kv_len[b]"), vec![ids("kv_len", &[2])]),
    ]
}

fn scores() -> Vec<(&'static str, Vec<Table>)> {
    vec![
        ("s + bias[b, h, q, k]", vec![table("bias", F32, &[1, 2, 63, 63])]),
        ("s + alibi_slopes[h] * (k - q)", vec![table("alibi_slopes", F32, &[4])]),
        ("softcap(30.0)", vec![]),
        (
            "s + rel_table[rel_bucket[q, k], h]",
            vec![table("rel_bucket", Dtype::I32, &[100, 100]), table("rel_table", F32, &[16, 2])],
        ),
        ("s + rel_table[h, clamp(k - q, -12, 12) + 12]", vec![table("rel_table", F32, &[2, 25])]),
        ("s + gate_sum[b, q, h] - gate_sum[b, k, h]", vec![table("gate_sum", F32, &[1, 100, 2])]),
        (
            "s + bias[h, q, k] + shift_mask[b % 4, q, k]",
            vec![table("bias", F32, &[1, 49, 49]), table("shift_mask", F32, &[4, 49, 49])],
        ),
    ]
}

#[test]
fn every_golden_mask_parses_prints_and_binds() {
    for (text, canonical, tables) in masks() {
        let mask = Expr::parse_mask(text).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt()));
        assert_eq!(mask.to_string(), canonical.unwrap_or(text));
        assert_eq!(mask.to_string().parse::<Expr>().unwrap(), mask);
        let program = mask.bind(&tables).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt()));
        assert_eq!(program.steps.last().unwrap().ty, Type::Bool, "{text}");
        assert_eq!(program.tables, tables);
    }
}

#[test]
fn every_golden_score_parses_prints_and_binds() {
    for (text, tables) in scores() {
        let score = Expr::parse_score(text).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt()));
        assert_eq!(score.to_string(), text);
        let program = score.bind(&tables).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt()));
        assert_eq!(program.steps.last().unwrap().ty, Type::Float, "{text}");
    }
}
