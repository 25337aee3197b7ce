//! Identities of linear attention on the device, by every variant: what tests of single cases cannot show.

use std::fmt;

use anyhow::{Context, Result, ensure};
use foveal::{Engine, ErrorKind, Kernel};
use foveal_kernels::{Constraints, Described, operator};
use foveal_kernels::{
    linear_attention::{Direction, Gate, Key, LinearAttention, LinearShape, Normaliser, Rule},
    testing::GateDistribution,
};
use foveal_tests::linear::{Given, Tensor, Tensors, identities, off};
use foveal_tests::say;
use pollster::block_on;

use crate::engine_or_skip;

/// Two computations in f32 that round differently: each may be as far from the truth as tests of cases allow.
const CLOSE: f64 = 1e-5;

/// A refusal: the variant does not serve the problem here.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// The kernel of a problem. The error is [`Refused`] if the variant does not serve it on this adapter.
pub(crate) fn kernel(engine: &Engine, spec: &LinearAttention, variant: &str) -> Result<Kernel> {
    let plan = match engine.plan_with(spec, &Constraints::variant(variant)) {
        Ok(plan) => plan,
        Err(error) if error.kind() == ErrorKind::Limit => return Err(Refused(error.to_string()).into()),
        Err(error) => return Err(error).with_context(|| spec.describe()),
    };
    block_on(engine.prepare_exact(&plan)).with_context(|| spec.describe())
}

/// The names of the variants.
pub(crate) fn variants() -> Result<Vec<&'static str>> {
    Ok(operator("linear")?.variants().into_iter().map(|variant| variant.name).collect())
}

/// `test` by every variant that serves what it runs.
pub(crate) fn by_every_variant(
    engine: &Engine,
    what: &str,
    test: impl Fn(&dyn Fn(&Given) -> Result<Tensors>) -> Result<()>,
) -> Result<()> {
    let mut served = 0;
    for variant in variants()? {
        let run = |given: &Given| given.on(engine, &kernel(engine, &given.spec, variant)?);
        match test(&run) {
            Ok(()) => served += 1,
            Err(error) if error.is::<Refused>() => {}
            Err(error) => return Err(error.context(format!("{what} by {variant}"))),
        }
    }
    ensure!(served > 0, "{what}: no variant serves it");
    Ok(())
}

/// More than two chunks of 64 tokens and an uneven rest, two batch entries, value heads that share keys.
fn spec(rule: Rule, gate: Gate) -> LinearAttention {
    LinearAttention::new(LinearShape::bhtd(2, 2, 145, 32).value_heads(4).value_dim(20))
        .rule(rule)
        .gate(gate)
        .with_states()
}

/// A rule with a gate each, and what rules have beside.
fn specs() -> Vec<LinearAttention> {
    let mut bonus = spec(Rule::Add, Gate::Vector);
    bonus.bonus = Some("u".into());
    let mut normalised = spec(Rule::Add, Gate::Scalar);
    (normalised.normaliser, normalised.z_in, normalised.z_out) = (Normaliser::Sum, true, true);
    let mut steps = spec(Rule::Delta, Gate::Scalar);
    steps.steps = 2;
    let mut erase = spec(Rule::Delta, Gate::Vector);
    erase.erase_key = Some("p".into());
    vec![
        spec(Rule::Add, Gate::None),
        spec(Rule::Add, Gate::Constant),
        spec(Rule::Add, Gate::Scalar),
        spec(Rule::Add, Gate::Vector),
        bonus,
        normalised,
        spec(Rule::Delta, Gate::None),
        spec(Rule::Delta, Gate::Scalar),
        spec(Rule::Delta, Gate::Vector),
        steps,
        erase,
        spec(Rule::Dplr, Gate::Vector),
    ]
}

type Identity = fn(&dyn Fn(&Given) -> Result<Tensors>, &Given) -> Result<f64>;

