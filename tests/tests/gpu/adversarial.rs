//! Plans for other adapters, run here: a kernel is right wherever its requirements hold, not where its author sat.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Layout, Mask, Shape};
use foveal_kernels::{
    AdapterProfile, Constraints, Described, Dtype, ErrorKind, HostTensor, Problem,
    testing::{Case, Reference, Rows},
};
use foveal_tests::harness::{self, Prepared};
use foveal_tests::{device, profiles, say};
use pollster::block_on;

use crate::{engine_or_skip, folder};

fn specs() -> Vec<Attention> {
    vec![
        Attention::new(Shape::bhtd(1, 2, 70, 64).kv(2, 90)).with_lse().causal(),
        Attention::new(Shape::bhtd(1, 2, 70, 128).kv(1, 150)).with_lse().causal(),
        Attention::new(Shape::bhtd(2, 6, 5, 40).kv(2, 77)).with_lse().dtype(Dtype::F16).layout(Layout::Bthd),
        Attention::new(Shape::bhtd(1, 1, 130, 7).kv(1, 65))
            .with_lse()
            .mask(Mask::CausalTopLeft)
            .dtype(Dtype::Bf16),
    ]
}

/// Whether a plan for `theirs` may run on `ours`.
fn runs_on(ours: &AdapterProfile, theirs: &AdapterProfile) -> bool {
    match (ours.features.subgroups, theirs.features.subgroups) {
        (_, None) => true,
        (None, Some(_)) => false,
        // Sizes come from the least width, loops from the actual one: wider subgroups than planned for are fine.
        (Some((min, _)), Some((planned, _))) => min >= planned,
    }
}

#[test]
fn plans_for_other_adapters_are_right_here() -> Result<()> {
    let engine = engine_or_skip!();
    let engine = device::unchecked(&engine)?;
    let mut seen = std::collections::BTreeSet::new();
    let mut runs = 0;
    for spec in specs() {
        let prepared =
            Prepared::new(Case { name: spec.describe(), problem: Arc::new(spec.clone()), seed: 5 })?;
        for adapter in profiles::all().into_iter().filter(|theirs| runs_on(engine.profile(), theirs)) {
            for variant in ["tiled", "broadcast"] {
                let plan = match spec.plan(&adapter, &Constraints::variant(variant)) {
                    Ok(plan) => plan,
                    Err(error) if error.kind() == ErrorKind::Limit => continue,
                    Err(error) => return Err(error.into()),
                };
                if plan.threads > engine.profile().limits.max_compute_invocations_per_workgroup
                    || !seen.insert((spec.describe(), plan.requests()[0].fingerprint()))
                {
                    continue;
                }
                let name = || format!("{} by {variant} for {}", spec.describe(), adapter.name);
                let kernel = block_on(engine.prepare_exact(&plan)).with_context(name)?;
                prepared.check(&engine, &kernel, folder()).with_context(name)?;
                runs += 1;
            }
        }
    }
    say(&format!("{runs} kernels planned for other adapters are right here"));
    Ok(())
}

/// Values at the edges of the storage types: large, tiny, zero, equal.
#[test]
fn extreme_values_stay_finite_and_right() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = Attention::new(Shape::bhtd(1, 2, 65, 64)).with_lse();
    let count = 2 * 65 * 64;
    type Pattern = fn(usize) -> f32;
    let patterns: [(&str, Pattern); 4] = [
        ("zero", |_| 0.0),
        ("tiny", |i| if i % 3 == 0 { 1e-30 } else { -1e-38 }),
        ("equal", |_| 2.5),
        ("one key far above the others", |i| {
            if (64..128).contains(&i) { 40.0 } else { (i % 7) as f32 * 0.1 - 0.3 }
        }),
    ];
    for (name, pattern) in patterns {
        let values: Vec<f32> = (0..count).map(pattern).collect();
        let tensor = HostTensor::from_f32(vec![1, 2, 65, 64], &values, Dtype::F32)?;
        let inputs: Vec<_> = ["q", "k", "v"].map(|name| (name.into(), tensor.clone())).into();
        let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
        let case = Case { name: name.into(), problem: Arc::new(spec.clone()), seed: 0 };
        let prepared = Prepared { case, inputs, expected };
        for variant in ["tiled", "broadcast", "naive"] {
            let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant)) else { continue };
            let kernel = block_on(engine.prepare_exact(&plan))?;
            prepared.check(&engine, &kernel, folder()).with_context(|| format!("{name} by {variant}"))?;
        }
    }
    Ok(())
}

/// WebGPU's default limits and no feature, on this driver: what a browser without subgroups gets.
#[test]
fn a_device_at_the_floor_is_right() -> Result<()> {
    let options = foveal::Options { floor: true, ..device::options() };
    let Some(engine) = device::engine_with(module_path!(), options)? else { return Ok(()) };
    ensure!(engine.profile().features.subgroups.is_none());
    for spec in specs() {
        let plan = engine.plan(&spec)?;
        let kernel = block_on(engine.prepare(&plan))?;
        ensure!(kernel.refused().is_empty(), "{:?}", kernel.refused());
        let case = Case { name: spec.describe(), problem: Arc::new(spec), seed: 5 };
        Prepared::new(case)?.check(&engine, &kernel, folder())?;
    }
    Ok(())
}
