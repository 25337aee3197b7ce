//! Cases of rows that are turned by their positions, and of queries that are integers: name, shape and options.

pub(super) const TURNED: &[(&str, &str, &str)] = &[
    ("rope_halves_causal", "2x4:2x90:120x64", r#"{"mask":"causal","rope":"halves"}"#),
    ("rope_pairs_f16", "1x2x133x40", r#"{"rope":"pairs","dtype":"f16","rope_base":500000}"#),
    (
        "rope_part_bthd_bf16",
        "2x3x70x80:32",
        r#"{"mask":"causal","rope":"halves","rope_dim":24,"layout":"bthd","dtype":"bf16"}"#,
    ),
    // The partner of a column lies across vectors.
    ("rope_uneven", "1x2x65:70x33", r#"{"rope":"halves","rope_dim":10}"#),
    ("rope_pairs_uneven_f16", "1x2x65:70x30", r#"{"rope":"pairs","dtype":"f16"}"#),
    ("rope_wide", "1x1x40:70x576:64", r#"{"mask":"causal","rope":"halves"}"#),
    (
        "rope_positions",
        "2x4:2x60:80x64",
        r#"{"mask":"window(30, 30)","rope":"halves","pos":"pos","k_pos":"k_pos"}"#,
    ),
    ("rope_one_positions", "2x2x70x32", r#"{"mask":"causal","rope":"pairs","pos":"pos","k_pos":"pos"}"#),
    (
        "rope_lengths",
        "3x4:2x50:90x64",
        r#"{"mask":"causal","score":"softcap(s, 20)","rope":"halves","q_len":"queries","kv_len":"keys"}"#,
    ),
    ("rope_decode", "2x8:2x1:300x64", r#"{"kv_len":"keys","rope":"halves"}"#),
    ("rope_decode_queries", "2x8:2x1:300x64", r#"{"kv_len":"keys","rope":"halves","rope_of":"q"}"#),
    (
        "rope_pages",
        "3x8:2x2:160x64",
        r#"{"mask":"causal","kv_len":"keys","block_table":"pages","rope":"halves","rope_of":"q"}"#,
    ),
    (
        "rope_packed",
        "4x4:2x150:170x64",
        r#"{"mask":"causal","cu_seqlens_q":"cu_q","cu_seqlens_k":"cu_k","rope":"halves"}"#,
    ),
    (
        "rope_packed_positions",
        "3x2x90:140x40",
        r#"{"cu_seqlens_q":"cu_q","cu_seqlens_k":"cu_k","rope":"pairs","pos":"pos","k_pos":"k_pos"}"#,
    ),
    (
        "rope_packed_over_lengths",
        "4x4:2x80:90x64",
        r#"{"mask":"causal","cu_seqlens_q":"cu_q","kv_len":"keys","rope":"halves"}"#,
    ),
    ("rope_normalised", "2x4:2x70:90x36", r#"{"qk_norm":"l2","scale":"scales","rope":"halves"}"#),
    ("rope_blocks", "1x2x200:256x32", r#"{"mask":"window(25, 25)","rope":"halves"}"#),
    ("rope_splits", "1x4:2x2:1400x64", r#"{"rope":"pairs","splits":3,"sink_logits":"sinks"}"#),
    ("rope_i8", "1x4:2x70:90x64", r#"{"mask":"causal","k_scale":"ks","v_scale":"vs","rope":"halves"}"#),
    (
        "rope_i4_pairs",
        "1x2x33:50x30",
        r#"{"k_scale":"ks","v_scale":"vs","kv_dtype":"i4","rope":"pairs","quant_block":16}"#,
    ),
    ("i8_queries_few_rows", "2x8:2x1:300x64", r#"{"k_scale":"ks","v_scale":"vs","q_scale":"qs"}"#),
    (
        "i8_queries_causal_f16",
        "1x4:2x100:130x64",
        r#"{"mask":"causal","k_scale":"ks","v_scale":"vs","q_scale":"qs","dtype":"f16"}"#,
    ),
    (
        "i8_queries_uneven",
        "1x2x65:70x30",
        r#"{"k_scale":"ks","v_scale":"vs","q_scale":"qs","quant_block":10,"qk_norm":"l2","layout":"bthd"}"#,
    ),
    (
        "i8_queries_i4_pages",
        "3x8:2x2:192x64",
        r#"{"k_scale":"ks","v_scale":"vs","q_scale":"qs","kv_dtype":"i4","kv_len":"keys","block_table":"pages"}"#,
    ),
    (
        "i8_queries_packed",
        "3x4:2x70:90x32",
        r#"{"qk_norm":"l2","cu_seqlens_q":"cu_q","cu_seqlens_k":"cu_k","k_scale":"ks","v_scale":"vs","q_scale":"qs","quant_block":8}"#,
    ),
    (
        "i8_queries_rope",
        "2x4:2x70:90x64",
        r#"{"mask":"causal","k_scale":"ks","v_scale":"vs","q_scale":"qs","rope":"halves","sink_logits":"sinks"}"#,
    ),
];