/// Holds an identity to problems, by every variant, and says how near they come.
fn holds(what: &str, problems: &[LinearAttention], identity: Identity) -> Result<()> {
    let engine = engine_or_skip!();
    let worst = std::cell::Cell::new(0.0f64);
    for spec in problems {
        for gates in [GateDistribution::Mild, GateDistribution::Extreme] {
            let mut spec = spec.clone();
            spec.fill.gates = gates;
            let given = Given::random(spec, 3)?;
            let name = format!("{what}: {}, {}", given.spec.describe(), given.spec.fill);
            by_every_variant(&engine, &name, |run| {
                let off = identity(run, &given)?;
                ensure!(off < CLOSE, "the two sides are {off:.1e} apart");
                worst.set(worst.get().max(off));
                Ok(())
            })?;
        }
    }
    say(&format!("linear, {what}: {:.1e} apart at most", worst.get()));
    Ok(())
}

/// One batch entry, for sequences to be packed in.
fn packable(rule: Rule, gate: Gate) -> LinearAttention {
    let mut spec = spec(rule, gate);
    spec.batch = 1;
    spec
}

#[test]
fn variants_agree() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in specs() {
        let given = Given::random(spec, 5)?;
        let mut first: Option<Tensors> = None;
        for variant in variants()? {
            let kernel = match kernel(&engine, &given.spec, variant) {
                Ok(kernel) => kernel,
                Err(error) if error.is::<Refused>() => continue,
                Err(error) => return Err(error),
            };
            let outputs = given.on(&engine, &kernel)?;
            let first = first.get_or_insert_with(|| outputs.clone());
            let off = off(&outputs, first);
            ensure!(off < CLOSE, "{variant} is {off:.1e} off: {}", given.spec.describe());
        }
    }
    Ok(())
}

#[test]
fn a_run_from_the_state_of_another_goes_on() -> Result<()> {
    // The cut is on no chunk's edge.
    holds("split", &specs(), |run, given| identities::split(run, given, 67))
}

#[test]
fn a_run_in_reverse_goes_on_too() -> Result<()> {
    let mut reverse = spec(Rule::Delta, Gate::Scalar);
    reverse.direction = Direction::Reverse;
    holds("split in reverse", &[reverse], |run, given| identities::split(run, given, 67))
}

#[test]
fn packed_sequences_are_each_by_itself() -> Result<()> {
    let specs = [packable(Rule::Add, Gate::Scalar), packable(Rule::Delta, Gate::Vector)];
    holds("packed", &specs, |run, given| identities::packed(run, given, &[0, 1, 1, 66, 130, 145]))
}

#[test]
fn prefix_sums_of_the_states_of_segments_are_where_these_begin() -> Result<()> {
    let specs = [spec(Rule::Add, Gate::Constant), spec(Rule::Add, Gate::Vector)];
    holds("segments", &specs, |run, given| identities::segments(run, given, &[0, 40, 40, 104, 145]))
}

#[test]
fn the_map_of_states_is_a_run_with_more_columns() -> Result<()> {
    let specs = [spec(Rule::Delta, Gate::Scalar), spec(Rule::Dplr, Gate::Vector)];
    holds("map of states", &specs, identities::affine)
}

#[test]
fn reverse_is_forward_on_turned_tokens() -> Result<()> {
    holds("reverse", &[spec(Rule::Delta, Gate::Scalar)], identities::reverse)
}

#[test]
fn both_directions_are_the_sum_of_the_one_and_the_other() -> Result<()> {
    holds("both directions", &[spec(Rule::Delta, Gate::Vector)], identities::both)
}

#[test]
fn the_layouts_are_only_layouts() -> Result<()> {
    holds("layouts", &[spec(Rule::Delta, Gate::Scalar)], identities::layouts)
}

#[test]
fn dplr_reproduces_the_delta_rule() -> Result<()> {
    let mut spec = spec(Rule::Delta, Gate::Vector);
    spec.heads = spec.value_heads;
    holds("dplr as delta", &[spec], identities::dplr_as_delta)
}

#[test]
fn steps_with_beta_zero_are_none() -> Result<()> {
    let specs = [spec(Rule::Delta, Gate::Scalar)];
    holds("first step idle", &specs, |run, given| identities::idle_steps(run, given, 0))?;
    holds("second step idle", &specs, |run, given| identities::idle_steps(run, given, 1))
}

