//! Effect of a chunk, or any run of rows, on states: an affine map that does not depend on the state.

use anyhow::{Context, Result, ensure};
use foveal_kernels::{
    linear_attention::{Gate, LinearAttention, Rule},
    testing::GateDistribution,
};
use foveal_tests::linear::{Given, Tensor};

use super::algorithm::{Affine, Decays, Rows};
use super::real::{Matrix, Real};
use super::{GATES, by_chunks, describe, first_state, rows, spec};

fn off<R: Real>(a: &Matrix<R>, b: &Matrix<R>) -> f64 {
    let tensor = |of: &Matrix<R>| Tensor { sizes: [1, 1, of.height, of.width], values: of.wide() };
    tensor(a).off(&tensor(b))
}

fn specs(len: usize) -> Vec<LinearAttention> {
    let gates = GATES.into_iter().flat_map(|gate| {
        [(gate, GateDistribution::Mild), (gate, GateDistribution::Strong), (gate, GateDistribution::Extreme)]
    });
    let mut specs = Vec::new();
    for (gate, fill) in gates {
        let of = |rule| spec(len, rule, gate, fill);
        let mut erase = of(Rule::Delta);
        erase.erase_key = Some("p".into());
        let mut steps = of(Rule::Delta);
        steps.steps = 3;
        specs.extend([of(Rule::Add), of(Rule::Delta), erase, steps, of(Rule::Dplr)]);
    }
    specs
}

/// The map of all rows, by chunks whose maps are applied one after another.
fn map_of<R: Real>(rows: &Rows<R>, chunk: usize) -> Option<Affine<R>> {
    let starts = (0..rows.len()).step_by(chunk);
    let maps = starts.map(|first| rows.part(first..(first + chunk).min(rows.len())).affine());
    maps.reduce(|first, next| next.after(&first))
}

/// U = U0 - W S, where neither W nor U0 knows the state: what is written is the same.
#[test]
fn what_a_chunk_writes_parts_into_what_its_rows_and_what_its_state_make_it() -> Result<()> {
    for spec in specs(40).into_iter().filter(|spec| spec.rule == Rule::Delta) {
        let given = Given::random(spec.clone(), 23)?;
        let rows = rows::<f64>(&given, 0, 1, Decays::Sums);
        let state = first_state(&given, 0, 1);
        let parted = rows.parted().context("the rule delta")?;
        let u = parted.u0.minus(&parted.w.times(&state));
        let decayed = |d: usize| rows.gates.decay(0, rows.len(), d);
        let k = rows.k.map(|r, d, x| x * rows.gates.decay(r + 1, rows.len(), d));
        let next = state.map(|d, _, x| x * decayed(d)).plus(&k.transposed_times(&u));
        let off = off(&next, &rows.chunk(&state).1);
        ensure!(off < 1e-12, "{}: {off:e}", describe(&spec));
    }
    Ok(())
}

#[test]
fn maps_of_chunks_compose_to_the_whole() -> Result<()> {
    for spec in specs(100) {
        let given = Given::random(spec.clone(), 29)?;
        let reference = given.reference()?;
        let [_, _, tall, wide] = reference["state_out"].sizes;
        for head in 0..spec.value_heads {
            let rows = rows::<f64>(&given, 0, head, Decays::Sums);
            let state = first_state(&given, 0, head);
            let expected = Matrix::of(tall, wide, |d, c| reference["state_out"].at([0, head, d, c]));
            for chunk in [1, 16, 33, 64] {
                let map = map_of(&rows, chunk).context("there are rows")?;
                let off = off(&map.p.times(&state).plus(&map.h), &expected);
                ensure!(off < 1e-11, "{} by {chunk}: {off:e}", describe(&spec));
            }
        }
    }
    Ok(())
}

/// Which of two pairs of neighbours is composed first does not matter: what a scan over chunks relies on.
#[test]
fn composing_maps_is_associative() -> Result<()> {
    for spec in specs(48) {
        let given = Given::random(spec.clone(), 31)?;
        let rows = rows::<f64>(&given, 0, 0, Decays::Sums);
        let third = rows.len() / 3;
        let part = |at: usize| rows.part(at * third..(at + 1) * third).affine();
        let (first, second, last) = (part(0), part(1), part(2));
        let (left, right) = (last.after(&second).after(&first), last.after(&second.after(&first)));
        let off = off(&left.p, &right.p).max(off(&left.h, &right.h));
        ensure!(off < 1e-11, "{}: {off:e}", describe(&spec));
    }
    Ok(())
}

/// With Dk more columns of v, zeros, and a first state `[0 | I]`, the last state is `[H | P]`: any kernel computes the map of
/// a segment.
#[test]
fn a_run_with_more_columns_gives_the_map_of_a_segment() -> Result<()> {
    for spec in specs(70) {
        let given = Given::random(spec.clone(), 37)?;
        let (tall, wide) = (spec.head_dim, spec.value_dim);
        let v = given.tensor("v");
        let [batch, heads, count, _] = v.sizes;
        let at = |c: usize| c.checked_sub(wide);
        let columns = Tensor::of([batch, heads, count, wide + tall], |[b, h, r, c]| {
            if at(c).is_some() { 0.0 } else { v.at([b, h, r, c]) }
        });
        let identity =
            Tensor::of([batch, heads, tall, wide + tall], |[_, _, d, c]| f64::from(at(c) == Some(d)));
        let augmented =
            given.of(|spec| spec.value_dim = wide + tall).with("v", columns).with("state_in", identity);
        let by_reference = augmented.reference()?;
        let by_chunks = by_chunks::<f64>(&augmented, 16, Decays::Sums);
        for head in 0..spec.value_heads {
            let map = map_of(&rows::<f64>(&given, 0, head, Decays::Sums), 64).context("there are rows")?;
            let expected = Matrix::of(tall, wide + tall, |d, c| {
                at(c).map_or_else(|| map.h.at(d, c), |c| map.p.at(d, c))
            });
            for outputs in [&by_reference, &by_chunks] {
                let states = &outputs["state_out"];
                let off = off(&Matrix::of(tall, wide + tall, |d, c| states.at([0, head, d, c])), &expected);
                ensure!(off < 1e-11, "{}: {off:e}", describe(&spec));
            }
        }
    }
    Ok(())
}

/// Without the delta rules P is diagonal: states of segments are scanned element by element.
#[test]
fn maps_of_the_rule_add_are_diagonal() -> Result<()> {
    for gate in [Gate::None, Gate::Scalar, Gate::Vector] {
        let given = Given::random(spec(50, Rule::Add, gate, GateDistribution::Strong), 41)?;
        let p = rows::<f64>(&given, 0, 0, Decays::Sums).affine().p;
        let off = (0..p.height).flat_map(|r| (0..p.width).map(move |c| (r, c))).filter(|(r, c)| r != c);
        ensure!(off.into_iter().all(|(r, c)| p.at(r, c) == 0.0), "{gate} gate");
    }
    Ok(())
}
