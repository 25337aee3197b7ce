//! Criteria of a right result: where values that are not finite have to be, and how far f32 may be off where a problem
//! is ill-conditioned. The bounds are held against f32 arithmetic done here; ordinary problems get none.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::expr::{Expr, Table};
use foveal_kernels::linear_attention::{LinearAttention, LinearShape};
use foveal_kernels::{
    Dtype, HostTensor, operators,
    testing::{Checked, Comparison, Expected, Reference, Rows, Tolerance, compare},
};
use foveal_tests::harness::borrowed;

const TOLERANCE: Tolerance = Tolerance { rel_rmse: 1e-5, worst: 1e-4, floor: 1e-7 };

fn expected(values: &[f64], allowance: Option<&[f64]>) -> Expected {
    Expected {
        name: "o".into(),
        shape: vec![values.len()],
        elements: None,
        values: values.to_vec(),
        allowance: allowance.map(<[f64]>::to_vec),
        head_axis: None,
    }
}

fn compared(want: &[f64], allowance: Option<&[f64]>, got: &[f32], dtype: Dtype) -> Result<Comparison> {
    let actual = HostTensor::from_f32(vec![got.len()], got, dtype)?;
    Ok(compare(&expected(want, allowance), &actual, TOLERANCE)?)
}

#[test]
fn values_that_are_not_finite_have_their_places() -> Result<()> {
    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    // The reference's value, the device's, and whether that is right.
    let pairs = [
        (1.0, 1.0, true),
        (1.0, NAN, false),
        (1.0, INF, false),
        (1.0, -INF, false),
        (NAN, NAN, true),
        (NAN, 1.0, false),
        (NAN, 0.0, false),
        (NAN, INF, false),
        (INF, INF, true),
        (INF, -INF, false),
        (INF, NAN, false),
        (INF, 1e30, false),
        (-INF, -INF, true),
        (-INF, NAN, false),
        (-INF, -1e30, false),
    ];
    for (want, got, right) in pairs {
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        let comparison = compared(&[2.0, want, 3.0], None, &[2.0, got as f32, 3.0], Dtype::F32)?;
        ensure!(comparison.passed == right, "{want} and {got}: {comparison:?}");
        ensure!(comparison.non_finite == usize::from(!right), "{comparison:?}");
        ensure!(comparison.nan == usize::from(want.is_nan() && got.is_nan()), "{comparison:?}");
        if !right {
            let worst = comparison.worst.as_ref().context("no element is named")?;
            ensure!(worst.index == [1], "{worst}");
            let complaint = Checked { outputs: vec![comparison] }.complaint().context("no complaint")?;
            ensure!(complaint.contains("1 of 3 values") && complaint.contains("[1]: got"), "{complaint}");
        }
    }
    // Where infinite inputs made the infinity, NaN will do, a number or the other infinity will not.
    for (got, right) in [(f32::NAN, true), (f32::INFINITY, true), (f32::NEG_INFINITY, false), (1.0, false)] {
        let comparison = compared(&[INF], Some(&[INF]), &[got], Dtype::F32)?;
        ensure!(comparison.passed == right, "{got}: {comparison:?}");
        // And infinity for NaN.
        let comparison = compared(&[f64::NAN], Some(&[INF]), &[got], Dtype::F32)?;
        ensure!(comparison.passed != got.is_finite(), "{got}: {comparison:?}");
    }
    Ok(())
}

#[test]
fn what_a_type_cannot_hold_is_its_infinity() -> Result<()> {
    for (want, got, dtype, right) in [
        (70_000.0, f32::INFINITY, Dtype::F16, true),
        (-70_000.0, f32::NEG_INFINITY, Dtype::F16, true),
        (-70_000.0, f32::INFINITY, Dtype::F16, false),
        (80_000.0, 65_504.0, Dtype::F16, false),
        // Which side of the last step it falls on is a matter of rounding before.
        (65_519.0, f32::INFINITY, Dtype::F16, true),
        (65_519.0, 65_504.0, Dtype::F16, true),
        (60_000.0, f32::INFINITY, Dtype::F16, false),
        (70_000.0, f32::INFINITY, Dtype::F32, false),
        (70_000.0, f32::INFINITY, Dtype::Bf16, false),
        (3.4e38, f32::INFINITY, Dtype::Bf16, true),
        (3.5e38, f32::INFINITY, Dtype::F32, true),
        (3.5e38, f32::MAX, Dtype::F32, false),
    ] {
        let tolerance = Tolerance { rel_rmse: 1e-3, worst: 1e-3, floor: 1e-7 };
        let actual = HostTensor::from_f32(vec![1], &[got], dtype)?;
        let comparison = compare(&expected(&[want], None), &actual, tolerance)?;
        ensure!(comparison.passed == right, "{want} as {dtype}, {got}: {comparison:?}");
    }
    Ok(())
}

