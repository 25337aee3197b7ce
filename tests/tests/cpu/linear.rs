//! Identities that linear attention satisfies, by the reference: most follow from the definition of its recurrence.
#![expect(clippy::expect_used, reason = "a test reports by panicking, in its helpers too")]

use anyhow::Result;
use foveal_kernels::{
    linear_attention::{
        Direction, FeatureMap, Gate, Key, Lengths, LinearAttention, LinearShape, Normaliser, Rule,
    },
    testing::{GateDistribution, InputDistribution},
};
use foveal_tests::linear::{Given, Tensors, identities};
use proptest::prelude::*;

/// f64 against f64: sums in another order, products of decays against decays of sums.
const CLOSE: f64 = 1e-11;

fn reference(given: &Given) -> Result<Tensors> {
    given.reference()
}

const RULES: &[Rule] = Rule::ALL;
const GATES: &[Gate] = Gate::ALL;
const FILLS: [GateDistribution; 4] =
    [GateDistribution::Mild, GateDistribution::Strong, GateDistribution::Zero, GateDistribution::Extreme];

/// Small problems of these rules and gates, with everything that these may have.
fn problems(rules: &'static [Rule], gates: &'static [Gate]) -> impl Strategy<Value = Given> {
    let sizes = (1usize..3, 1usize..3, 1usize..4, 1usize..24, 1usize..9, 1usize..9);
    let words = (prop::sample::select(rules), prop::sample::select(gates), prop::sample::select(&FILLS[..]));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), 0u8..5);
    (sizes, words, flags, any::<u64>()).prop_map(
        |(
            (batch, heads, group, len, dim, value_dim),
            (rule, gate, fill),
            (state_in, integers, repeated, extra),
            seed,
        )| {
            let mut spec = LinearAttention::new(
                LinearShape::bhtd(batch, heads, len, dim).value_heads(heads * group).value_dim(value_dim),
            )
            .rule(rule)
            .gate(gate);
            (spec.state_in, spec.state_out) = (state_in, true);
            spec.fill = InputDistribution {
                gates: fill,
                integer_beta: integers,
                repeated_keys: repeated,
                nan: false,
            };
            match (rule, extra) {
                (Rule::Add, 1) => spec.bonus = Some("u".into()),
                (Rule::Add, 2) => {
                    (spec.normaliser, spec.z_in, spec.z_out) = (Normaliser::Sum, state_in, true);
                }
                (Rule::Add, 3) => spec.feature_map = FeatureMap::Silu,
                (Rule::Delta, 1) => spec.erase_key = Some("p".into()),
                (Rule::Delta, 2) => spec.steps = 2,
                (Rule::Delta, 3) => spec.steps = 3,
                _ => {}
            }
            Given::random(spec, seed).expect("options that go together")
        },
    )
}

/// The same without what not every identity has.
fn plain(rules: &'static [Rule], gates: &'static [Gate]) -> impl Strategy<Value = Given> {
    problems(rules, gates).prop_map(|given| {
        let mut spec = given.spec.clone();
        (spec.bonus, spec.normaliser, spec.erase_key, spec.steps) = (None, Normaliser::None, None, 1);
        (spec.z_in, spec.z_out, spec.feature_map) = (false, false, FeatureMap::Identity);
        Given::random(spec, 3).expect("fewer options")
    })
}

/// Where a sequence of `len` is cut: parts of no token too.
fn starts(len: usize, cuts: &[usize]) -> Vec<usize> {
    let mut starts: Vec<usize> = cuts.iter().map(|cut| cut % (len + 1)).collect();
    starts.extend([0, len]);
    starts.sort_unstable();
    starts
}

