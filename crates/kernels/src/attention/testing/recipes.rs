//! Named uses of attention, with the papers they come from.

use crate::{Recipe, attention::TableInput, check::TableDistribution};

/// Says what a recipe's tables hold.
pub(crate) fn fill(recipe: &str, tables: &mut [TableInput]) {
    for (_, table, fill) in FILLS.iter().filter(|(of, ..)| *of == recipe) {
        tables.iter_mut().filter(|input| input.table.name == *table).for_each(|input| input.fill = *fill);
    }
}

/// Contents of the tables of some recipes: recipe, table, values.
const FILLS: &[(&str, &str, TableDistribution)] = &[
    ("key-padding", "kv_len", TableDistribution::Between(1, 200)),
    ("forgetting", "gate_sum", TableDistribution::Uniform(-8.0, 0.0)),
    ("varlen", "shift", TableDistribution::Between(0, 0)),
    ("longformer-global", "is_global", TableDistribution::Below(2)),
    ("alisa", "kept", TableDistribution::Below(2)),
    ("cache-craft", "at_q", TableDistribution::Below(200)),
    ("cache-craft", "at_k", TableDistribution::Below(200)),
];

macro_rules! recipe {
    ($name:literal, $shape:literal, $options:literal, $source:literal) => {
        Recipe { name: $name, shape: $shape, options: $options, source: $source }
    };
}

