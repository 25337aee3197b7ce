//! Scores of large size are right within what f32 can do, are not refused, and hide no mistake.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal::{Options, testing::Status};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::expr::{Expr, Table};
use foveal_kernels::linear_attention::{LinearAttention, LinearShape};
use foveal_kernels::{
    Constraints, Dtype, HostTensor, Name,
    testing::{Checked, Reference, Rows},
};
use foveal_tests::wrong::{self, Sabotaged, WRONG};
use foveal_tests::{device, harness, say};
use pollster::block_on;

use crate::engine_or_skip;

fn scored(text: &str) -> Result<Attention> {
    Ok(Attention::new(Shape::bhtd(1, 2, 40, 32).kv(2, 90)).score(Expr::parse(text)?).with_lse())
}

#[test]
fn large_scores_are_served_by_every_variant() -> Result<()> {
    let engine = engine_or_skip!();
    for text in [
        "s + 700.0",
        "s - 450.0",
        "s - 10000.0",
        "s - 10000.0 * max(min(k - 70, 1), 0)",
        "s - 1000000000.0 * max(min(q - 30, 1), 0)",
        "s + (q - k)",
    ] {
        let mut spec = scored(text)?;
        if text == "s + (q - k)" {
            spec = Attention::new(Shape::bhtd(1, 1, 64, 32).kv(1, 2048)).score(Expr::parse(text)?).with_lse();
        }
        let inputs = spec.random_inputs(3);
        let inputs = harness::borrowed(&inputs);
        let expected = spec.reference(&inputs, Rows::All)?;
        for variant in ["tiled", "broadcast", "naive"] {
            let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant)) else { continue };
            // The self-check has to pass too.
            block_on(engine.prepare_exact(&plan)).with_context(|| format!("{text} by {variant}"))?;
            let tried = block_on(engine.try_variant(&spec, &inputs, &expected, variant));
            let note = tried.checked.as_ref().and_then(Checked::note).unwrap_or_default();
            ensure!(tried.status == Status::Passed, "{text} by {variant}: {:?}", tried.reason);
            say(&format!("{text} by {variant}: {note}"));
        }
    }
    Ok(())
}

#[test]
fn paddings_from_tables_are_served_too() -> Result<()> {
    let engine = engine_or_skip!();
    let table = Table { name: "pad".into(), shape: vec![1, 90], element: Dtype::F32 };
    let spec = scored("s + pad[b, k]")?.table(table);
    for min in [-10_000.0f32, -1e9, f32::NEG_INFINITY] {
        for hidden in [30, 90] {
            let mut inputs = spec.random_inputs(4);
            let pad: Vec<f32> = (0..90).map(|k| if k < hidden { min } else { 0.0 }).collect();
            let given = inputs.iter_mut().find(|(name, _)| name == "pad").context("no table")?;
            given.1 = HostTensor::from_f32(vec![1, 90], &pad, Dtype::F32)?;
            let inputs = harness::borrowed(&inputs);
            let expected = spec.reference(&inputs, Rows::All)?;
            for variant in ["tiled", "broadcast", "naive"] {
                let tried = block_on(engine.try_variant(&spec, &inputs, &expected, variant));
                ensure!(tried.status != Status::Failed, "{min}, {hidden}, {variant}: {:?}", tried.reason);
            }
        }
    }
    Ok(())
}

/// One key too few, or weights that are off by a hundredth, in rows whose scores are about 700.
#[test]
fn mistakes_among_large_scores_are_refused() -> Result<()> {
    for (from, to) in [
        (
            "let keys = num_visible_keys(row.batch, row.query);",
            "let keys = num_visible_keys(row.batch, row.query) - 1u;",
        ),
        ("weight(score, new_max)", "weight(score, new_max) * (1.0 + 1e-2 * f32(key % 2u))"),
    ] {
        let options = Options { library: Arc::new(wrong::library(from, to)?), ..device::options() };
        let Some(engine) = device::engine_with(module_path!(), options)? else { return Ok(()) };
        let problem = Sabotaged(Arc::new(scored("s + 700.0")?));
        let plan = engine.plan(&problem)?;
        ensure!(plan.variant == WRONG, "the planner took {}", plan.variant);
        let error = block_on(engine.prepare_exact(&plan)).err();
        let error = error.with_context(|| format!("`{to}` was not caught"))?;
        ensure!(error.kind() == foveal::ErrorKind::Refused, "{error}");
        say(&format!("`{to}`: {error}"));
    }
    Ok(())
}

