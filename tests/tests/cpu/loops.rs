//! Plans for drivers that end an invocation's loops after some turns.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Mask, Shape};
use foveal_kernels::linear_attention::{LinearAttention, LinearShape, Rule};
use foveal_kernels::{AdapterProfile, Constraints, ErrorKind, Plan, Problem};
use foveal_tests::{planned, profiles};

/// The probe's result on llvmpipe of Mesa 22.3.
const BOUND: u64 = 65_319;

fn bounded() -> AdapterProfile {
    AdapterProfile { loop_turns: Some(BOUND), ..profiles::lavapipe() }
}

fn plan(problem: &dyn Problem, variant: &str) -> Result<Plan> {
    Ok(problem.plan(&bounded(), &Constraints::variant(variant))?)
}

/// Dispatches of the variant's own kernel.
fn dispatches(plan: &Plan) -> usize {
    plan.passes.iter().filter(|pass| pass.label.ends_with(&plan.variant)).count()
}

/// Checks that no pass takes more turns than it may, and that the self-check's problem runs the same shaders.
fn check(plan: &Plan) -> Result<()> {
    for pass in &plan.passes {
        ensure!(pass.loop_turns <= BOUND, "{} takes {} turns", pass.label, pass.loop_turns);
    }
    let constraints = Constraints { variant: Some(plan.variant.clone()), ..plan.constraints.clone() };
    let canonical = plan.problem.self_check_problem().plan(&bounded(), &constraints)?;
    let (ours, theirs) = (plan.requests(), canonical.requests());
    ensure!(
        ours.len() == theirs.len() && ours.iter().all(|request| theirs.contains(request)),
        "the self-check of {} runs other shaders",
        plan.problem.describe()
    );
    Ok(())
}

#[test]
fn without_a_bound_nothing_changes() -> Result<()> {
    for case in planned::cases()? {
        for adapter in profiles::all() {
            ensure!(adapter.loop_turns.is_none());
            let free = case.problem.plan(&adapter, &Constraints::default())?;
            // Cases are small: what real bounds do to none of them, they do not do to what is as small.
            let bounded = AdapterProfile { loop_turns: Some(BOUND), ..adapter.clone() };
            let within = case.problem.plan(&bounded, &Constraints::default())?;
            ensure!(format!("{free:?}") == format!("{within:?}"), "{} on {}", case.name, adapter.name);
            ensure!(
                free.passes.iter().all(|pass| pass.loop_turns <= BOUND),
                "{} on {}: its passes take more",
                case.name,
                adapter.name
            );
        }
    }
    Ok(())
}

#[test]
fn keys_are_visited_in_as_many_segments_as_keep_loops_short() -> Result<()> {
    let long = Attention::new(Shape::bhtd(1, 1, 2, 8).kv(1, 600_000)).with_lse();
    // Reach of one dispatch, as seen: 65,535 keys / 4, 524,280, and more than 600,000 of 64 keys a step.
    for (variant, min) in [("naive", 37), ("broadcast", 2), ("tiled", 2)] {
        let plan = plan(&long, variant)?;
        check(&plan)?;
        ensure!(dispatches(&plan) >= min, "{variant}: {} segments", dispatches(&plan));
    }
    // A rolled loop over the width in every turn.
    for (width, reached) in [(256, 992), (576, 448)] {
        let wide = Attention::new(Shape::bhtd(1, 1, 3, width).kv(1, 1000));
        let naive = plan(&wide, "naive")?;
        check(&naive)?;
        let segments = dispatches(&naive);
        ensure!(segments >= 1000_usize.div_ceil(reached), "{width} wide: {segments} segments");
    }
    Ok(())
}

#[test]
fn segments_follow_what_is_visited_not_how_many_keys_there_are() -> Result<()> {
    let keys = 1 << 20;
    let all = Attention::new(Shape::bhtd(1, 1, 64, 16).kv(1, keys));
    let local = all.clone().mask(Mask::parse("causal & window(1023, 0)")?);
    for variant in ["naive", "broadcast", "tiled"] {
        let (whole, few) = (plan(&all, variant)?, plan(&local, variant)?);
        check(&whole)?;
        check(&few)?;
        ensure!(dispatches(&whole) > 1 && dispatches(&few) == 1, "{variant}: {few}");
    }
    Ok(())
}

#[test]
fn what_has_no_room_for_segments_is_refused_and_says_why() -> Result<()> {
    // The results of a segment take 128 MiB, all that a binding holds.
    let mut wide = Attention::new(Shape::bhtd(1, 4, 65_536, 4).kv(4, 100_000));
    wide.value_dim = 128;
    let error = wide.plan(&bounded(), &Constraints::variant("naive")).err().context("it planned")?;
    ensure!(error.kind() == ErrorKind::Limit && error.argument() == "variant naive", "{error}");
    ensure!(error.to_string().contains("segments"), "{error}");
    Ok(())
}

#[test]
fn recurrences_that_are_too_long_are_left_to_other_variants() -> Result<()> {
    let spec = LinearAttention::new(LinearShape::bhtd(1, 1, 70_000, 16)).with_states();
    let error =
        spec.plan(&bounded(), &Constraints::variant("recurrent")).err().context("recurrent planned")?;
    ensure!(error.kind() == ErrorKind::Limit && error.to_string().contains("turns"), "{error}");
    let taken = spec.plan(&bounded(), &Constraints::default())?;
    check(&taken)?;
    let reason = taken.rejected_variants.iter().find(|rejected| rejected.variant == "recurrent");
    ensure!(reason.is_some_and(|rejected| rejected.reason.contains("turns")), "{taken}");
    for (rule, variants) in [
        (Rule::Add, &["chunked", "broadcast"][..]),
        (Rule::Delta, &["chunked", "segmented", "broadcast"][..]),
    ] {
        for variant in variants {
            check(&plan(&spec.clone().rule(rule), variant)?)?;
        }
    }
    // Chunks of eight rows.
    let spec = LinearAttention::new(LinearShape::bhtd(1, 1, 600_000, 16));
    ensure!(plan(&spec, "broadcast").is_err());
    check(&spec.plan(&bounded(), &Constraints::default())?)
}