pub(crate) const RECIPES: &[Recipe] = &[
    recipe!("full", "1x4x200x64", "{}", "Vaswani et al. 2017, Attention Is All You Need"),
    recipe!("causal", "1x4x200x64", r#"{"mask":"causal"}"#, "Vaswani et al. 2017, section 3.2.3"),
    recipe!(
        "grouped-query",
        "1x8:2x200x64",
        r#"{"mask":"causal"}"#,
        "Ainslie et al. 2023, GQA (k and v with fewer heads); Shazeer 2019 (one)"
    ),
    recipe!(
        "sliding-window",
        "1x4x300x64",
        r#"{"mask":"causal & window(63, 0)"}"#,
        "Beltagy et al. 2020, Longformer; Jiang et al. 2023, Mistral 7B"
    ),
    recipe!(
        "streaming-llm",
        "1x4x300x64",
        r#"{"mask":"causal & (window(63, 0) | sinks(4))"}"#,
        "Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks"
    ),
    recipe!(
        "longformer-global",
        "1x2x300x32",
        r#"{"mask":"window(32, 32) | is_global[q] != 0 | is_global[k] != 0","tables":{"is_global":"u8[300]"}}"#,
        "Beltagy et al. 2020, Longformer, section 3.1"
    ),
    recipe!(
        "rope",
        "1x4x200x64",
        r#"{"mask":"causal","rope":"pairs"}"#,
        "Su et al. 2021, RoFormer, section 3.2.2"
    ),
    recipe!(
        "rope-part",
        "1x4x200x96",
        r#"{"mask":"causal","rope":"halves","rope_dim":24}"#,
        "Black et al. 2022, GPT-NeoX-20B, section 2.1 (a quarter of each row)"
    ),
    recipe!(
        "int8-scores",
        "1x4x200x64",
        r#"{"mask":"causal","k_scale":"k_scale","v_scale":"v_scale","q_scale":"q_scale","quant_block":1}"#,
        "Chen et al. 2024, INT-FlashAttention (scales a token; the weights stay real here)"
    ),
    recipe!(
        "prefix-lm",
        "1x4x200x64",
        r#"{"mask":"prefix(50) | causal"}"#,
        "Raffel et al. 2020, T5, section 3.2"
    ),
    recipe!("chunked-local", "1x4x200x64", r#"{"mask":"causal & blocks(64)"}"#, "Meta 2025, Llama 4"),
    recipe!(
        "document",
        "2x2x200x64",
        r#"{"mask":"causal & same(doc)","tables":{"doc":"i32[2,200]"}}"#,
        "Krell et al. 2021, Efficient Sequence Packing without Cross-contamination"
    ),
    recipe!(
        "varlen",
        "1x2x120:150x64",
        r#"{"mask":"same(seg_q, seg_k) & k <= q + shift[q]","tables":{"seg_q":"i32[120]","seg_k":"i32[150]","shift":"i32[120]"}}"#,
        "Dao et al. 2022, FlashAttention (variable lengths, packed)"
    ),
    recipe!(
        "same-span",
        "1x2x200x64",
        r#"{"mask":"causal | same(span) & span[q] != 0","tables":{"span":"i32[200]"}}"#,
        "Liang et al. 2024, Mixture-of-Transformers; Shi et al. 2024, LlamaFusion (an image's tokens see each other)"
    ),
    recipe!(
        "key-padding",
        "2x2x200x64",
        r#"{"mask":"k < kv_len[b]","tables":{"kv_len":"i32[2]"}}"#,
        "Vaswani et al. 2017 (batches of sequences of several lengths)"
    ),
    recipe!(
        "dense-mask",
        "1x2x100x64",
        r#"{"mask":"visible[b, h, q, k] != 0","tables":{"visible":"u8[1,2,100,100]"}}"#,
        "any boolean mask tensor"
    ),
    recipe!(
        "dense-bias",
        "1x2x100x64",
        r#"{"score":"s + bias[b, h, q, k]","tables":{"bias":"f32[1,2,100,100]"}}"#,
        "any additive mask tensor"
    ),
    recipe!(
        "dilated",
        "1x2x200x64",
        r#"{"mask":"window(36, 36) & dilated(3)"}"#,
        "Beltagy et al. 2020, Longformer, section 3.1"
    ),
    recipe!(
        "alibi",
        "1x6x200x64",
        r#"{"mask":"causal","score":"alibi"}"#,
        "Press et al. 2022, Train Short, Test Long"
    ),
    recipe!(
        "t5-bias",
        "1x4x100x64",
        r#"{"scale":1.0,"score":"s + rel[bucket[q, k], h]","tables":{"rel":"f32[32,4]","bucket":"i32[100,100]"}}"#,
        "Raffel et al. 2020, T5, section 2.1"
    ),
    recipe!(
        "relative-clip",
        "1x2x100x64",
        r#"{"mask":"causal","score":"s + rel[h, clamp(k - qp, -16, 16) + 16]","tables":{"rel":"f32[2,33]"}}"#,
        "Shaw et al. 2018, Self-Attention with Relative Position Representations"
    ),
    recipe!(
        "softcap",
        "1x4x200x64",
        r#"{"mask":"causal","score":"softcap(50.0)"}"#,
        "Gemma Team 2024, Gemma 2, section 2"
    ),
    recipe!(
        "sink-logits",
        "1x8:2x200x64",
        r#"{"mask":"causal & window(127, 0)","sink_logits":"sinks"}"#,
        "Agarwal et al. 2025, gpt-oss model card; Miller 2023, Attention Is Off By One"
    ),
    recipe!(
        "forgetting",
        "1x2x200x64",
        r#"{"mask":"causal","score":"s + gate_sum[b, q, h] - gate_sum[b, k, h]","tables":{"gate_sum":"f32[1,200,2]"}}"#,
        "Lin et al. 2025, Forgetting Transformer"
    ),
    recipe!(
        "swin",
        "1x3x196x32",
        r#"{"mask":"window2d(14, 7, 0)","score":"s + rel[h, (q / 14 % 7 - k / 14 % 7 + 6) * 13 + q % 7 - k % 7 + 6]","tables":{"rel":"f32[3,169]"}}"#,
        "Liu et al. 2021, Swin Transformer, section 3.2"
    ),
    recipe!(
        "swin-shifted",
        "1x3x196x32",
        r#"{"mask":"window2d(14, 7, 4)","score":"s + rel[h, (clamp(q / 14 - k / 14, -6, 6) + 6) * 13 + clamp(q % 14 - k % 14, -6, 6) + 6]","tables":{"rel":"f32[3,169]"}}"#,
        "Liu et al. 2021, Swin Transformer, section 3.2 (cyclic shift by 3)"
    ),
    recipe!(
        "swin-windows",
        "8x3x49x32",
        r#"{"score":"s + rel[h, (q / 7 - k / 7 + 6) * 13 + q % 7 - k % 7 + 6]","tables":{"rel":"f32[3,169]"}}"#,
        "Liu et al. 2021, Swin Transformer (windows as batch entries)"
    ),
    recipe!(
        "swin-v2",
        "8x3x64x32",
        r#"{"qk_norm":"l2","scale":"logit_scale","score":"s + 16.0 / (1.0 + exp(-clamp(rel[h, (q / 8 - k / 8 + 7) * 15 + q % 8 - k % 8 + 7], -20.0, 20.0)))","tables":{"rel":"f32[3,225]"}}"#,
        "Liu et al. 2022, Swin Transformer V2, sections 3.2 and 3.3 (table of the log-spaced bias, as the network gives it)"
    ),
    recipe!(
        "clear",
        "1x2x272x64",
        r#"{"mask":"q >= 256 | k >= 256 | disc(16, 5)"}"#,
        "Liu et al. 2024, CLEAR (a 16 x 16 raster, then 16 text tokens that see and are seen by all)"
    ),
    recipe!(
        "longgen",
        "1x4x300x64",
        r#"{"mask":"causal & (window(63, 0) | sinks(16) | strided(16, 4))"}"#,
        "Ge et al. 2024, LongGen"
    ),
    recipe!(
        "longlora-s2",
        "1x4x256x64",
        r#"{"mask":"causal & (h < 2 & blocks(64) | h >= 2 & shifted_blocks(64, 32))"}"#,
        "Chen et al. 2024, LongLoRA, section 3.2"
    ),
    recipe!(
        "big-bird",
        "1x2x400x64",
        r#"{"block_mask":{"q_block":16,"kv_block":16,"big_bird":[3,2,3],"seed":1}}"#,
        "Zaheer et al. 2020, Big Bird, section 2"
    ),
    recipe!(
        "block-sparse",
        "1x4x512x64",
        r#"{"block_mask":{"q_block":64,"kv_block":64,"random":0.3,"seed":1}}"#,
        "Gray et al. 2017, GPU Kernels for Block-Sparse Weights; Child et al. 2019"
    ),
    recipe!(
        "strided-sparse",
        "1x2x256x64",
        r#"{"mask":"causal & (window(15, 0) | (qp - k) % 16 == 0)"}"#,
        "Child et al. 2019, Sparse Transformers, section 4.2"
    ),
    recipe!(
        "natten-1d",
        "1x2x200x32",
        r#"{"mask":"clamp(q - 6, 0, nk - 13) <= k & k < clamp(q - 6, 0, nk - 13) + 13"}"#,
        "Hassani et al. 2023, Neighborhood Attention Transformer"
    ),
    recipe!(
        "natten-2d",
        "1x2x196x32",
        r#"{"mask":"clamp(q / 14 - 3, 0, 7) <= k / 14 & k / 14 < clamp(q / 14 - 3, 0, 7) + 7 & clamp(q % 14 - 3, 0, 7) <= k % 14 & k % 14 < clamp(q % 14 - 3, 0, 7) + 7"}"#,
        "Hassani et al. 2023, Neighborhood Attention Transformer, section 3.1"
    ),
    recipe!(
        "local-2d",
        "1x2x196x32",
        r#"{"mask":"local(14, 3, 3)"}"#,
        "Ramachandran et al. 2019, Stand-Alone Self-Attention"
    ),
    recipe!(
        "axial",
        "1x2x196x32",
        r#"{"mask":"q / 14 == k / 14 | q % 14 == k % 14"}"#,
        "Ho et al. 2019, Axial Attention; Huang et al. 2019, CCNet"
    ),
    recipe!(
        "hilo-windows",
        "1x2x196x32",
        r#"{"mask":"window2d(14, 2, 0)"}"#,
        "Pan et al. 2022, HiLo Attention, section 3.2 (the high-frequency heads)"
    ),
    recipe!("no-diagonal", "1x4x100x32", r#"{"mask":"q != k"}"#, "Petralia et al. 2025, NILMFormer"),
    recipe!(
        "mask-per-head",
        "1x4x200x64",
        r#"{"mask":"h == 0 & causal | h == 1 & window(15, 15) | h == 2 & (prefix(40) | causal) | h == 3 & dilated(4)"}"#,
        "He et al. 2024, FlexAttention (a mask for every head)"
    ),
    recipe!(
        "hopfield",
        "1x4x100x64",
        r#"{"scale":0.5}"#,
        "Ramsauer et al. 2021, Hopfield Networks Is All You Need, equation 3 (a free beta)"
    ),
    recipe!(
        "paged",
        "3x8:2x1:192x64",
        r#"{"block_table":"pages","kv_len":"keys"}"#,
        "Kwon et al. 2023, PagedAttention"
    ),
    recipe!(
        "flash-infer",
        "4x8:2x60:192x64",
        r#"{"block_table":"pages","cu_seqlens_q":"cu_seqlens","kv_len":"keys","mask":"causal"}"#,
        "Ye et al. 2025, FlashInfer (prefill, chunks and decode in one call, over pages)"
    ),
    recipe!(
        "lean-attention",
        "2x8:2x1:1024x64",
        r#"{"splits":8}"#,
        "Sanovar et al. 2024, Lean Attention (parts of the keys, merged)"
    ),
    recipe!(
        "byte-transformer",
        "4x4x200x64",
        r#"{"cu_seqlens_k":"cu_seqlens","cu_seqlens_q":"cu_seqlens"}"#,
        "Zhai et al. 2023, ByteTransformer (packed sequences, no padding)"
    ),
    recipe!(
        "deepspeed-inference",
        "2x8x1:256x64",
        r#"{"kv_len":"keys"}"#,
        "Aminabadi et al. 2022, DeepSpeed Inference (a token over the keys so far)"
    ),
    recipe!(
        "alisa",
        "1x4x200x64",
        r#"{"mask":"causal & (window(31, 0) | kept[h, k] != 0)","tables":{"kept":"u8[4,200]"}}"#,
        "Zhao et al. 2024, ALISA (recent tokens, and those that are kept for their weight)"
    ),
    recipe!(
        "cache-craft",
        "1x4x60:200x64",
        r#"{"mask":"at_k[k] <= at_q[q]","tables":{"at_k":"i32[200]","at_q":"i32[60]"}}"#,
        "Agarwal et al. 2025, Cache-Craft (chosen queries over keys from reused chunks, by their positions)"
    ),
];
