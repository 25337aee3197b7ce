//! A prefix that batch entries share is read once for all of them, and changes no result.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Layout, Shape};
use foveal_kernels::{Constraints, Described, Dtype, HostTensor, operator, testing::Case};
use foveal_tests::harness::{self, Prepared};
use foveal_tests::say;
use pollster::block_on;
use std::sync::Arc;

use crate::{engine_or_skip, folder};

/// Spoils rows `0..keys` of all entries but the first.
fn spoilt(spec: &Attention, tensor: &HostTensor, keys: usize) -> Result<HostTensor> {
    let [heads, len] = [spec.kv_heads, spec.kv_len];
    let width = tensor.len() / (spec.batch * heads * len);
    #[expect(clippy::cast_possible_truncation, reason = "inputs are stored as f32 or less")]
    let mut values: Vec<f32> = tensor.to_f64().into_iter().map(|x| x as f32).collect();
    for (row, values) in values.chunks_mut(width).enumerate() {
        let (entry, key) = match spec.layout {
            Layout::Bhtd => (row / len / heads, row % len),
            Layout::Bthd => (row / heads / len, row / heads % len),
        };
        if entry > 0 && key < keys {
            values.fill(f32::NAN);
        }
    }
    Ok(HostTensor::from_f32(tensor.shape().to_vec(), &values, tensor.dtype().context("of floats")?)?)
}

#[test]
fn only_the_first_entry_s_prefix_is_read() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = |batch, heads, q_len, kv_len| {
        Attention::new(Shape::bhtd(batch, heads, q_len, 32).kv(2, kv_len)).with_lse().shared_prefix(256)
    };
    let mut odd = spec(3, 2, 3, 290).causal().dtype(Dtype::F16).layout(Layout::Bthd);
    odd.sink_logits = Some("sinks".into());
    for spec in [spec(6, 4, 1, 300), spec(4, 4, 40, 256).causal(), odd] {
        let case = Case { name: spec.describe(), problem: Arc::new(spec.clone()), seed: 4 };
        let mut prepared = Prepared::new(case)?;
        for (name, tensor) in &mut prepared.inputs {
            if ["k", "v"].contains(&&**name) {
                *tensor = spoilt(&spec, tensor, 256)?;
            }
        }
        for variant in operator("attention")?.variants() {
            let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant.name)) else { continue };
            let shared = plan.passes.iter().filter(|pass| pass.label.ends_with("shared_prefix")).count();
            ensure!(shared == 1, "{} of {}: {shared} passes\n{plan}", variant.name, spec.describe());
            let kernel = block_on(engine.prepare_exact(&plan))?;
            prepared.check(&engine, &kernel, folder()).with_context(|| variant.name)?;
        }
    }
    Ok(())
}

/// Two prompts of one length, told apart by their pages alone.
#[test]
fn a_shared_prefix_changes_no_result() -> Result<()> {
    let engine = engine_or_skip!();
    let alone = Attention::new(Shape::bhtd(5, 8, 1, 64).kv(2, 640))
        .with_lse()
        .pages(foveal_kernels::attention::Pages::new("pages", 16, 210))
        .kv_lengths("keys");
    let together = alone.clone().shared_prefix(512);
    let case = Case { name: together.describe(), problem: Arc::new(together.clone()), seed: 8 };
    let prepared = Prepared::new(case)?;
    let [alone, together] = [&alone, &together].map(|spec| -> Result<_> {
        let plan = engine.plan_with(spec, &Constraints::variant("decode"))?;
        let kernel = block_on(engine.prepare_exact(&plan))?;
        harness::run(&engine, &kernel, &harness::storage(&plan.tensors, &prepared.inputs)?)
            .map(|outputs| (plan, outputs))
    });
    let ((_, alone), (plan, together)) = (alone?, together?);
    prepared.judge(&plan, &alone, folder()).context("alone")?;
    prepared.judge(&plan, &together, folder()).context("together")?;
    say(&plan.to_string());
    Ok(())
}
