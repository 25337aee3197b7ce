//! Named uses of linear attention, with the papers they come from.

use crate::Recipe;

macro_rules! recipe {
    ($name:literal, $shape:literal, $options:literal, $source:literal) => {
        Recipe { name: $name, shape: $shape, options: $options, source: $source }
    };
}

pub(crate) const RECIPES: &[Recipe] = &[
    recipe!(
        "linear-transformer",
        "1x4x200x64",
        r#"{"feature_map":"elu1","normaliser":"sum","scale":1.0}"#,
        "Katharopoulos et al. 2020, Transformers are RNNs"
    ),
    recipe!(
        "retnet",
        "1x4x200x64",
        r#"{"gate":"constant"}"#,
        "Sun et al. 2023, Retentive Network (g = ln gamma of each head)"
    ),
    recipe!(
        "lightning",
        "1x4x200x64",
        r#"{"gate":"constant","scale":1.0,"feature_map":"silu"}"#,
        "Qin et al. 2024, Lightning Attention-2; MiniMax-01"
    ),
    recipe!(
        "transnormer",
        "1x4x200x64",
        r#"{"feature_map":"elu1","scale":1.0}"#,
        "Qin et al. 2022, The Devil in Linear Transformer (outputs are normalised outside)"
    ),
    recipe!(
        "simple-gla",
        "1x4x200x64",
        r#"{"gate":"scalar"}"#,
        "Yang et al. 2024, Gated Linear Attention, with one gate a head; Peng et al. 2021, RFA"
    ),
    recipe!(
        "mamba2-ssd",
        "1x1:4x200x64",
        r#"{"gate":"constant","dt":"dt","skip":"d","scale":1.0,"state_layout":"vk","layout":"bthd"}"#,
        "Dao and Gu 2024, Mamba-2 (q = C, k = B, v = x, g = A, dt after its softplus, d = D)"
    ),
    recipe!("gla", "1x4x200x64", r#"{"gate":"vector"}"#, "Yang et al. 2024, Gated Linear Attention"),
    recipe!(
        "hgrn2",
        "1x4x200x64",
        r#"{"gate":"vector","key":"decay","scale":1.0}"#,
        "Qin et al. 2024, HGRN2 (g is the logarithm of the forget gate, and k = 1 - exp(g))"
    ),
    recipe!(
        "delta-net",
        "1x4x200x64",
        r#"{"rule":"delta"}"#,
        "Schlag et al. 2021; Yang et al. 2024, Parallelizing Linear Transformers with the Delta Rule"
    ),
    recipe!(
        "negative-eigenvalues",
        "1x4x200x64",
        r#"{"rule":"delta","gate":"scalar","fill":"integer_beta"}"#,
        "Grazzi et al. 2024, Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues (beta to 2)"
    ),
    recipe!(
        "gated-delta-net",
        "1x2:4x200x64",
        r#"{"rule":"delta","gate":"scalar"}"#,
        "Yang et al. 2024, Gated Delta Networks; Qwen3-Next"
    ),
    recipe!(
        "gated-delta-product",
        "1x4x100x64",
        r#"{"rule":"delta","gate":"scalar","steps":2}"#,
        "Siems et al. 2025, DeltaProduct"
    ),
    recipe!(
        "kda",
        "1x4x200x64",
        r#"{"rule":"delta","gate":"vector"}"#,
        "Moonshot AI 2025, Kimi Linear (Kimi Delta Attention)"
    ),
    recipe!(
        "comba",
        "1x4x200x64",
        r#"{"rule":"delta","gate":"scalar","erase_key":"p"}"#,
        "Hu et al. 2025, Comba (p is a multiple of k)"
    ),
    recipe!(
        "rwkv6",
        "1x4x200x64",
        r#"{"gate":"vector","bonus":"u","scale":1.0}"#,
        "Peng et al. 2024, Eagle and Finch (RWKV-6)"
    ),
    recipe!(
        "rwkv7",
        "1x4x200x64",
        r#"{"rule":"dplr","gate":"vector","scale":1.0}"#,
        "Peng et al. 2025, RWKV-7 Goose (a = -kk, b = kk * in-context rate)"
    ),
    recipe!(
        "lit",
        "1x2x196x32",
        r#"{"causal":false,"normaliser":"sum","feature_map":"relu","scale":1.0,"eps":1e-5}"#,
        "Cai et al. 2023, EfficientViT (ReLU linear attention); Wang et al. 2025, LiT"
    ),
    recipe!(
        "slab",
        "1x3x196x64",
        r#"{"causal":false,"normaliser":"sum","feature_map":"relu","scale":1.0}"#,
        "Guo et al. 2024, SLAB (simplified linear attention; its depthwise convolution is outside)"
    ),
    recipe!(
        "hedgehog",
        "1x4x200x64",
        r#"{"feature_map":"learned","feature_dim":64,"normaliser":"sum","scale":1.0}"#,
        "Zhang et al. 2024, The Hedgehog and the Porcupine"
    ),
    recipe!(
        "mossformer",
        "1x1x200x128",
        r#"{"causal":false,"feature_map":"identity","scale":0.005}"#,
        "Zhao and Ma 2023, MossFormer (the linear half: attention within groups is an operator of its own)"
    ),
    recipe!(
        "liger",
        "1x2:4x200x64",
        r#"{"gate":"vector","feature_map":"softmax"}"#,
        "Lan et al. 2025, Liger (k's own projection, pooled, is the gate)"
    ),
    recipe!(
        "lasp2",
        "1x4x200x64",
        r#"{"gate":"constant","state_in":true}"#,
        "Sun et al. 2025, LASP-2 (a segment's state is exported, prefix sums of them are the next ones' state_in)"
    ),
];