#[test]
fn allowances_are_subtracted_and_said() -> Result<()> {
    let want = [1.0, -1.0, 1.0, -1.0];
    let allowance = [0.0, 1e-3, 0.0, 0.0];
    let within = compared(&want, Some(&allowance), &[1.0, -1.0009, 1.0, -1.0], Dtype::F32)?;
    ensure!(within.passed && within.ill_conditioned == Some(1e-3), "{within:?}");
    ensure!(within.rel_rmse > 4e-4 && within.judged == 0.0, "{within:?}");
    let checked = Checked { outputs: vec![within] };
    let note = checked.note().context("no note")?;
    ensure!(note == "ill-conditioned: f32 can be off by 1.0e-3 here", "{note}");
    // Beyond the allowance, or at another element.
    for got in [[1.0, -1.002, 1.0, -1.0], [1.0009, -1.0, 1.0, -1.0]] {
        let beyond = compared(&want, Some(&allowance), &got, Dtype::F32)?;
        ensure!(!beyond.passed && beyond.ill_conditioned.is_none(), "{beyond:?}");
    }
    // Nothing is said where nothing was needed, and what is no number allows nothing.
    let exact = compared(&want, Some(&allowance), &[1.0, -1.0, 1.0, -1.0], Dtype::F32)?;
    ensure!(exact.passed && exact.ill_conditioned.is_none(), "{exact:?}");
    let nothing = compared(&want, Some(&[f64::NAN; 4]), &[1.0, -1.0009, 1.0, -1.0], Dtype::F32)?;
    ensure!(!nothing.passed, "{nothing:?}");
    Ok(())
}

/// Softmax attention in f32 as kernels do it: powers of 2, weights of differences to the largest score.
#[expect(clippy::cast_possible_truncation, reason = "f32 and its rounding is the purpose")]
fn in_f32(
    [q, k, v]: [&[f32]; 3],
    [queries, keys, dim]: [usize; 3],
    score: impl Fn(f32, usize, usize) -> f32,
) -> (Vec<f32>, Vec<f32>) {
    let (mut o, mut lse) = (Vec::new(), Vec::new());
    for query in 0..queries {
        let scores: Vec<f32> = (0..keys)
            .map(|key| {
                let products = (0..dim).map(|d| q[query * dim + d] * k[key * dim + d]);
                let s = products.sum::<f32>() * (1.0 / (dim as f64).sqrt()) as f32;
                score(s, query, key) * std::f32::consts::LOG2_E
            })
            .collect();
        let largest = scores.iter().copied().fold(f32::MIN, f32::max);
        let weights: Vec<f32> = scores.iter().map(|score| (score - largest).exp2()).collect();
        let sum: f32 = weights.iter().sum();
        lse.push((largest + sum.log2()) * std::f32::consts::LN_2);
        for d in 0..dim {
            let weighed = weights.iter().enumerate().map(|(key, weight)| weight * v[key * dim + d]);
            o.push(weighed.sum::<f32>() / sum);
        }
    }
    (o, lse)
}

type Score = fn(f32, usize, usize) -> f32;

/// Scores of large size, with the same in f32.
const LARGE: [(&str, Score); 9] = [
    ("s + 700.0", |s, _, _| s + 700.0),
    ("s - 450.0", |s, _, _| s - 450.0),
    ("s - 10000.0", |s, _, _| s - 10_000.0),
    ("s - 10000.0 * max(min(k - 39, 1), 0)", |s, _, k| s - if k > 39 { 10_000.0 } else { 0.0 }),
    ("s - 1000000000.0", |s, _, _| s - 1e9),
    ("s + (q - k)", |s, q, k| s + (q as f32 - k as f32)),
    ("s + (q - k) * 40", |s, q, k| s + (q as f32 - k as f32) * 40.0),
    ("max(s - 1000000.0, -800.0) + s", |s, _, _| (s - 1e6).max(-800.0) + s),
    ("500.0 * (1.0 + 0.01 * s)", |s, _, _| 500.0 * (1.0 + 0.01 * s)),
];

const SIZES: [usize; 3] = [24, 70, 16];

