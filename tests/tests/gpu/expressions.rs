//! Expressions on the device: NaN and the ends of functions, lengths of batch entries, what tables' values decide.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::expr::{Expr, Table};
use foveal_kernels::{
    Dtype, HostTensor, TensorData,
    testing::{Reference, Rows},
};
use foveal_tests::harness;
use pollster::block_on;

use crate::engine_or_skip;
use crate::visibility::{by_every_variant, inputs_with, values};

const LEN: usize = 40;

fn problem(score: &str) -> Result<Attention> {
    Ok(Attention::new(Shape::bhtd(1, 2, LEN, 16))
        .with_lse()
        .score(Expr::parse_score(score)?)
        .table(Table::new("bias", Dtype::F32, vec![LEN, LEN])))
}

/// Small numbers, and NaN for every seventh query at one key.
fn bias() -> Vec<f32> {
    let value = |q: usize, k: usize| {
        if q % 7 == 3 && k == q / 2 { f32::NAN } else { ((q * 7 + k * 13) % 11) as f32 * 0.2 - 1.0 }
    };
    (0..LEN * LEN).map(|at| value(at / LEN, at % LEN)).collect()
}

#[test]
fn nan_goes_through_every_function() -> Result<()> {
    let engine = engine_or_skip!();
    for score in [
        "max(min(s + bias[q, k], 5.0), -5.0)",
        "s + max(bias[q, k], s) + min(s, bias[q, k]) + clamp(0.0, bias[q, k], 2.0)",
        "alibi(softcap(s + bias[q, k], 4.0))",
        "exp(s * 0.1 + bias[q, k])",
        "log(abs(s + bias[q, k]) + 1.0)",
        "sqrt(abs(s + bias[q, k]) + 1.0)",
    ] {
        let spec = problem(score)?;
        let inputs = inputs_with(&spec, "bias", &bias())?;
        let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
        let odd = expected[1].values.iter().filter(|lse| lse.is_nan()).count();
        ensure!(odd == 12, "{score}: the reference has {odd} rows of NaN");
        by_every_variant(&engine, &spec, inputs, |outputs| {
            let o = values(outputs, "o")?;
            let wrong = o
                .chunks(16)
                .zip(&expected[1].values)
                .position(|(row, lse)| row.iter().any(|x| x.is_nan() != lse.is_nan()));
            ensure!(wrong.is_none(), "{score}: row {wrong:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn comparisons_with_nan_are_false_and_it_differs_from_everything() -> Result<()> {
    let engine = engine_or_skip!();
    for (mask, score) in [
        ("bias[q, k] != 0.25", "s"),
        ("!(bias[q, k] < 0.3) & !(bias[q, k] >= 0.3) | k == 0", "s"),
        ("bias[q, k] < 10.0", "s + floor(bias[q, k] * 3.0)"),
        ("k >= 0", "s + floor(bias[q, k] * 3.0)"),
        ("k >= 0", "s + floor(bias[q, k] * 1e20) / 16777216"),
    ] {
        let spec = problem(score)?.mask(Expr::parse_mask(mask)?);
        let inputs = inputs_with(&spec, "bias", &bias())?;
        by_every_variant(&engine, &spec, inputs, |outputs| {
            ensure!(values(outputs, "lse")?.iter().all(|lse| lse.is_finite()), "{mask}");
            Ok(())
        })
        .with_context(|| format!("{mask}, {score}"))?;
    }
    Ok(())
}

#[test]
fn functions_have_their_ends() -> Result<()> {
    let engine = engine_or_skip!();
    // log of 0 is -inf: what is below 0 is hidden, and rows of nothing else see nothing.
    let spec = problem("log(max(bias[q, k], 0.0))")?;
    let rows = |q: usize, k: usize| if q % 5 == 2 { -1.0 } else { ((q + k) % 4) as f32 - 1.0 };
    let values_of: Vec<f32> = (0..LEN * LEN).map(|at| rows(at / LEN, at % LEN)).collect();
    by_every_variant(&engine, &spec, inputs_with(&spec, "bias", &values_of)?, |outputs| {
        let lse = values(outputs, "lse")?;
        ensure!(lse.iter().enumerate().all(|(row, lse)| (*lse == f64::NEG_INFINITY) == (row % LEN % 5 == 2)));
        Ok(())
    })?;
    // Far out tanh is 1, and what is undefined is NaN. (Ordinary values, which variants prove themselves with, are not.)
    for (score, far) in [
        ("softcap(s + bias[q, k] * 1e30, 3.0)", 0.5),
        ("s + sqrt(bias[q, k] + 100.0)", -101.0),
        ("log(bias[q, k] + 100.0)", -101.0),
    ] {
        let spec = problem(score)?;
        let values_of: Vec<f32> = (0..LEN * LEN).map(|at| if at / LEN == 7 { far } else { 1.5 }).collect();
        by_every_variant(&engine, &spec, inputs_with(&spec, "bias", &values_of)?, |_| Ok(()))
            .with_context(|| score.to_owned())?;
    }
    Ok(())
}

/// 20 of 64 keys and two queries: where everything follows the entry's length, the queries stand at its end.
#[test]
fn lengths_are_those_of_the_entry_in_every_expression() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = || Attention::new(Shape::bhtd(2, 2, 2, 32).kv(2, 64)).kv_lengths("n").with_lse();
    let seen = |mask: &str| -> Result<Vec<f64>> {
        let spec = spec().mask(Expr::parse_mask(mask)?);
        let mut inputs = inputs_with(&spec, "n", &[20.0, 64.0])?;
        // Equal scores: lse counts the keys.
        for (_, tensor) in inputs.iter_mut().filter(|(name, _)| name == "q") {
            *tensor = HostTensor::new(tensor.shape().to_vec(), TensorData::F32(vec![0.0; tensor.len()]))?;
        }
        let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
        by_every_variant(&engine, &spec, inputs, |_| Ok(()))?;
        Ok(expected[1].values.iter().map(|lse| lse.exp().round()).collect())
    };
    // By batch entry, head and query.
    for (mask, [a, b, c, d]) in [
        ("causal", [19.0, 20.0, 63.0, 64.0]),
        ("causal & k >= 0", [19.0, 20.0, 63.0, 64.0]),
        ("k <= qp", [19.0, 20.0, 63.0, 64.0]),
        ("causal & window(7, 0)", [8.0, 8.0, 8.0, 8.0]),
        ("window(7, 0) | sinks(2)", [10.0, 10.0, 10.0, 10.0]),
        ("k >= nk - 3", [3.0, 3.0, 3.0, 3.0]),
        ("dilated(5)", [4.0, 4.0, 13.0, 13.0]),
    ] {
        let counts = seen(mask)?;
        ensure!(counts == [a, b, a, b, c, d, c, d], "{mask}: {counts:?}");
    }
    Ok(())
}

#[test]
fn runs_are_refused_for_what_tables_hold() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = Attention::new(Shape::bhtd(1, 2, 20, 16))
        .mask(Expr::parse_mask("t[q] + t[k] > 0 & u[t[k] % 4 + 1] > 0")?)
        .table(Table::new("t", Dtype::I32, vec![20]))
        .table(Table::new("u", Dtype::I32, vec![4]));
    let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
    for (value, complaint) in [
        (2, None),
        (3, Some("u: index 0 ")),
        (1 << 30, Some("t: element 11 is 1073741824, too large for what `mask` computes at column 6")),
    ] {
        let mut table = [1.0; 20];
        table[11] = value as f32;
        let inputs = inputs_with(&spec, "t", &table)?;
        let said =
            block_on(engine.run(&kernel, &harness::borrowed(&inputs))).err().map(|error| error.to_string());
        match complaint {
            None => ensure!(said.is_none(), "{said:?}"),
            Some(part) => ensure!(said.as_ref().is_some_and(|said| said.contains(part)), "{value}: {said:?}"),
        }
    }
    Ok(())
}
