//! Few rows a key/value head: right in every form that some adapter gets, and the same bits in any batch where splits are fixed.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal::Engine;
use foveal_kernels::attention::{Attention, Mask, Shape};
use foveal_kernels::{
    AdapterKind, AdapterProfile, Constraints, Described, Dtype, Features, HostTensor, Name, Plan, Problem,
    Rates, operator,
    testing::{Case, Reference},
};
use foveal_tests::device;
use foveal_tests::harness::{self, Prepared};
use pollster::block_on;

use crate::{engine_or_skip, folder};

/// This adapter as if it were a GPU: with its subgroups, if it has any, and without.
fn profiles(engine: &Engine) -> Vec<AdapterProfile> {
    let own = engine.profile();
    let with = |kind, features| AdapterProfile { kind, features, rates: Rates::assumed(kind), ..own.clone() };
    vec![
        own.clone(),
        with(AdapterKind::Cpu, Features { subgroups: None, ..own.features }),
        with(AdapterKind::Discrete, own.features),
        with(AdapterKind::Other, Features { subgroups: None, ..own.features }),
    ]
}

fn planned(problem: &dyn Problem, profile: &AdapterProfile) -> Option<Plan> {
    problem.plan(profile, &Constraints::variant("decode")).ok()
}

#[test]
fn every_form_is_right() -> Result<()> {
    let shared = engine_or_skip!();
    let engine = device::unchecked(&shared)?;
    let mut seen = 0;
    for case in operator("attention")?.cases() {
        // Few rows; of other cases some are cheap enough, and have what these have not.
        if !["decode", "splits", "lengths_folded", "dim_3", "len_17_causal", "mask_folded", "shared"]
            .iter()
            .any(|name| case.name.starts_with(name))
        {
            continue;
        }
        // These have values that are not finite where nothing may see them.
        let hides =
            ["draft", "table", "window", "lengths", "listed"].iter().any(|part| case.name.contains(part));
        let small = hides.then(|| Case {
            name: format!("{}_self_check", case.name),
            problem: case.problem.self_check_problem(),
            seed: 5,
        });
        for case in [Some(case), small].into_iter().flatten() {
            let prepared = Prepared::new(case)?;
            for profile in profiles(&shared) {
                let Some(plan) = planned(&*prepared.case.problem, &profile) else { continue };
                let kernel = block_on(engine.prepare_exact(&plan))?;
                let named = || {
                    format!("{} as {:?}, {:?}", prepared.case.name, profile.kind, profile.features.subgroups)
                };
                prepared.check(&engine, &kernel, folder()).with_context(named)?;
                seen += 1;
            }
        }
    }
    ensure!(seen > 90, "only {seen} plans");
    Ok(())
}

/// Requests of several lengths and masks, on which parts of a batch are computed alone and together.
fn requests() -> Vec<Attention> {
    let spec = |q_len: usize| Attention::new(Shape::bhtd(1, 8, q_len, 64).kv(2, 700)).with_lse();
    vec![
        spec(1).splits(3),
        spec(1).splits(1).dtype(Dtype::F16),
        spec(4).splits(7).causal(),
        spec(1).splits(4).kv_lengths("keys"),
    ]
}

/// The inputs of batch entries `from` and on, of as many as the spec has.
fn entries(spec: &Attention, all: &[(Name, HostTensor)], from: usize) -> Result<Vec<(Name, HostTensor)>> {
    let one = |(name, tensor): &(Name, HostTensor)| {
        let dtype = tensor.dtype().context("an input without type")?;
        let mut shape = tensor.shape().to_vec();
        let each = tensor.len() / shape[0] * dtype.size_bytes();
        shape[0] = spec.batch;
        let bytes = &tensor.to_bytes(dtype)[from * each..(from + spec.batch) * each];
        Ok((name.clone(), HostTensor::from_bytes(shape, bytes, dtype)?))
    };
    all.iter().map(one).collect()
}

#[test]
fn fixed_splits_give_the_same_bits_in_any_batch() -> Result<()> {
    let shared = engine_or_skip!();
    let engine = device::unchecked(&shared)?;
    for request in requests() {
        let mut whole = request.clone();
        whole.batch = 5;
        let inputs = whole.random_inputs(3);
        for profile in profiles(&shared) {
            let outputs = |spec: &Attention, from: usize| -> Result<Vec<Vec<u8>>> {
                let plan = spec.plan(&profile, &Constraints::default())?;
                ensure!(plan.variant == "decode", "{} is {}", spec.describe(), plan.variant);
                let inputs = entries(spec, &inputs, from)?;
                let kernel = block_on(engine.prepare_exact(&plan))?;
                let outputs = harness::run(&engine, &kernel, &harness::storage(&plan.tensors, &inputs)?)?;
                Ok(outputs.into_iter().map(|output| output.bytes).collect())
            };
            let all = outputs(&whole, 0)?;
            for (batch, from) in [(1, 0), (1, 3), (2, 1), (3, 2)] {
                let mut part = request.clone();
                part.batch = batch;
                for (together, alone) in all.iter().zip(outputs(&part, from)?) {
                    let each = together.len() / whole.batch;
                    ensure!(
                        together[from * each..(from + batch) * each] == alone,
                        "{}: {batch} from {from} as {:?}",
                        part.describe(),
                        profile.kind
                    );
                }
            }
        }
    }
    Ok(())
}