fn large(text: &str) -> Result<(Attention, Vec<(foveal_kernels::Name, HostTensor)>)> {
    let [queries, keys, dim] = SIZES;
    let spec =
        Attention::new(Shape::bhtd(1, 1, queries, dim).kv(1, keys)).score(Expr::parse(text)?).with_lse();
    let inputs = spec.random_inputs(7);
    Ok((spec, inputs))
}

fn f32s(inputs: &[(foveal_kernels::Name, HostTensor)], name: &str) -> Result<Vec<f32>> {
    let (_, tensor) = inputs.iter().find(|(given, _)| given == name).context("no such input")?;
    #[expect(clippy::cast_possible_truncation, reason = "they are f32")]
    Ok(tensor.to_f64().into_iter().map(|x| x as f32).collect())
}

#[test]
fn bounds_of_large_scores_hold_for_f32() -> Result<()> {
    let mut needed = 0;
    for (text, score) in LARGE {
        let (spec, inputs) = large(text)?;
        let [q, k, v] = [f32s(&inputs, "q")?, f32s(&inputs, "k")?, f32s(&inputs, "v")?];
        let (o, lse) = in_f32([&q, &k, &v], SIZES, score);
        for expected in spec.reference(&borrowed(&inputs), Rows::All)? {
            let got = if expected.name == "o" { &o } else { &lse };
            let actual = HostTensor::from_f32(expected.shape.clone(), got, Dtype::F32)?;
            let comparison = compare(&expected, &actual, spec.tolerance(&expected.name))?;
            ensure!(comparison.passed, "{text}, {}: {comparison:?}", expected.name);
            let without = Expected { allowance: None, ..expected.clone() };
            needed += usize::from(!compare(&without, &actual, spec.tolerance(&expected.name))?.passed);
        }
    }
    ensure!(needed >= 4, "only {needed} outputs needed their bound");
    Ok(())
}

/// Mistakes that a bound must not cover: keys that are missed or seen too much, in rows of 70 with scores of 700.
#[test]
fn mistakes_among_large_scores_are_found() -> Result<()> {
    let mistakes: [(&str, Score); 4] = [
        ("a key too few", |s, _, k| if k == 69 { -1e30 } else { s + 700.0 }),
        ("a key counted for half", |s, q, k| s + 700.0 - if k == q { 0.7 } else { 0.0 }),
        ("no scale", |s, _, _| s * 4.0 + 700.0),
        ("another offset for some", |s, _, k| s + 700.0 + if k % 2 == 0 { 0.02 } else { 0.0 }),
    ];
    let (spec, inputs) = large("s + 700.0")?;
    let [q, k, v] = [f32s(&inputs, "q")?, f32s(&inputs, "k")?, f32s(&inputs, "v")?];
    for (what, score) in mistakes {
        let (o, _) = in_f32([&q, &k, &v], SIZES, score);
        let expected = spec.reference(&borrowed(&inputs), Rows::All)?;
        let expected = expected.iter().find(|output| output.name == "o").context("no o")?;
        let actual = HostTensor::from_f32(expected.shape.clone(), &o, Dtype::F32)?;
        let comparison = compare(expected, &actual, spec.tolerance("o"))?;
        ensure!(!comparison.passed, "{what}: {comparison:?}");
    }
    Ok(())
}

#[test]
fn large_scores_from_tables_and_sinks_have_bounds() -> Result<()> {
    let table = Table { name: "bias".into(), shape: vec![1, 8], element: Dtype::F32 };
    let spec =
        Attention::new(Shape::bhtd(1, 2, 4, 8).kv(2, 8)).score(Expr::parse("s + bias[b, k]")?).table(table);
    let mut inputs = spec.random_inputs(1);
    let bias = |values: Vec<f32>| HostTensor::from_f32(vec![1, 8], &values, Dtype::F32);
    for (values, ordinary) in [
        (vec![0.5; 8], true),
        (vec![-10_000.0; 8], false),
        (vec![-1e20; 8], false),
        // Keys without weight have no error either.
        ((0..8).map(|k| if k < 4 { 0.0 } else { -1e9 }).collect(), true),
    ] {
        let tensor = bias(values.clone())?;
        let given = inputs.iter_mut().find(|(name, _)| name == "bias").context("no bias")?;
        given.1 = tensor;
        let outputs = spec.reference(&borrowed(&inputs), Rows::All)?;
        ensure!(outputs[0].allowance.is_none() == ordinary, "{values:?}: {:?}", outputs[0].allowance);
    }
    let mut spec = Attention::new(Shape::bhtd(1, 1, 2, 4).kv(1, 3)).with_lse();
    spec.sink_logits = Some("sinks".into());
    let mut inputs = spec.random_inputs(1);
    let sinks = inputs.iter_mut().find(|(name, _)| name == "sinks").context("no sinks")?;
    sinks.1 = HostTensor::from_f32(vec![1], &[3000.0], Dtype::F32)?;
    let outputs = spec.reference(&borrowed(&inputs), Rows::All)?;
    let lse = outputs.iter().find(|output| output.name == "lse").context("no lse")?;
    let allowed = lse.allowance.as_ref().context("no allowance")?[0];
    ensure!((3e-4..2e-3).contains(&allowed), "{allowed}");
    Ok(())
}

