//! The table of cases, and random ones.

use std::sync::Arc;

use super::{Attention, Layout, Mask};
use crate::{Case, Dtype, Problem};

pub(super) fn cases() -> Vec<Case> {
    let spec = |q: [usize; 4], k: [usize; 4]| Attention::new(q, k).with_lse();
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
            let name = format!("cross_{q_len}_{kv_len}_{}", mask);
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
    cases.push(("no_lse".into(), Attention::new([1, 2, 65, 64], [1, 2, 65, 64])));
    cases.push(("len_1000".into(), self_attention(1000, 64).causal()));
    cases.push(("empty".into(), spec([1, 2, 0, 64], [1, 2, 7, 64])));
    (1..)
        .zip(cases)
        .map(|(seed, (name, spec))| Case { name, problem: Arc::new(spec) as Arc<dyn Problem>, seed })
        .collect()
}

pub(super) fn random_case(seed: u64) -> Case {
    let mut random = fastrand::Rng::with_seed(seed);
    const LENGTHS: [usize; 16] = [1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 129, 200, 257, 300];
    const DIMS: [usize; 18] = [1, 3, 8, 16, 17, 32, 40, 60, 64, 64, 64, 80, 96, 100, 128, 128, 192, 256];
    const HEADS: [(usize, usize); 7] = [(1, 1), (2, 2), (4, 2), (8, 1), (6, 3), (3, 3), (12, 2)];
    fn one<T: Copy>(random: &mut fastrand::Rng, of: &[T]) -> T {
        of[random.usize(..of.len())]
    }
    let (heads, kv_heads) = one(&mut random, &HEADS);
    let batch = one(&mut random, &[1, 1, 1, 2, 3]);
    let q_len = one(&mut random, &LENGTHS);
    let kv_len = if random.bool() { q_len } else { one(&mut random, &LENGTHS) };
    let dim = one(&mut random, &DIMS);
    let mut spec = Attention::new([batch, heads, q_len, dim], [batch, kv_heads, kv_len, dim]);
    if random.u8(..4) == 0 {
        spec = spec.value_dim(one(&mut random, &DIMS));
    }
    spec = spec
        .mask(match random.u8(..3) {
            0 => Mask::None,
            1 => Mask::Causal,
            _ => Mask::CausalTopLeft,
        })
        .dtype(one(&mut random, &[Dtype::F32, Dtype::F32, Dtype::F16, Dtype::Bf16]))
        .layout(one(&mut random, &[Layout::Bhtd, Layout::Bhtd, Layout::Bthd]));
    if random.u8(..4) == 0 {
        spec = spec.scale(one(&mut random, &[0.1, 1.0, 0.37, 0.0]));
    }
    spec.lse = random.u8(..4) != 0;
    Case { name: format!("random_{seed}"), problem: Arc::new(spec), seed }
}