macro_rules! holds {
    ($off:expr) => {
        let off = $off.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
        prop_assert!(off < CLOSE, "{:e}", off);
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_from_the_state_of_another_goes_on(given in problems(RULES, GATES), at in 0usize..24, reverse in any::<bool>()) {
        let direction = if reverse { Direction::Reverse } else { Direction::Forward };
        let given = given.of(|spec| spec.direction = direction);
        holds!(identities::split(&reference, &given, at % (given.spec.len + 1)));
    }

    #[test]
    fn packed_sequences_are_each_by_itself(given in problems(RULES, GATES), cuts in prop::collection::vec(0usize..24, 0..4)) {
        // Sequences are packed in one batch entry; sums of keys are left to splitting.
        let mut spec = given.spec.clone();
        (spec.batch, spec.z_in) = (1, false);
        let given = Given::random(spec, 5).expect("one batch entry");
        holds!(identities::packed(&reference, &given, &starts(given.spec.len, &cuts)));
    }

    #[test]
    fn prefix_sums_of_the_states_of_segments_are_where_these_begin(
        given in plain(&[Rule::Add], GATES),
        cuts in prop::collection::vec(0usize..24, 0..4),
    ) {
        holds!(identities::segments(&reference, &given, &starts(given.spec.len, &cuts)));
    }

    #[test]
    fn the_map_of_states_is_a_run_with_more_columns(given in plain(RULES, GATES)) {
        let mut spec = given.spec.clone();
        spec.state_in = true;
        let given = Given::random(spec, 9).expect("a first state");
        holds!(identities::affine(&reference, &given));
    }

    #[test]
    fn reverse_is_forward_on_turned_tokens(given in problems(RULES, GATES)) {
        holds!(identities::reverse(&reference, &given));
    }

    #[test]
    fn both_directions_are_the_sum_of_the_one_and_the_other(given in problems(RULES, GATES)) {
        holds!(identities::both(&reference, &given));
    }

    #[test]
    fn the_layouts_are_only_layouts(given in problems(RULES, GATES)) {
        let off = identities::layouts(&reference, &given).map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
        prop_assert_eq!(off, 0.0);
    }

    #[test]
    fn dplr_reproduces_the_delta_rule(given in plain(&[Rule::Delta], &[Gate::Vector])) {
        let mut spec = given.spec.clone();
        spec.heads = spec.value_heads;
        let given = Given::random(spec, 7).expect("a head of keys for each of values");
        holds!(identities::dplr_as_delta(&reference, &given));
    }

    #[test]
    fn steps_with_beta_zero_are_none(given in plain(&[Rule::Delta], GATES), idle in 0usize..2) {
        holds!(identities::idle_steps(&reference, &given, idle));
    }

    #[test]
    fn constant_gates_are_scalar_gates_are_vector_gates(given in plain(RULES, &[Gate::Constant])) {
        holds!(identities::gates(&reference, &given));
    }

    #[test]
    fn beta_zero_never_writes(given in plain(&[Rule::Delta], GATES)) {
        holds!(identities::nothing_written(&reference, &given));
    }

    #[test]
    fn value_heads_that_share_keys_are_heads_of_their_own(given in problems(RULES, GATES)) {
        holds!(identities::grouped(&reference, &given));
    }

    #[test]
    fn queries_that_share_a_state_are_heads_of_their_own(given in problems(RULES, GATES), each in 1usize..4, shared: bool) {
        let mut spec = given.spec.clone();
        spec.query_heads = Some(spec.value_heads * each);
        spec.shared_beta = shared && spec.rule == Rule::Delta;
        let given = Given::random(spec, 5).expect("queries");
        holds!(identities::queries(&reference, &given));
    }

    #[test]
    fn states_on_the_way_are_last_states_of_fewer_tokens(
        given in plain(RULES, GATES),
        every in 1usize..24,
        window in 1usize..24,
        reverse in any::<bool>(),
    ) {
        let given = given.of(|spec| {
            (spec.checkpoint_every, spec.state_window) = (Some(every), Some(window.min(spec.len)));
            spec.direction = if reverse { Direction::Reverse } else { Direction::Forward };
        });
        holds!(identities::kept_states(&reference, &given));
    }

    /// Tokens beyond a length are none to take back.
    #[test]
    fn a_window_ends_with_the_tokens_that_count(given in plain(RULES, GATES), kept in 0usize..24, window in 1usize..24) {
        let (kept, window) = (kept % (given.spec.len + 1), window.min(given.spec.len));
        let lengths = foveal_tests::linear::Tensor::of([1, 1, 1, given.spec.batch], |_| kept as f64);
        let padded = given.of(|spec| {
            (spec.lengths, spec.state_window) = (Lengths::Padded("lengths".into()), Some(window));
        });
        let padded = padded.with("lengths", lengths).reference().expect("lengths");
        for entry in 0..window {
            let short = given.tokens(0..(kept + entry + 1).saturating_sub(window)).reference().expect("fewer tokens");
            let entries: Vec<usize> = (0..given.spec.batch).map(|batch| batch * window + entry).collect();
            prop_assert_eq!(&padded["window_states"].batch(&entries), &short["state_out"]);
        }
    }

    #[test]
    fn what_is_not_causal_reads_the_last_state(given in plain(&[Rule::Add], &[Gate::None])) {
        holds!(identities::whole_reads_the_last_state(&reference, &given));
    }

    #[test]
    fn an_erase_key_that_is_k_is_none(given in plain(&[Rule::Delta], GATES)) {
        let k = given.tensor("k").clone();
        let with_key = given.of(|spec| spec.erase_key = Some("p".into())).with("p", k);
        prop_assert_eq!(with_key.reference().expect("a key"), given.reference().expect("no key"));
    }

    #[test]
    fn step_sizes_and_skips_are_what_a_caller_could_compute(given in plain(&[Rule::Add], GATES)) {
        let mut spec = given.spec.clone();
        (spec.dt, spec.skip) = (Some("dt".into()), Some("d".into()));
        let given = Given::random(spec, 5).expect("step sizes");
        holds!(identities::discretised(&reference, &given));
    }

    #[test]
    fn keys_that_are_decays_are_what_a_caller_could_compute(given in plain(&[Rule::Add, Rule::Delta], &[Gate::Vector])) {
        let mut spec = given.spec.clone();
        (spec.heads, spec.key) = (spec.value_heads, Key::Decay);
        let given = Given::random(spec, 5).expect("keys that are decays");
        holds!(identities::decayed_keys(&reference, &given));
    }

    /// Without a gate, reading before the write with a bonus of 1 is reading after it.
    #[test]
    fn a_bonus_of_one_is_none_without_a_gate(given in plain(&[Rule::Add], &[Gate::None])) {
        let count = given.spec.value_heads * given.spec.head_dim;
        let ones = foveal_tests::linear::Tensor::of([1, 1, 1, count], |_| 1.0);
        let with_bonus = given.of(|spec| spec.bonus = Some("u".into())).with("u", ones);
        let pair = [with_bonus, given].map(|given| given.reference().expect("a bonus or none"));
        prop_assert!(foveal_tests::linear::off(&pair[0], &pair[1]) < CLOSE);
    }

    /// Tokens beyond a length read what the others left, and change nothing.
    #[test]
    fn tokens_beyond_the_length_change_no_state(given in plain(RULES, GATES), kept in 0usize..24) {
        let kept = kept % (given.spec.len + 1);
        let lengths = foveal_tests::linear::Tensor::of([1, 1, 1, given.spec.batch], |_| kept as f64);
        let padded = given.of(|spec| spec.lengths = Lengths::Padded("lengths".into())).with("lengths", lengths);
        let padded = padded.reference().expect("lengths");
        let short = given.tokens(0..kept).reference().expect("fewer tokens");
        prop_assert_eq!(&padded["state_out"], &short["state_out"]);
        let first: Vec<usize> = (0..kept).collect();
        prop_assert_eq!(&padded["o"].rows(&first), &short["o"]);
    }
}
