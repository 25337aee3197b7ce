//! The table of cases.

use super::{serving::SERVING, turned::TURNED};
use crate::{
    Dtype,
    attention::{Attention, Layout, Mask, Shape},
    operator::described_cases,
};

/// Masks, scores and lists of blocks: name, shape and options.
const EXPRESSIONS: &[(&str, &str, &str)] = &[
    ("score_zero_times_overflow", "1x1x64x16", r#"{"score":"s + 0.0 * exp(q - k + 1000)"}"#),
    ("mask_window", "2x4:2x200x64", r#"{"mask":"causal & window(40, 0)"}"#),
    ("mask_few_keys", "1x2x300x64", r#"{"mask":"window(3, 0) | sinks(2)"}"#),
    ("mask_nothing", "1x2x70x64", r#"{"mask":"k < 0"}"#),
    ("mask_some_rows_nothing", "1x2x200x64", r#"{"mask":"k >= 40 & k <= q - 70"}"#),
    ("mask_more_queries", "1x2x150:40x64", r#"{"mask":"causal & window(20, 5)"}"#),
    ("mask_by_head", "1x4:2x130x32", r#"{"mask":"causal & (h % 2 == 0 | window(16, 0)) | g == 1 & k < 8"}"#),
    ("mask_by_batch", "3x2x100x32", r#"{"mask":"k < 20 * (b + 1)"}"#),
    ("mask_folded", "1x8:2x3:200x64", r#"{"mask":"causal & (window(60, 0) | k < 2 + h)"}"#),
    ("mask_disc", "1x2x300x40", r#"{"mask":"disc(20, 4)"}"#),
    ("mask_f16", "1x2x150x64", r#"{"mask":"causal & dilated(3)","dtype":"f16"}"#),
    ("mask_bf16_bthd", "1x4:2x100x30", r#"{"mask":"blocks(17)","dtype":"bf16","layout":"bthd"}"#),
    (
        "mask_table",
        "2x2x100x64",
        r#"{"mask":"same(doc) & t[b, 0, q, k] > 0","tables":{"doc":"i32[2,100]","t":"u8[1,1,100,100]"}}"#,
    ),
    ("mask_table_on_device", "2x2x600x64", r#"{"mask":"causal & same(doc)","tables":{"doc":"i32[2,600]"}}"#),
    ("mask_table_by_head", "1x2x520:530x32", r#"{"mask":"k < len[h]","tables":{"len":"i32[2]"}}"#),
    (
        "mask_table_f16",
        "1x2x520x33",
        r#"{"mask":"x[q] + x[k] > 0.0","tables":{"x":"f16[520]"},"dtype":"f16"}"#,
    ),
    (
        "score_bias",
        "1x2x100:130x64",
        r#"{"score":"s + bias[b, h, q, k]","tables":{"bias":"f32[1,2,100,130]"}}"#,
    ),
    (
        "score_narrow_biases",
        "1x2x65x64",
        r#"{"score":"s * 0.5 + a[q, k] - c[h]","tables":{"a":"f16[65,1]","c":"bf16[2]"}}"#,
    ),
    ("score_folded", "1x6:2x4:90x64", r#"{"mask":"causal","score":"alibi"}"#),
    (
        "score_and_mask",
        "1x4x150x64",
        r#"{"mask":"causal & window(70, 0)","score":"softcap(20.0) + 0.1 * (k - qp)"}"#,
    ),
    (
        "score_hides",
        "1x2x70x64",
        r#"{"score":"s + log(max(0.0, bias[q, k]))","tables":{"bias":"f32[70,70]"}}"#,
    ),
    ("sinks_only", "1x2x60x64", r#"{"mask":"k < q - 30","sink_logits":"sinks"}"#),
    ("sinks_folded", "2x8:2x3:100x64", r#"{"mask":"causal","sink_logits":"sinks"}"#),
    ("scale_by_head", "1x6:3x70x48", r#"{"mask":"causal","scale":"scales"}"#),
    ("normalised", "2x4:2x90:70x33", r#"{"qk_norm":"l2","scale":4.0}"#),
    (
        "normalised_f16_folded",
        "1x4:1x5:100x64",
        r#"{"qk_norm":"l2","scale":"scales","dtype":"f16","layout":"bthd"}"#,
    ),
    ("blocks_64", "2x4x300x64", r#"{"block_mask":{"q_block":64,"kv_block":64,"random":0.4,"seed":3}}"#),
    ("blocks_16", "1x2x150:200x64", r#"{"block_mask":{"q_block":16,"kv_block":16,"random":0.3,"seed":4}}"#),
    (
        "blocks_uneven",
        "1x2x200x40",
        r#"{"block_mask":{"q_block":48,"kv_block":24,"random":0.3,"seed":5,"heads":1},"mask":"k <= q + 30"}"#,
    ),
    (
        "blocks_128",
        "2x2x300x128",
        r#"{"block_mask":{"q_block":128,"kv_block":128,"random":0.5,"seed":6,"batch":2}}"#,
    ),
    ("no_keys", "2x4:2x70:0x33", r#"{"mask":"causal"}"#),
    ("no_keys_folded", "1x4:2x5:0x64", r#"{"sink_logits":"sinks","dtype":"f16"}"#),
    (
        "no_keys_of_many",
        "1x2x40:0x32",
        r#"{"mask":"window(3, 0) & t[k] > 0","score":"s + bias[q, k]","tables":{"bias":"f32[40,0]","t":"u8[0]"},"kv_len":"keys"}"#,
    ),
    ("lengths", "3x2x100x64", r#"{"q_len":"queries","kv_len":"keys"}"#),
    ("lengths_causal", "4x4:2x70:200x32", r#"{"mask":"causal","q_len":"queries","kv_len":"keys"}"#),
    ("lengths_folded", "3x8:2x1:300x64", r#"{"mask":"causal","kv_len":"keys"}"#),
    (
        "lengths_top_left",
        "3x2x150x40",
        r#"{"mask":"causal_top_left","q_len":"queries","sink_logits":"sinks"}"#,
    ),
    (
        "lengths_window",
        "3x2x200x64",
        r#"{"mask":"causal & window(40, 0)","kv_len":"keys","q_len":"queries","dtype":"f16"}"#,
    ),
    (
        "lengths_norms_bthd",
        "3x2x90:130x33",
        r#"{"qk_norm":"l2","scale":4.0,"kv_len":"keys","layout":"bthd","dtype":"bf16"}"#,
    ),
    (
        "lengths_blocks",
        "2x2x200x64",
        r#"{"block_mask":{"q_block":32,"kv_block":32,"random":0.4,"seed":9},"kv_len":"keys","q_len":"queries"}"#,
    ),
    (
        "listed",
        "2x2x300x64",
        r#"{"block_mask":{"q_block":64,"kv_block":64,"counts":"n","indices":"i","most":4,"batch":2,"heads":2}}"#,
    ),
    (
        "listed_tested",
        "1x4:2x300:500x32",
        r#"{"block_mask":{"q_block":64,"kv_block":128,"counts":"n","indices":"i"},"mask":"k <= q + 100"}"#,
    ),
    (
        "listed_wide_f16",
        "1x2x200x192",
        r#"{"block_mask":{"q_block":128,"kv_block":128,"counts":"n","indices":"i"},"dtype":"f16","kv_len":"keys"}"#,
    ),
    (
        "listed_table",
        "1x2x260x40",
        r#"{"block_mask":{"q_block":64,"kv_block":64,"counts":"n","indices":"i","heads":2},"mask":"same(doc)",
            "tables":{"doc":"i32[1,260]"},"q_len":"queries"}"#,
    ),
    (
        "lengths_window_lists",
        "2x2x520:540x64",
        r#"{"mask":"causal & (window(70, 0) | sinks(4))","kv_len":"keys","q_len":"queries"}"#,
    ),
    (
        "lengths_alibi",
        "3x4:2x70:200x32",
        r#"{"mask":"causal & k >= nk % 3","score":"alibi(softcap(s, 20.0))","kv_len":"keys","q_len":"queries"}"#,
    ),
    (
        "lengths_window_folded",
        "3x8:2x3:200x64",
        r#"{"mask":"window(60, 0)","score":"s + rel[clamp(k - qp, -8, 0) + 8]","tables":{"rel":"f32[9]"},
            "kv_len":"keys"}"#,
    ),
    (
        "lengths_shared",
        "3x2x100x40",
        r#"{"mask":"causal & k + 90 >= n[b]","tables":{"n":"i32[3]"},"kv_len":"n","q_len":"n"}"#,
    ),
    (
        "lengths_same",
        "3x2x100:130x40",
        r#"{"mask":"causal & same(doc)","tables":{"doc":"i32[3,130]"},"kv_len":"n"}"#,
    ),
    (
        "blocks_causal",
        "2x2x200x64",
        r#"{"block_mask":{"q_block":32,"kv_block":32,"random":0.5,"seed":11},"mask":"causal","kv_len":"keys"}"#,
    ),
    (
        "listed_causal",
        "1x2x260:300x32",
        r#"{"block_mask":{"q_block":64,"kv_block":64,"counts":"n","indices":"i"},"mask":"causal_top_left"}"#,
    ),
    (
        "blocks_grouped",
        "1x8:2x20:300x64",
        r#"{"block_mask":{"q_block":16,"kv_block":64,"random":0.4,"seed":7}}"#,
    ),
];

/// Few rows a key/value head, and keys in parts: name, shape and options.
const FEW_ROWS: &[(&str, &str, &str)] = &[
    ("decode", "1x8:2x1:300x128", "{}"),
    ("decode_f16_bthd", "2x8:2x1:257x64", r#"{"dtype":"f16","layout":"bthd"}"#),
    ("decode_bf16_dim_33", "1x6:2x2:130x33:66", r#"{"dtype":"bf16"}"#),
    ("decode_f16_dim_7", "1x3:1x3:90x7", r#"{"dtype":"f16","mask":"causal"}"#),
    ("decode_16_rows", "1x16:1x1:200x80", r#"{"layout":"bthd"}"#),
    ("decode_17_rows", "1x17:1x1:100x16", "{}"),
    ("decode_wide", "1x4:1x1:100x576:512", "{}"),
    ("decode_dim_1", "1x2:1x2:70x1:3", "{}"),
    ("decode_draft", "2x4:1x4:150x64", r#"{"mask":"causal"}"#),
    ("decode_norms", "2x4:2x2:90x64", r#"{"qk_norm":"l2","scale":"scales"}"#),
    (
        "decode_table",
        "2x4:2x2:150x64",
        r#"{"mask":"same(doc)","tables":{"doc":"i32[2,150]"},"sink_logits":"sinks"}"#,
    ),
    ("decode_queries", "3x4:2x3:150x64", r#"{"q_len":"queries","kv_len":"keys","mask":"causal"}"#),
    (
        "decode_listed",
        "1x4:2x9:300x64",
        r#"{"block_mask":{"q_block":64,"kv_block":128,"counts":"n","indices":"i"}}"#,
    ),
    ("splits", "2x4:2x1:700x64", r#"{"splits":5}"#),
    ("splits_1", "1x4:2x1:100x64", r#"{"splits":1}"#),
    ("splits_of_nothing", "1x2x1:200x64", r#"{"mask":"k < 0","splits":3}"#),
    ("splits_more_than_keys", "1x2x1:3x64", r#"{"splits":32}"#),
    (
        "splits_window_sinks",
        "1x8:2x2:600x64",
        r#"{"mask":"causal & (window(200, 0) | sinks(4))","sink_logits":"sinks","splits":4}"#,
    ),
    ("splits_lengths", "3x8:2x1:500x40", r#"{"kv_len":"keys","splits":7,"dtype":"bf16"}"#),
    (
        "splits_score",
        "1x4:1x3:300x64",
        r#"{"score":"alibi","mask":"k % 3 != h % 3","splits":3,"dtype":"f16"}"#,
    ),
    (
        "splits_blocks",
        "2x4:2x9:300x64",
        r#"{"block_mask":{"q_block":32,"kv_block":32,"random":0.4,"seed":12},"kv_len":"keys","splits":2}"#,
    ),
    ("splits_of_many_rows", "1x2x70:300x64", r#"{"mask":"causal","splits":3}"#),
];

pub(crate) fn cases() -> Vec<(String, Attention)> {
    let spec = |q: [usize; 4], [_, heads, len, _]: [usize; 4]| {
        Attention::new(Shape::bhtd(q[0], q[1], q[2], q[3]).kv(heads, len)).with_lse()
    };
    let self_attention = |len: usize, dim: usize| spec([1, 2, len, dim], [1, 2, len, dim]);
    let mut cases: Vec<(String, Attention)> = Vec::new();
    for len in [1, 17, 63, 64, 65, 200] {
        cases.push((format!("len_{len}"), self_attention(len, 64)));
        cases.push((format!("len_{len}_causal"), self_attention(len, 64).causal()));
    }
    for dim in [1, 2, 3, 4, 5, 7, 16, 31, 32, 40, 60, 80, 96, 100, 127, 128, 192, 256, 320, 576] {
        cases.push((format!("dim_{dim}"), self_attention(70, dim)));
    }
    for (dim, value_dim) in [(64, 40), (40, 64), (192, 128), (128, 1), (1, 128), (576, 512), (33, 66)] {
        cases.push((format!("dims_{dim}_{value_dim}"), self_attention(65, dim).value_dim(value_dim)));
    }
    for (q_len, kv_len) in [(1, 200), (37, 100), (100, 37), (65, 1), (1, 1), (130, 129)] {
        for mask in [Mask::None, Mask::Causal, Mask::CausalTopLeft] {
            let name = format!("cross_{q_len}_{kv_len}_{mask}");
            cases.push((name, spec([2, 2, q_len, 32], [2, 2, kv_len, 32]).mask(mask)));
        }
    }
    for (heads, kv_heads) in [(4, 2), (6, 2), (8, 1), (6, 3)] {
        for q_len in [1, 5, 70] {
            let name = format!("grouped_{heads}_{kv_heads}_{q_len}");
            cases.push((name, spec([2, heads, q_len, 64], [2, kv_heads, 90, 64]).causal()));
        }
    }
    for dtype in [Dtype::F16, Dtype::Bf16] {
        cases.push((format!("{dtype}"), self_attention(100, 64).dtype(dtype)));
        cases.push((
            format!("{dtype}_causal_bthd"),
            self_attention(100, 128).dtype(dtype).causal().layout(Layout::Bthd),
        ));
        for dim in [1, 7, 30] {
            cases.push((format!("{dtype}_dim_{dim}"), self_attention(33, dim).dtype(dtype)));
            let odd = self_attention(33, dim).dtype(dtype).layout(Layout::Bthd).value_dim(dim + 2);
            cases.push((format!("{dtype}_dim_{dim}_bthd"), odd));
        }
    }
    cases.push(("bthd".into(), spec([2, 3, 70, 48], [2, 3, 90, 48]).layout(Layout::Bthd)));
    cases.push(("bthd_grouped".into(), spec([2, 6, 33, 64], [2, 2, 90, 64]).layout(Layout::Bthd).causal()));
    cases.push(("scale".into(), self_attention(64, 64).scale(0.37)));
    cases.push(("scale_zero".into(), self_attention(64, 64).scale(0.0)));
    cases.push(("scale_negative".into(), self_attention(64, 64).scale(-0.2)));
    cases.push(("large_scores".into(), self_attention(65, 64).scale(12.0)));
    cases.push(("no_lse".into(), Attention::new(Shape::bhtd(1, 2, 65, 64))));
    cases.push(("len_1000".into(), self_attention(1000, 64).causal()));
    cases.push(("empty".into(), spec([1, 2, 0, 64], [1, 2, 7, 64])));
    let described =
        [EXPRESSIONS, FEW_ROWS, SERVING, TURNED].into_iter().flat_map(described_cases::<Attention>);
    cases.extend(described.map(|(name, spec)| (name, spec.with_lse())));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::described;

    #[test]
    fn every_described_case_parses() {
        for (name, shape, options) in [EXPRESSIONS, FEW_ROWS, SERVING, TURNED].into_iter().flatten() {
            let options = serde_json::from_str(options).unwrap_or_else(|error| panic!("{name}: {error}"));
            described::<Attention>(shape, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
