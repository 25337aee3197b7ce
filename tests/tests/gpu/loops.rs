//! Loops of many turns, which some drivers silently end before their time: llvmpipe of Mesa 22.3 after 65,535.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal::{AdapterProfile, Constraints, Engine, ErrorKind, Options, SelfCheck};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::linear_attention::{Gate, LinearAttention, LinearShape, Rule};
use foveal_kernels::{Problem, operator, testing::Case};
use foveal_shaders::Value;
use foveal_tests::harness::Prepared;
use foveal_tests::{device, planned, say};
use pollster::block_on;

use crate::{engine_or_skip, folder};

fn prepared(name: &str, problem: impl Problem + 'static) -> Result<Prepared> {
    Prepared::new(Case { name: name.into(), problem: Arc::new(problem), seed: 13 })
}

/// Runs a problem by every variant that this adapter has; one that refuses its loops is fine where loops are bounded.
fn by_every_variant(engine: &Engine, of: &str, prepared: &Prepared) -> Result<()> {
    let name = &prepared.case.name;
    let mut served = 0;
    for variant in operator(of)?.variants() {
        let plan = match engine.plan_with(&*prepared.case.problem, &Constraints::variant(variant.name)) {
            Ok(plan) => plan,
            Err(error) => {
                ensure!(error.kind() == ErrorKind::Limit, "{name} {}: {error}", variant.name);
                let of_loops = error.to_string().contains("turns");
                ensure!(!of_loops || engine.profile().loop_turns.is_some(), "{name}: {error}");
                continue;
            }
        };
        let kernel = block_on(engine.prepare_exact(&plan))?;
        prepared.check(engine, &kernel, folder()).with_context(|| format!("{name} {}", variant.name))?;
        served += 1;
    }
    ensure!(served > 0, "{name}: no variant serves it");
    Ok(())
}

#[test]
fn many_keys_are_all_seen() -> Result<()> {
    let engine = engine_or_skip!();
    let long = Attention::new(Shape::bhtd(1, 1, 2, 8).kv(1, 600_000)).with_lse();
    by_every_variant(&engine, "attention", &prepared("loops_600000_keys", long)?)?;
    for width in [256, 576] {
        let wide = Attention::new(Shape::bhtd(1, 1, 3, width).kv(1, 1000)).with_lse();
        by_every_variant(&engine, "attention", &prepared(&format!("loops_width_{width}"), wide)?)?;
    }
    Ok(())
}

#[test]
fn many_tokens_are_all_remembered() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = LinearAttention::new(LinearShape::bhtd(1, 1, 70_000, 8)).with_states();
    by_every_variant(&engine, "linear", &prepared("loops_70000_tokens", spec.clone())?)?;
    let delta = spec.rule(Rule::Delta).gate(Gate::Scalar);
    by_every_variant(&engine, "linear", &prepared("loops_70000_tokens_delta", delta)?)
}

#[test]
fn plans_that_were_made_before_the_bound_was_known_are_made_again() -> Result<()> {
    let engine = engine_or_skip!();
    let unknown = AdapterProfile { loop_turns: None, ..engine.profile().clone() };
    let wide = prepared("loops_unknown", Attention::new(Shape::bhtd(1, 1, 3, 256).kv(1, 1500)))?;
    let plan = wide.case.problem.plan(&unknown, &Constraints::variant("naive"))?;
    for kernel in [block_on(engine.prepare(&plan))?, block_on(engine.prepare_exact(&plan))?] {
        let again = kernel.plan();
        ensure!(again.variant == "naive");
        let max = engine.profile().loop_turns.unwrap_or(u64::MAX);
        ensure!(again.passes.iter().all(|pass| pass.loop_turns <= max));
        wide.check(&engine, &kernel, folder())?;
    }
    Ok(())
}

/// Properties that loops of a plan's shaders depend on: which these are, what is switched on in them, and whether
/// widths take more than one tile of 64 columns.
fn kinds(plan: &foveal::Plan) -> BTreeSet<String> {
    const SWITCHES: [&str; 6] = ["LISTS", "ELEMENT_BITS", "SPLIT_KV", "DELTA", "NORMALISE", "RAGGED"];
    let requests = plan.requests().into_iter().map(|request| {
        let told = |(name, value): &&(String, Value)| match value {
            Value::Bool(on) => *on && SWITCHES.contains(&name.as_str()),
            Value::U32(width) => name == "HEAD_DIM" && *width > 64,
            _ => false,
        };
        let told: Vec<&str> = request.tunables.iter().filter(told).map(|(name, _)| name.as_str()).collect();
        format!("{} {}", request.module, told.join(" "))
    });
    requests.collect()
}

/// A driver that gives every pass just the turns that its plan states.
#[test]
fn kernels_take_no_more_turns_than_plans_state() -> Result<()> {
    let options = Options { bounded_loops: true, self_check: SelfCheck::Off, ..device::options() };
    let Some(engine) = device::engine_with(module_path!(), options)? else { return Ok(()) };
    let mut seen = BTreeSet::new();
    let mut runs = 0;
    for case in planned::cases()? {
        let mut prepared = None;
        for variant in planned::variants(&case)? {
            let Some(plan) = planned::plan(&case, engine.profile(), variant)? else { continue };
            let kinds = kinds(&plan);
            if kinds.is_subset(&seen) {
                continue;
            }
            let prepared = match &prepared {
                Some(prepared) => prepared,
                None => prepared.insert(Prepared::new(case.clone())?),
            };
            let kernel = block_on(engine.prepare_exact(&plan))?;
            prepared
                .check(&engine, &kernel, folder())
                .with_context(|| format!("{} {variant}: its loops were ended", case.name))?;
            seen.extend(kinds);
            runs += 1;
        }
    }
    say(&format!("{runs} plans of {} kinds of shaders, with no turn to spare", seen.len()));
    ensure!(seen.len() > 30, "only {} kinds of shaders", seen.len());
    Ok(())
}
