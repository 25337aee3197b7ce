//! Cases, recipes, random problems and inputs.

use super::Combine;
use crate::{
    Access, Dtype, HostTensor, Layout, Name, Recipe,
    check::random::normal,
    operator::{described_cases, tensors_of},
};

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "ring-attention",
        shape: "2x1x4x200x64",
        options: "{}",
        source: "Liu et al. 2023, Ring Attention with Blockwise Transformers (a step: what was seen so far, and one block more)",
    },
    Recipe {
        name: "tree-attention",
        shape: "8x1x8x1x128",
        options: "{}",
        source: "Shyam et al. 2024, Tree Attention (a decoded token over keys on 8 devices)",
    },
    Recipe {
        name: "flash-decoding",
        shape: "16x2x8x1x128",
        options: r#"{"layout":"bthd"}"#,
        source: "Dao et al. 2023, Flash-Decoding for long-context inference (splits of the keys)",
    },
    Recipe {
        name: "shared-prefix",
        shape: "2x8x8x1x128",
        options: r#"{"sink_logits":"sinks"}"#,
        source: "Juravsky et al. 2024, Hydragen (a prefix that requests share, and their own keys)",
    },
];

const CASES: &[(&str, &str, &str)] = &[
    ("one_part", "1x2x3x17x64", "{}"),
    ("two", "2x1x2x65x64", "{}"),
    ("two_bthd", "2x2x3x33x64", r#"{"layout":"bthd"}"#),
    ("many", "300x1x2x3x32", "{}"),
    ("decode", "8x2x16x1x128", r#"{"layout":"bthd"}"#),
    ("long", "3x1x2x1000x16", "{}"),
    ("sinks", "3x2x3x20x40", r#"{"sink_logits":"sinks"}"#),
    ("empty", "2x1x2x0x64", "{}"),
    ("dim_1", "3x1x2x30x1", "{}"),
    ("dim_3_f16", "3x1x2x30x3", r#"{"dtype":"f16"}"#),
    ("dim_7_bthd", "4x2x3x21x7", r#"{"layout":"bthd"}"#),
    ("dim_33_bf16", "5x1x3x40x33", r#"{"dtype":"bf16","layout":"bthd"}"#),
    ("dim_576", "3x1x2x9x576", "{}"),
    ("f16", "4x2x2x50x64", r#"{"dtype":"f16"}"#),
    ("f16_bthd", "4x2x3x50x80", r#"{"dtype":"f16","layout":"bthd","sink_logits":"sinks"}"#),
    ("bf16", "4x1x2x50x128", r#"{"dtype":"bf16"}"#),
];

pub(super) fn cases() -> Vec<(String, Combine)> {
    let mut cases = described_cases(CASES);
    cases.push(("odd_values".to_owned(), Combine { odd_values: true, ..Combine::new(4, [2, 2, 30, 20]) }));
    cases
}

pub(super) fn random(random: &mut fastrand::Rng) -> Combine {
    let mut one = |of: &[usize]| of[random.usize(..of.len())];
    let parts = one(&[1, 2, 3, 4, 7, 16, 65]);
    let sizes = [one(&[1, 1, 2, 3]), one(&[1, 2, 3, 8]), one(&[0, 1, 2, 17, 63, 64, 65, 200])];
    let value_dim = one(&[1, 2, 3, 4, 7, 16, 33, 64, 80, 128, 256]);
    Combine {
        layout: if random.bool() { Layout::Bhtd } else { Layout::Bthd },
        dtype: Dtype::FLOATS[random.usize(..Dtype::FLOATS.len())],
        sink_logits: (random.u8(..4) == 0).then(|| "sinks".to_owned()),
        odd_values: random.u8(..3) == 0,
        ..Combine::new(parts, [sizes[0], sizes[1], sizes[2], value_dim])
    }
}

/// Parts with an lse of all sizes, some empty with NaN for o; some NaN that shows, if so.
pub(super) fn random_inputs(spec: &Combine, seed: u64) -> Vec<(Name, HostTensor)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (rows, dim) = (spec.rows(), spec.value_dim);
    let mut lse: Vec<f32> = normal(seed ^ 1, spec.parts * rows).into_iter().map(|x| 3.0 * x).collect();
    let mut o = normal(seed ^ 2, spec.parts * rows * dim);
    for part in 0..spec.parts {
        for row in 0..rows {
            let o = &mut o[part * rows * dim + spec.place(row)..][..dim];
            let lse = &mut lse[part * rows + row];
            match random.u8(..) {
                0..32 => (*lse, o[dim - 1]) = (f32::NEG_INFINITY, f32::NAN),
                32 if spec.odd_values => *lse = f32::NAN,
                33 if spec.odd_values => o[0] = f32::NAN,
                34 if spec.odd_values => o[dim - 1] = f32::INFINITY,
                // The largest by far, and one that weighs nothing.
                35 => *lse = 60.0,
                36 => *lse = -200.0,
                _ => {}
            }
        }
    }
    let drawn = tensors_of(spec, Access::Read).filter_map(|tensor_spec| {
        let values = match &*tensor_spec.name {
            "o_parts" => std::mem::take(&mut o),
            "lse_parts" => std::mem::take(&mut lse),
            _ => normal(seed ^ 3, spec.heads),
        };
        let tensor = HostTensor::from_f32(tensor_spec.shape, &values, tensor_spec.dtype).ok()?;
        Some((tensor_spec.name, tensor))
    });
    drawn.collect()
}
