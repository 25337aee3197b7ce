//! The chunk algorithm is the recurrence: a transcription of it to the CPU, in f64 and f32, against the reference.
//!
//! It shares nothing with the kernels. What it shows is that the algorithm is right and what it can reach, so that a kernel
//! that is further off has a fault of its own.

mod algorithm;
mod maps;
mod real;

use anyhow::{Context, Result, ensure};
use foveal_kernels::{
    Described,
    linear_attention::{Gate, LinearAttention, LinearShape, Rule},
    testing::{GateDistribution, InputDistribution},
};
use foveal_tests::linear::{Given, Tensor, Tensors, off};
use foveal_tests::{parallel, say};

use algorithm::{Decays, Erase, Gates, Rows};
use real::{Matrix, Real};

const GATES: [Gate; 4] = [Gate::None, Gate::Constant, Gate::Scalar, Gate::Vector];
const FILLS: [GateDistribution; 4] =
    [GateDistribution::Mild, GateDistribution::Strong, GateDistribution::Zero, GateDistribution::Extreme];
const CHUNKS: [usize; 4] = [8, 16, 32, 64];

/// A head of a problem. Steps are rows of their own: the gate is on a token's first, q on its last.
fn rows<R: Real>(given: &Given, batch: usize, head: usize, decays: Decays) -> Rows<R> {
    let spec = &given.spec;
    let (key_head, steps, count) = (head / spec.group(), spec.steps, spec.rows());
    let of = |name: &str, head: usize| {
        let tensor = given.tensor(name);
        Matrix::of(count, tensor.sizes[3], |r, c| R::of(tensor.at([batch, head, r, c])))
    };
    let scale = R::of(spec.resolved_scale());
    let q = given.tensor("q");
    let q = Matrix::of(count, spec.head_dim, |r, d| {
        if r % steps == steps - 1 {
            scale * R::of(q.at([batch, key_head, r / steps, d]))
        } else {
            R::default()
        }
    });
    let g = |r: usize, d: usize| match spec.gate {
        Gate::Constant => given.tensor("g").at([0, 0, 0, head]),
        _ => given.tensor("g").at([batch, head, r / steps, d]),
    };
    let width = match spec.gate {
        Gate::None => 0,
        Gate::Constant | Gate::Scalar => 1,
        Gate::Vector => spec.head_dim,
    };
    let log2_e = R::of(std::f64::consts::LOG2_E);
    let by_row =
        Matrix::of(count, width, |r, d| if r % steps == 0 { log2_e * R::of(g(r, d)) } else { R::default() });
    let (k, mut y) = (of("k", key_head), of("v", head));
    let erase = match spec.rule {
        Rule::Add => Erase::Nothing,
        Rule::Delta => {
            let beta = of("beta", head);
            let x = spec.erase_key.as_ref().map_or_else(|| k.clone(), |name| of(name, key_head));
            y = y.map(|r, _, v| beta.at(r, 0) * v);
            Erase::Read(x.map(|r, _, x| beta.at(r, 0) * x))
        }
        Rule::Dplr => Erase::LowRank { a: of("a", key_head), minus_b: of("b", key_head).map(|_, _, b| -b) },
    };
    let bonus = spec.bonus.as_ref().map(|name| {
        let u = given.tensor(name);
        (0..spec.head_dim).map(|d| R::of(u.at([0, 0, 0, head * spec.head_dim + d]))).collect()
    });
    Rows { q, k, y, erase, gates: Gates { by_row, decays }, bonus }
}

fn first_state<R: Real>(given: &Given, batch: usize, head: usize) -> Matrix<R> {
    let spec = &given.spec;
    if !spec.state_in {
        return Matrix::zero(spec.head_dim, spec.value_dim);
    }
    let state = given.tensor("state_in");
    Matrix::of(spec.head_dim, spec.value_dim, |d, c| R::of(state.at([batch, head, d, c])))
}

/// Computes a problem by chunks of `len` rows.
fn by_chunks<R: Real>(given: &Given, len: usize, decays: Decays) -> Tensors {
    let spec = &given.spec;
    let sizes = |rows, width| [spec.batch, spec.value_heads, rows, width];
    let (mut o, mut states) = (Vec::new(), Vec::new());
    for batch in 0..spec.batch {
        for head in 0..spec.value_heads {
            let (all, state) =
                rows::<R>(given, batch, head, decays).by_chunks(len, first_state(given, batch, head));
            for token in 0..spec.len {
                o.extend(all.row((token + 1) * spec.steps - 1).iter().map(|x| x.wide()));
            }
            states.extend(state.wide());
        }
    }
    Tensors::from([
        ("o".into(), Tensor { sizes: sizes(spec.len, spec.value_dim), values: o }),
        ("state_out".into(), Tensor { sizes: sizes(spec.head_dim, spec.value_dim), values: states }),
    ])
}

