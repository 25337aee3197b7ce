//! Cases of packed sequences, pages, and keys and values that are integers: name, shape and options.

pub(super) const SERVING: &[(&str, &str, &str)] = &[
    ("packed_causal", "4x4:2x150:170x64", r#"{"mask":"causal","cu_seqlens_q":"cu_q","cu_seqlens_k":"cu_k"}"#),
    ("packed_one_tensor_f16", "3x2x130x33", r#"{"cu_seqlens_q":"cu","cu_seqlens_k":"cu","dtype":"f16"}"#),
    (
        "packed_window_bthd",
        "3x2x90:140x40",
        r#"{"mask":"causal & (window(20, 0) | sinks(3))","score":"alibi","sink_logits":"sinks","layout":"bthd",
            "cu_seqlens_q":"cu_q","cu_seqlens_k":"cu_k"}"#,
    ),
    (
        "packed_normalised",
        "3x4:2x90:70x36",
        r#"{"qk_norm":"l2","scale":"scales","cu_seqlens_q":"cu_q","cu_seqlens_k":"cu_k"}"#,
    ),
    (
        "packed_few_rows",
        "6x8:2x11:200x64",
        r#"{"mask":"causal","cu_seqlens_q":"cu_q","cu_seqlens_k":"cu_k"}"#,
    ),
    ("packed_keys_only", "3x2x5:130x32", r#"{"mask":"window(9, 9)","cu_seqlens_k":"cu_k"}"#),
    (
        "packed_over_pages",
        "4x4:2x80:96x64",
        r#"{"mask":"causal","cu_seqlens_q":"cu_q","kv_len":"keys","block_table":"pages"}"#,
    ),
    ("packed_queries_only", "4x4:2x80:90x64", r#"{"mask":"causal","cu_seqlens_q":"cu_q","kv_len":"keys"}"#),
    (
        "packed_over_pages_normalised",
        "3x2x40:64x32",
        r#"{"qk_norm":"l2","cu_seqlens_q":"cu_q","block_table":"pages"}"#,
    ),
    (
        "packed_i8_normalised",
        "3x4:2x70:90x32",
        r#"{"qk_norm":"l2","cu_seqlens_q":"cu_q","cu_seqlens_k":"cu_k","k_scale":"ks","v_scale":"vs","quant_block":8}"#,
    ),
    ("pages_few_rows", "3x8:2x1:160x64", r#"{"kv_len":"keys","block_table":"pages"}"#),
    (
        "pages_window_bf16",
        "2x2x70:96x48",
        r#"{"mask":"causal & window(30, 0)","kv_len":"keys","block_table":"pages","page":32,"dtype":"bf16","layout":"bthd"}"#,
    ),
    ("pages_lists", "2x2x200:256x32", r#"{"mask":"window(25, 25)","block_table":"pages","pages":20}"#),
    (
        "pages_uneven",
        "2x2x4:160x33",
        r#"{"score":"tanh(s)","kv_len":"keys","block_table":"pages","qk_norm":"l2"}"#,
    ),
    (
        "pages_splits",
        "2x4:2x2:400x64",
        r#"{"kv_len":"keys","block_table":"pages","page":80,"splits":3,"sink_logits":"sinks"}"#,
    ),
    ("i8_few_rows", "2x8:2x1:300x64", r#"{"k_scale":"ks","v_scale":"vs"}"#),
    ("i8_causal_f16", "1x4:2x70:90x64", r#"{"mask":"causal","k_scale":"ks","v_scale":"vs","dtype":"f16"}"#),
    ("i8_uneven", "1x2x65:70x30", r#"{"k_scale":"ks","v_scale":"vs","quant_block":10,"qk_norm":"l2"}"#),
    (
        "i8_pages_packed",
        "3x4:2x40:128x64",
        r#"{"mask":"causal","k_scale":"ks","v_scale":"vs","kv_len":"keys","block_table":"pages","cu_seqlens_q":"cu"}"#,
    ),
    (
        "i4_few_rows_pages",
        "3x8:2x1:192x64",
        r#"{"k_scale":"ks","v_scale":"vs","kv_dtype":"i4","kv_len":"keys","block_table":"pages","page":64,"quant_block":32}"#,
    ),
    (
        "shared_pages",
        "6x8:2x1:384x64",
        r#"{"kv_len":"keys","block_table":"pages","shared_prefix":288,"mask":"causal"}"#,
    ),
    (
        "shared_few_rows",
        "3x4:2x1:400x64",
        r#"{"block_table":"pages","shared_prefix":256,"sink_logits":"sinks"}"#,
    ),
    (
        "shared_rows",
        "4x4:2x3:300x64",
        r#"{"mask":"causal & window(200, 0)","score":"alibi","kv_len":"keys","shared_prefix":270}"#,
    ),
    (
        "shared_bthd_f16",
        "5x2x2:320x40",
        r#"{"layout":"bthd","dtype":"f16","score":"s + bias[b, h, k]","tables":{"bias":"f32[5,2,320]"},"qk_norm":"l2","scale":"scales","shared_prefix":320}"#,
    ),
    (
        "shared_queries",
        "3x4:2x40:352x48",
        r#"{"mask":"causal","q_len":"queries","kv_len":"keys","block_table":"pages","shared_prefix":272,"pages":60}"#,
    ),
    (
        "shared_i8",
        "4x8:2x2:448x64",
        r#"{"k_scale":"ks","v_scale":"vs","kv_len":"keys","block_table":"pages","page":64,"shared_prefix":320,"dtype":"bf16"}"#,
    ),
    (
        "shared_i4_uneven",
        "3x2x1:300x30",
        r#"{"k_scale":"ks","v_scale":"vs","kv_dtype":"i4","shared_prefix":280}"#,
    ),
    ("shared_less_than_a_block", "3x2x2:100x32", r#"{"kv_len":"keys","shared_prefix":40}"#),
    ("shared_alone", "1x4:2x1:320x64", r#"{"block_table":"pages","page":32,"shared_prefix":256}"#),
    ("i4_uneven", "1x2x33:50x30", r#"{"k_scale":"ks","v_scale":"vs","kv_dtype":"i4","layout":"bthd"}"#),
];
