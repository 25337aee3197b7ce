//! Reach of NaN, and states after strong gates: exactly as the definition has them, token by token.

use anyhow::{Context, Result, ensure};
use foveal::Engine;
use foveal_kernels::Described;
use foveal_kernels::linear_attention::{
    Direction, FeatureMap, Gate, Key, Lengths, LinearAttention, LinearShape, Normaliser, Rule,
};
use foveal_tests::linear::{Given, Tensor, Tensors, off};
use foveal_tests::say;

use crate::engine_or_skip;
use crate::linear::{Refused, kernel, variants};

/// More than one chunk of 64 rows and an uneven rest.
fn spec(rule: Rule, gate: Gate) -> LinearAttention {
    LinearAttention::new(LinearShape::bhtd(1, 1, 90, 32).value_heads(2).value_dim(20))
        .rule(rule)
        .gate(gate)
        .with_states()
}

fn changed(rule: Rule, gate: Gate, change: impl FnOnce(&mut LinearAttention)) -> LinearAttention {
    let mut spec = spec(rule, gate);
    change(&mut spec);
    spec
}

/// Every rule with every gate, and what has passes or branches of its own.
fn specs() -> Vec<LinearAttention> {
    let stateless = |spec: &mut LinearAttention| {
        (spec.state_in, spec.state_out) = (false, false);
        spec.direction = Direction::Both;
    };
    vec![
        spec(Rule::Add, Gate::None),
        changed(Rule::Add, Gate::Constant, |spec| {
            (spec.dt, spec.skip) = (Some("dt".into()), Some("d".into()));
        }),
        spec(Rule::Add, Gate::Scalar),
        changed(Rule::Add, Gate::Vector, |spec| spec.lengths = Lengths::Padded("lengths".into())),
        changed(Rule::Add, Gate::Scalar, |spec| {
            (spec.normaliser, spec.z_in, spec.z_out) = (Normaliser::Sum, true, true);
            spec.feature_map = FeatureMap::Elu1;
        }),
        changed(Rule::Add, Gate::Vector, |spec| spec.bonus = Some("u".into())),
        changed(Rule::Add, Gate::Vector, |spec| {
            (spec.key, spec.heads) = (Key::Decay, spec.value_heads);
            spec.direction = Direction::Reverse;
        }),
        changed(Rule::Add, Gate::None, |spec| {
            (spec.causal, spec.normaliser, spec.feature_map) = (false, Normaliser::Sum, FeatureMap::Softmax);
        }),
        spec(Rule::Delta, Gate::None),
        changed(Rule::Delta, Gate::Scalar, |spec| spec.lengths = Lengths::Packed(3)),
        changed(Rule::Delta, Gate::Scalar, |spec| spec.lengths = Lengths::Padded("lengths".into())),
        changed(Rule::Delta, Gate::Vector, |spec| spec.erase_key = Some("p".into())),
        changed(Rule::Delta, Gate::Vector, |spec| spec.steps = 2),
        changed(Rule::Delta, Gate::Vector, stateless),
        changed(Rule::Add, Gate::Scalar, stateless),
        spec(Rule::Dplr, Gate::Vector),
        spec(Rule::Dplr, Gate::Scalar),
    ]
}

/// Runs `test` by every variant that serves a problem.
fn by_each(
    engine: &Engine,
    spec: &LinearAttention,
    mut test: impl FnMut(&str, &dyn Fn(&Given) -> Result<Tensors>) -> Result<()>,
) -> Result<()> {
    let mut served = 0;
    for variant in variants()? {
        let kernel = match kernel(engine, spec, variant) {
            Ok(kernel) => kernel,
            Err(error) if error.is::<Refused>() => continue,
            Err(error) => return Err(error),
        };
        served += 1;
        test(variant, &|given| given.on(engine, &kernel))?;
    }
    ensure!(served > 0, "no variant serves {}", spec.describe());
    Ok(())
}

/// How far two results' finite elements are apart, if the others are in the same places.
fn apart(got: &Tensors, expected: &Tensors) -> Result<f64> {
    let mut cleaned = (got.clone(), expected.clone());
    for (name, expected) in expected {
        let got = got.get(name).context("an output is gone")?;
        for (at, (got, expected)) in got.values.iter().zip(&expected.values).enumerate() {
            let same = if expected.is_nan() { got.is_nan() } else { got.is_finite() == expected.is_finite() };
            ensure!(same, "`{name}`, element {at} of {}: got {got}, expected {expected}", name.len());
        }
        for tensors in [&mut cleaned.0, &mut cleaned.1] {
            if let Some(tensor) = tensors.get_mut(name) {
                *tensor = tensor.map(|_, x| if x.is_finite() { x } else { 0.0 });
            }
        }
    }
    Ok(off(&cleaned.0, &cleaned.1))
}