/// Two value heads that share keys; widths that no vector divides.
fn spec(len: usize, rule: Rule, gate: Gate, gates: GateDistribution) -> LinearAttention {
    let mut spec = LinearAttention::new(LinearShape::bhtd(1, 1, len, 21).value_heads(2).value_dim(13))
        .rule(rule)
        .gate(gate)
        .with_states();
    spec.fill.gates = gates;
    spec
}

/// Every rule with every gate, each fill of it and every option that changes the algorithm.
fn specs(len: usize) -> Vec<LinearAttention> {
    let mut specs = Vec::new();
    for gate in GATES {
        for fill in FILLS {
            let of = |rule| spec(len, rule, gate, fill);
            let mut bonus = of(Rule::Add);
            bonus.bonus = Some("u".into());
            let mut integers = of(Rule::Delta);
            integers.fill =
                InputDistribution { gates: fill, integer_beta: true, repeated_keys: true, nan: false };
            let mut erase = of(Rule::Delta);
            erase.erase_key = Some("p".into());
            let mut steps = of(Rule::Delta);
            (steps.steps, steps.state_in) = (2, false);
            specs.extend([of(Rule::Add), bonus, of(Rule::Delta), integers, erase, steps, of(Rule::Dplr)]);
            if gate == Gate::None {
                // There is nothing to fill.
                break;
            }
        }
    }
    specs
}

/// Lengths around a chunk's, and one of many chunks.
fn lengths(chunk: usize) -> [usize; 5] {
    [1, chunk - 1, chunk, chunk + 1, 1000]
}

fn describe(spec: &LinearAttention) -> String {
    format!("{}, {}", spec.describe(), spec.fill)
}

/// The worst error of all problems by all chunk lengths, no head's above `allowed`.
fn worst<R: Real>(decays: Decays, lengths: fn(usize) -> [usize; 5], allowed: f64) -> Result<()> {
    let mut tasks = Vec::new();
    for chunk in CHUNKS {
        for len in lengths(chunk) {
            tasks.extend(specs(len).into_iter().map(|spec| (spec, chunk)));
        }
    }
    let errors = parallel::map(&tasks, |(spec, chunk)| -> Result<(f64, String)> {
        let given = Given::random(spec.clone(), 17)?;
        let error = off(&by_chunks::<R>(&given, *chunk, decays), &given.reference()?);
        let name = format!("{} by chunks of {chunk}", describe(spec));
        ensure!(error <= allowed, "{name}: {error:.1e}, {allowed:.0e} allowed");
        Ok((error, name))
    });
    let count = errors.len();
    let errors = errors.into_iter().collect::<Result<Vec<_>>>()?;
    let (worst, name) = errors.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).context("no problem")?;
    let of = std::any::type_name::<R>();
    say(&format!("{count} problems by chunks in {of}, {decays:?}: {worst:.1e} at worst, {name}"));
    Ok(())
}

#[test]
fn chunks_are_the_recurrence_in_f64() -> Result<()> {
    worst::<f64>(Decays::Sums, lengths, 1e-10)?;
    // The same algorithm with the other decays: the shorter lengths tell.
    worst::<f64>(Decays::Differences, |chunk| [1, chunk - 1, chunk, chunk + 1, 3 * chunk], 1e-10)
}

#[test]
fn chunks_are_the_recurrence_in_f32() -> Result<()> {
    worst::<f32>(Decays::Sums, lengths, 5e-6)?;
    worst::<f32>(Decays::Parts, |chunk| [1, chunk - 1, chunk, chunk + 1, 3 * chunk], 5e-6)
}

/// Why kernels do not just subtract cumulative sums: beside a gate of -1e4 the small gates of the rows after it are lost in
/// f32, and rows that follow each other are decayed wrongly. Sums of the gates in between, and sums in two parts, lose
/// nothing. Up to -20 a gate neither do differences.
#[test]
fn differences_of_cumulative_sums_lose_small_gates_beside_extreme_ones() -> Result<()> {
    for gate in [Gate::Scalar, Gate::Vector] {
        for rule in [Rule::Add, Rule::Delta, Rule::Dplr] {
            let error = |fill, decays| -> Result<f64> {
                let given = Given::random(spec(300, rule, gate, fill), 17)?;
                Ok(off(&by_chunks::<f32>(&given, 64, decays), &given.reference()?))
            };
            for fill in [GateDistribution::Mild, GateDistribution::Strong, GateDistribution::Zero] {
                let error = error(fill, Decays::Differences)?;
                ensure!(error < 1e-6, "{rule}, {gate} gate, {fill:?}: {error:.1e}");
            }
            let extreme = |decays| error(GateDistribution::Extreme, decays);
            let (sums, parts) = (extreme(Decays::Sums)?, extreme(Decays::Parts)?);
            let differences = extreme(Decays::Differences)?;
            let errors = format!("sums {sums:.1e}, parts {parts:.1e}, differences {differences:.1e}");
            say(&format!("{rule}, {gate} gate to -1e4 in f32: {errors}"));
            ensure!(sums < 5e-7 && parts < 1e-6 && differences > 5e-5, "{rule}, {gate} gate: {errors}");
        }
    }
    Ok(())
}