/// Verdicts on ordinary problems are what they were: nothing is added to their tolerances.
#[test]
fn ordinary_problems_get_no_allowance() -> Result<()> {
    // Named after their large scores, or with scales of 1 to 10.
    const LARGE: [&str; 2] = ["large_scores", "scale_by_head"];
    let (mut cases, mut random, mut with) = (0, 0, 0);
    for operator in operators() {
        let named = operator.cases().into_iter().map(|case| (case, true));
        for (case, named) in named.chain((0..60).map(|seed| (operator.random_case(seed), false))) {
            let inputs = case.problem.random_inputs(case.seed);
            let rows = Rows::Sample { count: 64, seed: case.seed };
            let outputs = case.problem.reference(&borrowed(&inputs), rows)?;
            let tensors = case.problem.tensors();
            // Integers may round to either side of a half.
            let real =
                |name: &str| tensors.iter().any(|tensor| tensor.name == name && tensor.dtype.is_float());
            let allowed = outputs.iter().any(|output| output.allowance.is_some() && real(&output.name));
            if named {
                cases += 1;
                ensure!(
                    !allowed || LARGE.contains(&&*case.name),
                    "{} {}",
                    case.name,
                    case.problem.describe()
                );
            } else {
                random += 1;
                with += usize::from(allowed);
            }
        }
    }
    println!("{cases} cases; {with} of {random} random ones have an allowance");
    ensure!(cases > 80 && with * 20 <= random, "{with} of {random}, {cases} cases");
    Ok(())
}

/// A memory of nearly equal channels, read by their differences: what is left is a 30,000th of what cancels.
#[test]
fn outputs_that_cancel_are_called_ill_conditioned() -> Result<()> {
    let (tokens, dim, wide) = (80, 16, 8);
    let spec = LinearAttention::new(LinearShape::bhtd(1, 1, tokens, dim).value_dim(wide)).scale(1.0);
    let random = |count: usize, seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..count).map(|_| random.f32() - 0.5).collect::<Vec<f32>>()
    };
    let noise = random(tokens * dim, 1);
    let k: Vec<f32> = noise.iter().map(|x| 1.0 + 3e-5 * x).collect();
    let q: Vec<f32> = (0..tokens * dim).map(|i| if i % 2 == 0 { 100.0 } else { -100.0 }).collect();
    let v = random(tokens * wide, 2);
    let tensor = |values: &[f32], dim| HostTensor::from_f32(vec![1, 1, tokens, dim], values, Dtype::F32);
    let inputs =
        vec![("q".into(), tensor(&q, dim)?), ("k".into(), tensor(&k, dim)?), ("v".into(), tensor(&v, wide)?)];
    let expected = spec.reference(&borrowed(&inputs), Rows::All)?;
    // The recurrence in f32.
    let (mut state, mut o) = (vec![0.0f32; dim * wide], Vec::new());
    for token in 0..tokens {
        for d in 0..dim {
            for c in 0..wide {
                state[d * wide + c] += k[token * dim + d] * v[token * wide + c];
            }
        }
        o.extend((0..wide).map(|c| (0..dim).map(|d| q[token * dim + d] * state[d * wide + c]).sum::<f32>()));
    }
    let actual = tensor(&o, wide)?;
    let comparison = compare(&expected[0], &actual, spec.tolerance("o"))?;
    ensure!(comparison.passed && comparison.ill_conditioned.is_some(), "{comparison:?}");
    let without = Expected { allowance: None, ..expected[0].clone() };
    ensure!(!compare(&without, &actual, spec.tolerance("o"))?.passed, "it was not ill-conditioned");
    // A token that is left out is found nevertheless.
    let shifted: Vec<f32> = o[wide..].iter().chain(&o[..wide]).copied().collect();
    ensure!(!compare(&expected[0], &tensor(&shifted, wide)?, spec.tolerance("o"))?.passed);
    Ok(())
}