/// One element of a tensor replaced, in the last head, in the middle of its rows and columns.
fn with_one(given: &Given, name: &str, row: usize, value: f64) -> Given {
    let tensor = given.tensor(name);
    let [batch, heads, rows, width] = tensor.sizes;
    // Tensors that are no rows have all their numbers in a row.
    let place = [batch - 1, heads - 1, row.min(rows - 1), width / 2];
    given.clone().with(name, tensor.map(|at, x| if at == place { value } else { x }))
}

/// A NaN in any input reaches what the definition says, and nothing else: tokens before it, other columns and channels, other
/// heads stay what they are. Rows in the first and the second chunk of 64, at blocks' ends and within.
#[test]
fn nan_reaches_what_the_definition_says() -> Result<()> {
    let engine = engine_or_skip!();
    let mut tried = 0;
    for spec in specs() {
        let given = Given::random(spec.clone(), 5)?;
        let names: Vec<String> = given
            .tensors
            .keys()
            .filter(|name| !["cu_seqlens", "lengths"].contains(&name.as_str()))
            .cloned()
            .collect();
        let problems: Vec<(String, Given, Tensors)> = names
            .iter()
            .flat_map(|name| [0, 22, 77].map(|row| (name, row)))
            .map(|(name, row)| {
                let spoilt = with_one(&given, name, row, f64::NAN);
                let expected = spoilt.reference()?;
                Ok((format!("NaN in `{name}`, row {row}"), spoilt, expected))
            })
            .collect::<Result<_>>()?;
        by_each(&engine, &spec, |variant, run| {
            for (what, given, expected) in &problems {
                let what = || format!("{what}, {variant}: {}", spec.describe());
                let off = apart(&run(given)?, expected).with_context(what)?;
                ensure!(off < 1e-5, "{}: {off:.1e} off elsewhere", what());
                tried += 1;
            }
            Ok(())
        })?;
    }
    say(&format!("linear, NaN in one place: {tried} problems"));
    Ok(())
}