#[test]
fn constant_gates_are_scalar_gates_are_vector_gates() -> Result<()> {
    holds("gates", &[spec(Rule::Add, Gate::Constant), spec(Rule::Delta, Gate::Constant)], identities::gates)
}

#[test]
fn beta_zero_never_writes() -> Result<()> {
    holds("beta zero", &[spec(Rule::Delta, Gate::Vector)], identities::nothing_written)
}

#[test]
fn value_heads_that_share_keys_are_heads_of_their_own() -> Result<()> {
    holds("grouped", &[spec(Rule::Add, Gate::Vector), spec(Rule::Delta, Gate::Scalar)], identities::grouped)
}

#[test]
fn queries_that_share_a_state_are_heads_of_their_own() -> Result<()> {
    let specs = specs().into_iter().zip([1, 2, 3].into_iter().cycle()).map(|(mut spec, each)| {
        (spec.batch, spec.query_heads) = (1, Some(spec.value_heads * each));
        spec.shared_beta = spec.rule == Rule::Delta;
        spec
    });
    holds("queries", &specs.collect::<Vec<_>>(), identities::queries)
}

#[test]
fn states_on_the_way_are_last_states_of_fewer_tokens() -> Result<()> {
    let mut by_chunks = spec(Rule::Delta, Gate::Scalar);
    (by_chunks.checkpoint_every, by_chunks.state_window) = (Some(64), Some(2));
    let mut by_token = LinearAttention::new(LinearShape::bhtd(2, 1, 11, 32)).rule(Rule::Add).with_states();
    (by_token.checkpoint_every, by_token.state_window) = (Some(4), Some(3));
    by_token.direction = Direction::Reverse;
    holds("states on the way", &[by_chunks, by_token], identities::kept_states)
}

#[test]
fn step_sizes_and_skips_are_what_a_caller_could_compute() -> Result<()> {
    let specs = [Gate::None, Gate::Constant, Gate::Scalar, Gate::Vector].map(|gate| {
        let mut spec = spec(Rule::Add, gate);
        (spec.dt, spec.skip) = (Some("dt".into()), Some("d".into()));
        spec
    });
    holds("step sizes", &specs, identities::discretised)
}

#[test]
fn keys_that_are_decays_are_what_a_caller_could_compute() -> Result<()> {
    let specs = [Rule::Add, Rule::Delta].map(|rule| {
        let mut spec = spec(rule, Gate::Vector);
        (spec.heads, spec.key) = (spec.value_heads, Key::Decay);
        spec
    });
    holds("keys that are decays", &specs, identities::decayed_keys)
}

#[test]
fn what_is_not_causal_reads_the_last_state() -> Result<()> {
    holds("not causal", &[spec(Rule::Add, Gate::None)], identities::whole_reads_the_last_state)
}

/// Reflections: signs that no rounding may tip.
#[test]
fn reflections_track_the_parity_of_bits() -> Result<()> {
    let engine = engine_or_skip!();
    let len = 1000;
    let mut spec = LinearAttention::new(LinearShape::bhtd(1, 1, len, 1)).rule(Rule::Delta).with_states();
    spec.scale = Some(1.0);
    let ones = Tensor::of([1, 1, len, 1], |_| 1.0);
    let mut random = fastrand::Rng::with_seed(1);
    let beta = Tensor::of([1, 1, len, 1], |_| if random.bool() { 2.0 } else { 0.0 });
    let mut sign = 1.0;
    let expected: Vec<f64> = beta
        .values
        .iter()
        .map(|beta| {
            sign *= 1.0 - beta;
            sign
        })
        .collect();
    let given = Given::random(spec, 0)?
        .with("q", ones.clone())
        .with("k", ones.clone())
        .with("v", ones.map(|_, _| 0.0))
        .with("beta", beta)
        .with("state_in", Tensor::of([1; 4], |_| 1.0));
    by_every_variant(&engine, "parity", |run| {
        let o = run(&given)?.remove("o").context("o")?.values;
        let wrong = o.iter().zip(&expected).position(|(o, expected)| (o - expected).abs() > 1e-6);
        ensure!(wrong.is_none(), "token {wrong:?} is wrong");
        Ok(())
    })
}
