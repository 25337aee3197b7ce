//! Tasks that linear attention is known to solve in closed form: state tracking, recall, regression in context.

use anyhow::{Result, ensure};
use foveal_kernels::linear_attention::{LinearAttention, LinearShape, Rule};
use foveal_tests::linear::{Given, Tensor, Tensors};

fn bits(seed: u64, count: usize) -> Vec<bool> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.bool()).collect()
}

/// Parity of what was seen so far, as a sign.
fn parities(bits: &[bool]) -> Vec<f64> {
    let mut odd = false;
    bits.iter()
        .map(|bit| {
            odd ^= bit;
            if odd { -1.0 } else { 1.0 }
        })
        .collect()
}

/// A state of one number that a token with a set bit turns around: with beta 2 the delta rule reflects, `S - 2 k k^T S`.
fn parity_problem(bits: &[bool]) -> Result<Given> {
    let len = bits.len();
    let mut spec = LinearAttention::new(LinearShape::bhtd(1, 1, len, 1)).rule(Rule::Delta).with_states();
    spec.scale = Some(1.0);
    let ones = Tensor::of([1, 1, len, 1], |_| 1.0);
    let beta = ones.map(|[_, _, t, _], _| if bits[t] { 2.0 } else { 0.0 });
    let first = Tensor::of([1; 4], |_| 1.0);
    let zeros = ones.map(|_, _| 0.0);
    Ok(Given::random(spec, 0)?
        .with("q", ones.clone())
        .with("k", ones)
        .with("v", zeros)
        .with("beta", beta)
        .with("state_in", first))
}

/// Grazzi et al. 2024: no linear recurrence with eigenvalues in [0, 1] alone can do this.
#[test]
fn reflections_track_the_parity_of_bits_exactly() -> Result<()> {
    for seed in 0..20 {
        let bits = bits(seed, 1000);
        let outputs = parity_problem(&bits)?.reference()?;
        ensure!(outputs["o"].values == parities(&bits), "seed {seed}");
        ensure!(outputs["state_out"].values.last() == parities(&bits).last(), "seed {seed}");
    }
    Ok(())
}

/// Siems et al. 2025: two reflections a token are a rotation, and rotations by a fifth of a turn count modulo 5.
#[test]
fn two_reflections_a_token_count_modulo_five() -> Result<()> {
    let (len, fifth) = (1000, std::f64::consts::TAU / 5.0);
    let set = bits(3, len);
    let mut spec =
        LinearAttention::new(LinearShape::bhtd(1, 1, len, 2).value_dim(1)).rule(Rule::Delta).with_states();
    (spec.steps, spec.scale) = (2, Some(1.0));
    // Reflections along (1, 0), then along half the angle of the rotation.
    let k = Tensor::of([1, 1, 2 * len, 2], |[_, _, row, c]| match (row % 2, c) {
        (0, c) => [1.0, 0.0][c],
        (_, 0) => (fifth / 2.0).cos(),
        _ => (fifth / 2.0).sin(),
    });
    let given = Given::random(spec, 0)?
        .with("q", Tensor::of([1, 1, len, 2], |[.., c]| [1.0, 0.0][c]))
        .with("k", k)
        .with("v", Tensor::of([1, 1, 2 * len, 1], |_| 0.0))
        .with("beta", Tensor::of([1, 1, 2 * len, 1], |[_, _, row, _]| if set[row / 2] { 2.0 } else { 0.0 }))
        .with("state_in", Tensor::of([1, 1, 2, 1], |[_, _, d, _]| [1.0, 0.0][d]));
    let outputs = given.reference()?;
    let mut count = 0;
    for (at, (bit, o)) in set.iter().zip(&outputs["o"].values).enumerate() {
        count = (count + i32::from(*bit)) % 5;
        let expected = (f64::from(count) * fifth).cos();
        ensure!((o - expected).abs() < 1e-11, "after {at} tokens: {o}, expected {expected}");
    }
    Ok(())
}