/// A memory of decaying modes, read by their differences: its output is a few thousandths of what cancels.
#[test]
fn a_memory_read_through_its_modes_is_called_ill_conditioned() -> Result<()> {
    let engine = engine_or_skip!();
    let (tokens, dim, wide) = (150, 16, 8);
    let spec = LinearAttention::new(LinearShape::bhtd(1, 1, tokens, dim).value_dim(wide)).scale(1.0);
    let mut random = fastrand::Rng::with_seed(5);
    let mut noise = |count: usize| (0..count).map(|_| random.f32() - 0.5).collect::<Vec<f32>>();
    let k: Vec<f32> = noise(tokens * dim).iter().map(|x| 1.0 + 1e-4 * x).collect();
    let q: Vec<f32> = (0..tokens * dim).map(|i| if i % 2 == 0 { 300.0 } else { -300.0 }).collect();
    let v = noise(tokens * wide);
    let tensor = |values: &[f32], dim| HostTensor::from_f32(vec![1, 1, tokens, dim], values, Dtype::F32);
    let inputs: Vec<(Name, HostTensor)> =
        vec![("q".into(), tensor(&q, dim)?), ("k".into(), tensor(&k, dim)?), ("v".into(), tensor(&v, wide)?)];
    let inputs = harness::borrowed(&inputs);
    let expected = spec.reference(&inputs, Rows::All)?;
    for variant in ["recurrent", "broadcast", "chunked"] {
        let tried = block_on(engine.try_variant(&spec, &inputs, &expected, variant));
        if tried.status == Status::Skipped {
            continue;
        }
        ensure!(tried.status == Status::Passed, "{variant}: {:?}", tried.reason);
        let note = tried.checked.as_ref().and_then(Checked::note);
        say(&format!("{variant}: {note:?}"));
        ensure!(note.is_some(), "{variant} was as near as an ordinary problem's");
    }
    Ok(())
}

/// A sink so far above the scores that every weight is zero: what a row sees is seen nevertheless.
#[test]
fn a_sink_far_above_hides_no_nan() -> Result<()> {
    let engine = engine_or_skip!();
    let mut spec = Attention::new(Shape::bhtd(1, 2, 40, 32)).causal().with_lse();
    spec.sink_logits = Some("sinks".into());
    let mut inputs = spec.random_inputs(6);
    for (name, tensor) in &mut inputs {
        if name == "sinks" {
            *tensor = HostTensor::from_f32(vec![2], &[3000.0, 0.0], Dtype::F32)?;
        }
        if name == "v" {
            let mut values = vec![0.5; 2 * 40 * 32];
            for head in 0..2 {
                values[(head * 40 + 17) * 32 + 5] = f32::NAN;
            }
            *tensor = HostTensor::from_f32(vec![1, 2, 40, 32], &values, Dtype::F32)?;
        }
    }
    let inputs = harness::borrowed(&inputs);
    let expected = spec.reference(&inputs, Rows::All)?;
    let nan = expected[0].values.iter().filter(|value| value.is_nan()).count();
    ensure!(nan == 2 * 23, "{nan}");
    for variant in ["tiled", "broadcast", "naive"] {
        let tried = block_on(engine.try_variant(&spec, &inputs, &expected, variant));
        ensure!(tried.status != Status::Failed, "{variant}: {:?}", tried.reason);
    }
    Ok(())
}