/// An infinite value stays with its column and does not reach tokens before it.
#[test]
fn infinite_values_stay_in_their_columns() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in specs() {
        let given = with_one(&Given::random(spec.clone(), 6)?, "v", 41, f64::INFINITY);
        let expected = given.reference()?;
        by_each(&engine, &spec, |variant, run| {
            let got = run(&given)?;
            for (name, expected) in &expected {
                let got = got.get(name).context("an output is gone")?;
                let same =
                    got.values.iter().zip(&expected.values).all(|(a, b)| a.is_finite() == b.is_finite());
                ensure!(same, "`{name}`, {variant}: {}", spec.describe());
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// NaN in what lengths hide, in any tensor but q, do not matter: all other tests hold states and outputs to be finite.
#[test]
fn nan_in_padding_does_not_matter() -> Result<()> {
    let engine = engine_or_skip!();
    for mut spec in specs().into_iter().filter(|spec| matches!(spec.lengths, Lengths::Padded(_))) {
        spec.fill.nan = true;
        spec.batch = 3;
        let given = Given::random(spec.clone(), 8)?;
        let expected = given.reference()?;
        by_each(&engine, &spec, |variant, run| {
            let what = || format!("{variant}: {}", spec.describe());
            let off = apart(&run(&given)?, &expected).with_context(what)?;
            ensure!(off < 5e-6, "{}: {off:.1e} off", what());
            Ok(())
        })?;
    }
    Ok(())
}

/// The worst relative error of any row of o, and that of the states.
fn worst_row(got: &Tensors, expected: &Tensors) -> Result<f64> {
    let mut worst = 0.0f64;
    for (name, expected) in expected {
        let got = got.get(name).context("an output is gone")?;
        let row = if name == "o" { expected.sizes[3] } else { expected.sizes[2] * expected.sizes[3] };
        for (got, expected) in got.values.chunks(row).zip(expected.values.chunks(row)) {
            let square = |of: &mut dyn Iterator<Item = f64>| of.map(|x| x * x).sum::<f64>();
            let difference = square(&mut got.iter().zip(expected).map(|(a, b)| a - b));
            let size = square(&mut expected.iter().copied());
            worst = worst.max((difference / size.max(1e-20)).sqrt());
        }
    }
    Ok(worst)
}

/// The rule dplr, token by token, on one batch entry and in f32: how far the format itself is off.
#[expect(clippy::cast_possible_truncation, reason = "to f32 and back is the point")]
fn dplr_in_f32(given: &Given) -> Tensors {
    let spec = &given.spec;
    let (tall, wide) = (spec.key_dim(), spec.value_dim);
    let scale = spec.resolved_scale() as f32;
    let mut o = Tensor::of([1, spec.value_heads, spec.len, wide], |_| 0.0);
    let mut state_out = given.tensor("state_in").clone();
    for head in 0..spec.value_heads {
        let key_head = head * spec.heads / spec.value_heads;
        let of = |name: &str, head: usize, t: usize, d: usize| given.tensor(name).at([0, head, t, d]) as f32;
        for column in 0..wide {
            let mut state: Vec<f32> =
                (0..tall).map(|d| given.tensor("state_in").at([0, head, d, column]) as f32).collect();
            for t in 0..spec.len {
                let read: f32 = (0..tall).map(|d| of("a", key_head, t, d) * state[d]).sum();
                for (d, s) in state.iter_mut().enumerate() {
                    let g = of("g", head, t, if spec.gate == Gate::Vector { d } else { 0 });
                    *s = *s * g.exp()
                        + of("b", key_head, t, d) * read
                        + of("k", key_head, t, d) * of("v", head, t, column);
                }
                let sum: f32 = (0..tall).map(|d| of("q", key_head, t, d) * state[d]).sum();
                o.values[(head * spec.len + t) * wide + column] = f64::from(scale * sum);
            }
            for (d, s) in state.into_iter().enumerate() {
                state_out.values[(head * tall + d) * wide + column] = f64::from(s);
            }
        }
    }
    Tensors::from([("o".into(), o), ("state_out".into(), state_out)])
}

/// A large state, then gates: what is left of it is right by its own size, though it was 10,000 times what tokens bring.
#[test]
fn strong_gates_leave_nothing_behind() -> Result<()> {
    let engine = engine_or_skip!();
    let mut worst = 0.0f64;
    for spec in
        specs().into_iter().filter(|spec| spec.gate != Gate::None && spec.dt.is_none() && spec.state_in)
    {
        let mut spec = spec;
        (spec.lengths, spec.key) = (Lengths::Full, Key::Given);
        let given = Given::random(spec.clone(), 9)?;
        let large = given.tensor("state_in").map(|_, x| 1e4 * x);
        let given = given.with("state_in", large);
        // A strong gate, gates that are strong together, and one of minus infinity; at the start, in a chunk, in the last.
        let forms: &[(&str, &dyn Fn(usize) -> f64)] = &[
            ("-10", &|t| if t == 0 { -10.0 } else { 0.0 }),
            ("-12", &|t| if t == 37 { -12.0 } else { 0.0 }),
            ("-16", &|t| if t == 70 { -16.0 } else { 0.0 }),
            ("-17", &|t| if t == 5 { -17.0 } else { 0.0 }),
            ("-88", &|t| if t == 40 { -88.0 } else { -1e-4 }),
            ("-1e4", &|t| if t == 66 { -1e4 } else { 0.0 }),
            ("-0.7 sixteen times", &|t| if (30..46).contains(&t) { -0.7 } else { 0.0 }),
            ("-0.3 each", &|_| -0.3),
            ("minus infinity", &|t| if t == 50 { f64::NEG_INFINITY } else { 0.0 }),
        ];
        let given_with = |gate: &dyn Fn(usize) -> f64| {
            let g = given.tensor("g").map(|[_, _, t, d], _| {
                // Channels differ, some have none.
                let factor = if spec.gate == Gate::Vector { [1.0, 1.0, 1.25, 0.0][d % 4] } else { 1.0 };
                let x = gate(t);
                if factor == 0.0 { 0.0 } else { factor * x }
            });
            given.clone().with("g", g)
        };
        let problems: Vec<(&str, Given, Tensors, f64)> = forms
            .iter()
            .map(|(name, gate)| {
                let given = given_with(*gate);
                let expected = given.reference()?;
                // The state that a of the rule dplr reads has not decayed: rows are differences of large numbers.
                let max = if spec.rule == Rule::Dplr {
                    2e-5f64.max(4.0 * worst_row(&dplr_in_f32(&given), &expected)?)
                } else {
                    2e-5
                };
                Ok((*name, given, expected, max))
            })
            .collect::<Result<_>>()?;
        by_each(&engine, &spec, |variant, run| {
            for (name, given, expected, max) in &problems {
                let off = worst_row(&run(given)?, expected)?;
                ensure!(off < *max, "gates of {name}, {variant}: {off:.1e} off: {}", spec.describe());
                worst = worst.max(off);
            }
            Ok(())
        })?;
    }
    say(&format!("linear, strong gates: rows {worst:.1e} off at most"));
    Ok(())
}

/// A long sum without a gate: what a chunk adds is summed before it is added.
#[test]
fn long_sums_keep_their_precision() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = LinearAttention::new(LinearShape::bhtd(1, 2, 262_144, 16)).with_states();
    let given = Given::random(spec.clone(), 1)?;
    let given =
        given.clone().with("state_in", Tensor { values: vec![0.0; 512], ..given.tensor("state_in").clone() });
    let expected = given.reference()?;
    for variant in ["broadcast", "chunked"] {
        let kernel = match kernel(&engine, &spec, variant) {
            Ok(kernel) => kernel,
            Err(error) if error.is::<Refused>() => continue,
            Err(error) => return Err(error),
        };
        let off = off(&given.on(&engine, &kernel)?, &expected);
        say(&format!("linear, 262,144 tokens without a gate by {variant}: {off:.1e} off"));
        ensure!(off < 4e-6, "{variant}: {off:.1e} off");
    }
    Ok(())
}