/// A value written with beta 1 under a key of unit length is what that key reads, from any state.
#[test]
fn what_is_written_with_beta_one_is_read_back() -> Result<()> {
    let mut spec = LinearAttention::new(LinearShape::bhtd(2, 2, 40, 8).value_heads(4).value_dim(5))
        .rule(Rule::Delta)
        .with_states();
    spec.scale = Some(1.0);
    let given = Given::random(spec, 11)?;
    let (k, beta) = (given.tensor("k").clone(), given.tensor("beta").map(|_, _| 1.0));
    let unit = k.map(|[b, h, t, _], x| {
        let norm: f64 = (0..8).map(|d| k.at([b, h, t, d]).powi(2)).sum();
        x / norm.sqrt()
    });
    let given = given.with("q", unit.clone()).with("k", unit).with("beta", beta);
    let off = given.reference()?["o"].off(given.tensor("v"));
    ensure!(off < 1e-12, "{off:e}");
    Ok(())
}

struct Regression {
    given: Given,
    /// One step of gradient descent from zero on the mean squared error, at every point.
    predicted: Tensor,
}

/// Points `x` with labels `y`: `W = rate / N * sum y x^T`, and `W x` for each (von Oswald et al. 2023, proposition 1).
fn regression(causal: bool) -> Result<Regression> {
    let (points, dim, labels, rate) = (60, 7, 3, 0.7);
    let mut spec = LinearAttention::new(LinearShape::bhtd(1, 2, points, dim).value_dim(labels));
    spec.causal = causal;
    spec.scale = Some(rate / 60.0);
    let given = Given::random(spec, 21)?;
    let x = given.tensor("k").clone();
    // The last point asks and teaches nothing: its label is not known.
    let y = given.tensor("v").map(|[_, _, t, _], y| if t == points - 1 { 0.0 } else { y });
    let mut predicted = Tensor::of([1, 2, points, labels], |_| 0.0);
    for h in 0..2 {
        // d/dW of 1/(2N) sum |W x - y|^2 at W = 0.
        let mut gradient = vec![vec![0.0; dim]; labels];
        for t in 0..points {
            for (c, row) in gradient.iter_mut().enumerate() {
                for (d, g) in row.iter_mut().enumerate() {
                    *g -= y.at([0, h, t, c]) * x.at([0, h, t, d]) / 60.0;
                }
            }
        }
        predicted = predicted.map(|[b, head, t, c], value| {
            if head != h {
                return value;
            }
            (0..dim).map(|d| -rate * gradient[c][d] * x.at([b, h, t, d])).sum()
        });
    }
    let given = given.with("q", x.clone()).with("k", x).with("v", y);
    Ok(Regression { given, predicted })
}

#[test]
fn a_layer_that_is_not_causal_is_a_step_of_gradient_descent() -> Result<()> {
    let Regression { given, predicted } = regression(false)?;
    let off = given.reference()?["o"].off(&predicted);
    ensure!(off < 1e-13, "{off:e}");
    Ok(())
}

#[test]
fn the_last_token_of_a_causal_layer_is_a_step_of_gradient_descent() -> Result<()> {
    let Regression { given, predicted } = regression(true)?;
    let last = |tensors: &Tensors| tensors["o"].rows(&[given.spec.len - 1]);
    let off = last(&given.reference()?).off(&predicted.rows(&[given.spec.len - 1]));
    ensure!(off < 1e-13, "{off:e}");
    Ok(())
}

/// The delta rule is stochastic gradient descent, a point at a time, at the rate beta (Widrow and Hoff 1960). On consistent
/// data its error never grows.
#[test]
fn the_delta_rule_is_stochastic_gradient_descent() -> Result<()> {
    let (points, dim) = (200, 6);
    let mut spec = LinearAttention::new(LinearShape::bhtd(1, 1, points, dim).value_dim(2))
        .rule(Rule::Delta)
        .with_states();
    spec.scale = Some(1.0);
    let given = Given::random(spec, 31)?;
    let truth = given.tensor("state_in").clone();
    let k = given.tensor("k").clone();
    let v = given
        .tensor("v")
        .map(|[_, _, t, c], _| (0..dim).map(|d| k.at([0, 0, t, d]) * truth.at([0, 0, d, c])).sum());
    let from_zero = truth.map(|_, _| 0.0);
    let given = given.with("v", v).with("state_in", from_zero);
    let mut before = f64::INFINITY;
    for len in [10, 50, 100, 200] {
        let learned = &given.tokens(0..len).reference()?["state_out"];
        let off = learned.off(&truth);
        ensure!(off <= before, "{off:e} after {len} points, {before:e} before");
        before = off;
    }
    ensure!(before < 1e-3, "{before:e}");
    Ok(())
}
