//! The operator's table of cases.

use crate::{linear_attention::LinearAttention, operator::described_cases};

/// Name, shape, options.
const CASES: &[(&str, &str, &str)] = &[
    ("len_1", "2x2x1x32", r#"{"state_in":true}"#),
    ("len_15", "1x2x15x32", "{}"),
    ("len_16", "1x2x16x32", "{}"),
    ("len_17", "1x2x17x32", "{}"),
    ("len_63", "1x2x63x64", r#"{"state_in":true}"#),
    ("len_65", "1x2x65x64", r#"{"gate":"scalar","state_in":true}"#),
    ("len_1000", "1x2x1000x64", r#"{"gate":"scalar"}"#),
    ("empty", "1x2x0x32", r#"{"state_in":true}"#),
    ("constant", "2x4x130x48", r#"{"gate":"constant"}"#),
    ("scalar_strong", "1x2x100x64", r#"{"gate":"scalar","fill":"strong"}"#),
    ("scalar_extreme", "1x2x200x64", r#"{"gate":"scalar","fill":"extreme"}"#),
    ("vector", "1x2x130x64", r#"{"gate":"vector","state_in":true}"#),
    ("vector_strong", "1x2x100x64", r#"{"gate":"vector","fill":"strong"}"#),
    ("vector_extreme", "1x2x200x32", r#"{"gate":"vector","fill":"extreme"}"#),
    ("vector_zero", "1x2x70x64", r#"{"gate":"vector","fill":"zero"}"#),
    ("delta", "1x2x130x64", r#"{"rule":"delta","state_in":true}"#),
    ("delta_012", "1x2x100x64", r#"{"rule":"delta","fill":"integer_beta,repeated_keys"}"#),
    ("delta_1000", "1x2x1000x64", r#"{"rule":"delta","gate":"scalar"}"#),
    ("delta_scalar", "2x2:4x100x64", r#"{"rule":"delta","gate":"scalar","state_in":true}"#),
    (
        "delta_scalar_strong",
        "1x2x100x64",
        r#"{"rule":"delta","gate":"scalar","fill":"strong,integer_beta,repeated_keys"}"#,
    ),
    ("delta_vector", "1x2x130x64", r#"{"rule":"delta","gate":"vector","state_in":true}"#),
    (
        "delta_vector_extreme",
        "1x2x130x64",
        r#"{"rule":"delta","gate":"vector","fill":"extreme,integer_beta"}"#,
    ),
    ("delta_steps", "1x2x50x32", r#"{"rule":"delta","gate":"scalar","steps":2,"state_in":true}"#),
    (
        "delta_steps_reverse",
        "1x2x33x40",
        r#"{"rule":"delta","gate":"vector","steps":3,"direction":"reverse"}"#,
    ),
    ("erase_key", "1x2x100x64", r#"{"rule":"delta","gate":"scalar","erase_key":"p","state_in":true}"#),
    ("dplr", "1x2x100x64", r#"{"rule":"dplr","gate":"vector","state_in":true}"#),
    ("dplr_no_gate", "1x2x50x40", r#"{"rule":"dplr"}"#),
    ("bonus", "1x2x100x64", r#"{"gate":"vector","bonus":"u","state_in":true}"#),
    ("bonus_scalar", "1x2:4x40x32", r#"{"gate":"scalar","bonus":"u","layout":"bthd"}"#),
    ("bonus_step_sizes", "1x2:4x70x32", r#"{"gate":"scalar","bonus":"u","dt":"dt"}"#),
    ("normalised", "2x2x100x64", r#"{"normaliser":"sum","feature_map":"elu1","state_in":true,"z_in":true}"#),
    ("normalised_gated", "1x2x100x64", r#"{"normaliser":"sum","gate":"scalar"}"#),
    ("reverse", "1x2x100x64", r#"{"gate":"scalar","direction":"reverse","state_in":true}"#),
    ("both", "2x2x70x48", r#"{"gate":"vector","direction":"both"}"#),
    ("both_f16", "1x2x70x30", r#"{"gate":"scalar","direction":"both","dtype":"f16","layout":"bthd"}"#),
    ("whole", "2x2x100x32", r#"{"causal":false,"normaliser":"sum","feature_map":"relu","scale":1.0}"#),
    ("whole_wide", "1x1x40x600:20", r#"{"causal":false,"state_in":true}"#),
    (
        "whole_packed",
        "1x2x100x33",
        r#"{"causal":false,"sequences":4,"normaliser":"sum","feature_map":"softmax"}"#,
    ),
    ("whole_padded", "3x2x60x32", r#"{"causal":false,"kv_len":"lengths","state_in":true}"#),
    ("relu2", "1x2x70x32", r#"{"feature_map":"relu2"}"#),
    ("silu", "1x2x70x33", r#"{"feature_map":"silu"}"#),
    ("l2norm", "1x2x70x32", r#"{"feature_map":"l2norm","rule":"delta"}"#),
    ("softmax_map", "1x2x70x30", r#"{"feature_map":"softmax","normaliser":"sum"}"#),
    ("learned", "1x2x70x32", r#"{"feature_map":"learned","feature_dim":20,"normaliser":"sum"}"#),
    ("packed", "1x2x130x64", r#"{"gate":"scalar","sequences":5,"state_in":true}"#),
    (
        "packed_delta",
        "1x2:4x130x64",
        r#"{"rule":"delta","gate":"scalar","sequences":7,"state_in":true,"layout":"bthd"}"#,
    ),
    ("packed_vector_reverse", "1x2x90x32", r#"{"gate":"vector","sequences":4,"direction":"reverse"}"#),
    ("padded", "3x2x70x32", r#"{"gate":"scalar","kv_len":"lengths","state_in":true}"#),
    ("padded_delta", "2x2x70x32", r#"{"rule":"delta","gate":"vector","kv_len":"lengths"}"#),
    ("grouped", "1x2:6x70x64", r#"{"gate":"vector","state_in":true}"#),
    ("queries", "1x2x70x64", r#"{"query_heads":6,"rule":"delta","gate":"scalar","state_in":true}"#),
    (
        "queries_grouped",
        "2x1:2x70x40:24",
        r#"{"query_heads":4,"gate":"vector","layout":"bthd","dtype":"f16"}"#,
    ),
    ("queries_own", "1x2:4x100x32", r#"{"query_heads":4,"rule":"delta","gate":"vector","state_in":true}"#),
    ("queries_decode", "2x2x1x64", r#"{"query_heads":8,"rule":"delta","gate":"scalar","state_in":true}"#),
    ("queries_both", "1x1:2x70x33:31", r#"{"query_heads":4,"gate":"scalar","skip":"d","direction":"both"}"#),
    ("queries_skip", "2x1x70x32", r#"{"query_heads":3,"gate":"scalar","dt":"dt","skip":"d"}"#),
    (
        "queries_whole",
        "2x1:2x70x32",
        r#"{"query_heads":4,"causal":false,"normaliser":"sum","feature_map":"learned","feature_dim":9}"#,
    ),
    ("queries_key_decay", "1x2x70x32", r#"{"query_heads":4,"gate":"vector","key":"decay","sequences":3}"#),
    ("queries_dplr", "1x1:2x70x32:24", r#"{"query_heads":6,"rule":"dplr","gate":"vector","layout":"bthd"}"#),
    ("shared_beta", "2x2x100x32", r#"{"rule":"delta","shared_beta":true,"state_in":true,"fill":"nan"}"#),
    (
        "shared_beta_queries",
        "2x1:3x70x32",
        r#"{"rule":"delta","gate":"scalar","shared_beta":true,"query_heads":6,"layout":"bthd","steps":2}"#,
    ),
    ("bthd", "2x3x70x48", r#"{"gate":"scalar","layout":"bthd","state_in":true}"#),
    ("state_vk", "1x2x70x48:32", r#"{"gate":"scalar","state_layout":"vk","state_in":true}"#),
    (
        "state_bf16_odd",
        "2x1:3x20x7:5",
        r#"{"rule":"delta","gate":"vector","dtype":"bf16","state_dtype":"bf16","state_layout":"vk","state_in":true}"#,
    ),
    (
        "checkpoints",
        "2x1:2x150x32",
        r#"{"rule":"delta","gate":"scalar","checkpoint_every":64,"query_heads":4,"state_dtype":"f16","state_in":true}"#,
    ),
    (
        "checkpoints_add",
        "1x2x140x32",
        r#"{"gate":"scalar","checkpoint_every":64,"dt":"dt","state_layout":"vk"}"#,
    ),
    (
        "checkpoints_packed",
        "1x2x300x32",
        r#"{"rule":"delta","gate":"scalar","sequences":4,"checkpoint_every":64,"direction":"reverse"}"#,
    ),
    (
        "window",
        "1x2x12x32",
        r#"{"rule":"delta","steps":2,"sequences":4,"state_window":8,"direction":"reverse","state_in":true}"#,
    ),
    (
        "window_padded",
        "3x2x79x33:31",
        r#"{"gate":"vector","kv_len":"lengths","state_window":9,"checkpoint_every":64,"state_dtype":"bf16"}"#,
    ),
    ("no_state_out", "1x2x70x64", r#"{"gate":"scalar","state_out":false}"#),
    ("f16", "1x2x100x64", r#"{"gate":"scalar","dtype":"f16","state_in":true}"#),
    ("f16_odd", "1x2x70x33:31", r#"{"rule":"delta","gate":"vector","dtype":"f16"}"#),
    ("bf16", "1x2x100x64", r#"{"rule":"delta","gate":"scalar","dtype":"bf16","layout":"bthd"}"#),
    (
        "step_sizes",
        "2x1:4x100x64:32",
        r#"{"gate":"constant","dt":"dt","skip":"d","state_in":true,"layout":"bthd","state_layout":"vk"}"#,
    ),
    ("step_sizes_f16", "1x2x70x33:31", r#"{"gate":"vector","dt":"dt","skip":"d","dtype":"f16"}"#),
    ("step_sizes_reverse", "1x2x70x40", r#"{"gate":"scalar","dt":"dt","skip":"d","direction":"reverse"}"#),
    ("skip_both", "1x2x70x33:31", r#"{"gate":"scalar","skip":"d","direction":"both","dtype":"f16"}"#),
    ("skip_dplr", "1x2x70x32:24", r#"{"rule":"dplr","gate":"vector","skip":"d"}"#),
    ("skip_delta", "1x2:4x70x64", r#"{"rule":"delta","gate":"scalar","skip":"d","sequences":3}"#),
    ("key_decay", "1x2x130x64", r#"{"gate":"vector","key":"decay","scale":1.0,"state_in":true}"#),
    ("key_decay_f16", "1x2x70x33", r#"{"gate":"vector","key":"decay","fill":"extreme","dtype":"f16"}"#),
    ("segments", "1x2x500x64", r#"{"rule":"delta","gate":"scalar","state_in":true}"#),
    (
        "segments_packed",
        "1x2:4x600x33:31",
        r#"{"rule":"delta","gate":"vector","sequences":4,"state_in":true,"direction":"reverse","state_layout":"vk"}"#,
    ),
    (
        "segments_padded",
        "2x1x290x130:20",
        r#"{"rule":"delta","kv_len":"lengths","layout":"bthd","dtype":"f16"}"#,
    ),
    ("scale_zero", "1x2x40x32", r#"{"scale":0.0}"#),
    ("scale_one", "1x2x40x32", r#"{"scale":1.0,"gate":"vector"}"#),
    ("nan_padded", "3x2x130x32", r#"{"gate":"vector","kv_len":"lengths","fill":"nan","state_in":true}"#),
    ("nan_packed", "1x2:4x130x64", r#"{"rule":"delta","gate":"scalar","sequences":5,"fill":"nan"}"#),
    (
        "nan_reverse",
        "2x2x130x32",
        r#"{"rule":"delta","gate":"vector","kv_len":"lengths","direction":"reverse","fill":"nan"}"#,
    ),
];

pub(crate) fn cases() -> Vec<(String, LinearAttention)> {
    let mut cases = described_cases(CASES);
    // Every width compiles kernels of its own: the rules take turns.
    for (turn, dim) in [1, 2, 3, 7, 16, 31, 40, 96, 100, 128, 192, 256].into_iter().enumerate() {
        let (rule, gate) = [("delta", "vector"), ("add", "scalar"), ("delta", "scalar")][turn % 3];
        let options = format!(r#"{{"rule":"{rule}","gate":"{gate}","state_in":true}}"#);
        let other = if dim % 2 == 0 { dim } else { 2 * dim + 1 };
        let (name, shape) = (format!("dims_{dim}_{other}"), format!("1x1x40x{dim}:{other}"));
        cases.extend(described_cases(&[(&*name, &*shape, &*options)]));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::described;

    #[test]
    fn every_described_case_parses() {
        for (name, shape, options) in CASES {
            let options = serde_json::from_str(options).unwrap_or_else(|error| panic!("{name}: {error}"));
            described::<LinearAttention>(shape, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