/// Where entries have lengths, splits have a size: the bits of an entry do not depend on the batch either.
#[test]
fn lengths_give_the_same_bits_in_any_batch() -> Result<()> {
    let shared = engine_or_skip!();
    let engine = device::unchecked(&shared)?;
    let profile = &profiles(&shared)[2];
    let whole = Attention::new(Shape::bhtd(4, 4, 1, 64).kv(2, 1700)).with_lse().kv_lengths("keys");
    let inputs = whole.random_inputs(3);
    let outputs = |spec: &Attention, from: usize| -> Result<Vec<Vec<u8>>> {
        let plan = spec.plan(profile, &Constraints::variant("decode"))?;
        // Parts of 512 keys, of which there are four.
        let merged = plan.passes.iter().any(|pass| pass.label.ends_with("combine"));
        ensure!(merged, "{plan}");
        let kernel = block_on(engine.prepare_exact(&plan))?;
        let prepared =
            Prepared::new(Case { name: spec.describe(), problem: Arc::new(spec.clone()), seed: 3 })?;
        prepared.check(&engine, &kernel, folder())?;
        let inputs = entries(spec, &inputs, from)?;
        let outputs = harness::run(&engine, &kernel, &harness::storage(&plan.tensors, &inputs)?)?;
        Ok(outputs.into_iter().map(|output| output.bytes).collect())
    };
    let all = outputs(&whole, 0)?;
    for from in 0..whole.batch {
        let mut alone = whole.clone();
        alone.batch = 1;
        for (together, alone) in all.iter().zip(outputs(&alone, from)?) {
            let each = together.len() / whole.batch;
            ensure!(together[from * each..(from + 1) * each] == alone, "entry {from}");
        }
    }
    Ok(())
}

#[test]
fn splits_do_not_change_the_result() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = Attention::new(Shape::bhtd(2, 8, 2, 96).kv(2, 900)).with_lse();
    let windowed = spec.clone().mask(Mask::parse("window(300, 0) | k < 3")?);
    for spec in [spec.clone(), spec.causal(), windowed] {
        let inputs = spec.random_inputs(9);
        let outputs = |splits: usize| -> Result<Vec<Vec<f64>>> {
            let plan = engine.plan_with(&spec.clone().splits(splits), &Constraints::variant("decode"))?;
            let merged = plan.passes.iter().any(|pass| pass.label.ends_with("combine"));
            ensure!(merged == (splits > 1), "{splits} splits: {plan}");
            let kernel = block_on(engine.prepare_exact(&plan))?;
            let outputs = harness::run(&engine, &kernel, &harness::storage(&plan.tensors, &inputs)?)?;
            outputs.iter().map(|output| Ok(harness::dense(output)?.to_f64())).collect()
        };
        let whole = outputs(1)?;
        for splits in [2, 5, 64, 256] {
            for (a, b) in whole.iter().zip(outputs(splits)?) {
                let size = a.iter().map(|x| x * x).sum::<f64>().sqrt();
                let apart = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                ensure!(apart <= 1e-6 * size, "{splits} splits of {}: {}", spec.describe(), apart / size);
            }
        }
    }
    Ok(())
}

/// All variants take a number of splits of many rows, and a plan that takes too many for its scratch says so.
#[test]
fn every_variant_splits() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = Attention::new(Shape::bhtd(1, 2, 20, 64).kv(2, 520)).with_lse().splits(4);
    let prepared = Prepared::new(Case { name: "splits".into(), problem: Arc::new(spec.clone()), seed: 1 })?;
    for variant in operator("attention")?.variants() {
        let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant.name)) else { continue };
        ensure!(plan.passes.iter().any(|pass| pass.label.ends_with("combine")), "{} is whole", variant.name);
        prepared.check(&engine, &block_on(engine.prepare_exact(&plan))?, folder())?;
    }
    let mut profile = engine.profile().clone();
    profile.limits.max_storage_buffer_binding_size = 8 << 10;
    let large = Attention::new(Shape::bhtd(1, 1, 1, 64).kv(1, 16)).splits(256);
    let error = large.plan(&profile, &Constraints::variant("decode")).err().context("there is no room")?;
    ensure!(error.argument() == "splits", "{error}");
    Ok(())
}
