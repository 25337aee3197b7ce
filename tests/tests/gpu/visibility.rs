//! Masks and scores at their edges: nothing visible, values that are not numbers, indices that tables hold.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal::Engine;
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::block_mask::{BlockGrid, BlockMask};
use foveal_kernels::expr::{Expr, Table};
use foveal_kernels::{
    Constraints, Described, Dtype, HostTensor, Name, Problem, TensorData, operator,
    testing::{Case, Reference, Rows},
};
use foveal_tests::harness::{self, Output, Prepared};
use pollster::block_on;

use crate::{engine_or_skip, folder};

/// Runs a problem on these inputs by every variant that plans it, and compares with the reference. Values that are not
/// finite have to be where the reference has them.
pub(crate) fn by_every_variant(
    engine: &Engine,
    spec: &Attention,
    inputs: Vec<(Name, HostTensor)>,
    test: impl Fn(&[Output]) -> Result<()>,
) -> Result<()> {
    let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
    let case = Case { name: spec.describe(), problem: Arc::new(spec.clone()), seed: 0 };
    let prepared = Prepared { case, inputs, expected };
    let mut variants = 0;
    for variant in operator(spec.operator())?.variants() {
        let Ok(plan) = engine.plan_with(spec, &Constraints::variant(variant.name)) else { continue };
        let named = || format!("{} by {}", spec.describe(), variant.name);
        let kernel = block_on(engine.prepare_exact(&plan)).with_context(named)?;
        let outputs = harness::run(engine, &kernel, &harness::storage(&plan.tensors, &prepared.inputs)?)?;
        prepared.judge(&plan, &outputs, folder()).with_context(named)?;
        test(&outputs).with_context(named)?;
        variants += 1;
    }
    // Fixed splits of few rows are one variant's.
    let least = if spec.splits.is_some() { 1 } else { 2 };
    ensure!(variants >= least, "{}: {variants} variants plan it", spec.describe());
    Ok(())
}

pub(crate) fn values(outputs: &[Output], name: &str) -> Result<Vec<f64>> {
    let output = outputs.iter().find(|output| output.tensor_spec.name == name).context("no such output")?;
    Ok(harness::dense(output)?.to_f64())
}

/// The inputs of a problem, one of them replaced.
pub(crate) fn inputs_with(spec: &Attention, name: &str, values: &[f32]) -> Result<Vec<(Name, HostTensor)>> {
    let mut inputs = spec.random_inputs(3);
    let (_, tensor) = inputs.iter_mut().find(|(given, _)| given == name).context("no such input")?;
    let dtype = tensor.dtype().context("an input without type")?;
    *tensor = HostTensor::from_f32(tensor.shape().to_vec(), values, dtype)?;
    Ok(inputs)
}

#[test]
fn a_mask_that_hides_everything_gives_zeros_and_minus_infinity() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = |len: usize| Attention::new(Shape::bhtd(1, 2, len, 64)).with_lse();
    let doc = |len: usize| Table::new("doc", Dtype::I32, vec![len]);
    let nothing = |outputs: &[Output]| -> Result<()> {
        ensure!(values(outputs, "o")?.iter().all(|&x| x == 0.0), "o is not zero");
        ensure!(values(outputs, "lse")?.iter().all(|&x| x == f64::NEG_INFINITY), "lse is not -inf");
        Ok(())
    };
    // Known from the expression, in every tile and every list.
    let hidden = spec(130).mask(Expr::parse_mask("k > nk")?);
    by_every_variant(&engine, &hidden, hidden.random_inputs(1), nothing)?;
    // Known from a table only: every element is tested, or the device makes lists that are empty.
    for len in [100, 600] {
        let hidden = spec(len).mask(Expr::parse_mask("causal & doc[k] < q")?).table(doc(len));
        let far = vec![1e6; len];
        by_every_variant(&engine, &hidden, inputs_with(&hidden, "doc", &far)?, nothing)?;
    }
    let none = BlockMask::from_dense_blocks(BlockGrid::new(130, 130, 64, 64), &[0; 9])?;
    let hidden = spec(130).block_mask(none);
    by_every_variant(&engine, &hidden, hidden.random_inputs(1), nothing)?;
    // Known from the scores only.
    let bias = Table::new("bias", Dtype::F32, vec![70]);
    let hidden = spec(70).score(Expr::parse_score("s + bias[k]")?).table(bias);
    let inputs = inputs_with(&hidden, "bias", &[f32::NEG_INFINITY; 70])?;
    by_every_variant(&engine, &hidden, inputs, nothing)
}

/// A bias of 70 queries and 90 keys: ordinary values, and `odd` where `at` says.
fn bias(odd: f32, at: impl Fn(usize, usize) -> bool) -> Vec<f32> {
    let value = |q: usize, k: usize| if at(q, k) { odd } else { ((q * 7 + k * 13) % 11) as f32 * 0.2 - 1.0 };
    (0..70).flat_map(|q| (0..90).map(move |k| (q, k))).map(|(q, k)| value(q, k)).collect()
}

fn biased(mask: Option<&str>) -> Result<Attention> {
    let spec = Attention::new(Shape::bhtd(1, 2, 70, 64).kv(2, 90))
        .with_lse()
        .score(Expr::parse_score("s + bias[q, k]")?)
        .table(Table::new("bias", Dtype::F32, vec![70, 90]));
    Ok(match mask {
        Some(mask) => spec.mask(Expr::parse_mask(mask)?),
        None => spec,
    })
}

#[test]
fn nan_in_a_bias_reaches_the_rows_that_see_it_and_no_others() -> Result<()> {
    let engine = engine_or_skip!();
    for mask in [None, Some("causal"), Some("causal & window(30, 0)")] {
        let spec = biased(mask)?;
        // Rows 5, 20, 35, ...: keys near the diagonal, and one far from it that the masks hide.
        let values = bias(f32::NAN, |q, k| q % 15 == 5 && (k == q + 3 || q == 35 && k == 89));
        let inputs = inputs_with(&spec, "bias", &values)?;
        let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
        let odd = expected[1].values.iter().filter(|lse| lse.is_nan()).count();
        ensure!(odd == 10, "the reference has {odd} rows of NaN");
        by_every_variant(&engine, &spec, inputs, |_| Ok(()))?;
    }
    // Hidden, it reaches none.
    let spec = biased(Some("causal & k != 50"))?;
    let inputs = inputs_with(&spec, "bias", &bias(f32::NAN, |q, k| k == 50 || k > q + 20))?;
    by_every_variant(&engine, &spec, inputs, |outputs| {
        ensure!(values(outputs, "lse")?.iter().all(|lse| lse.is_finite()));
        Ok(())
    })
}

#[test]
fn minus_infinity_in_a_bias_hides_as_a_mask_does() -> Result<()> {
    let engine = engine_or_skip!();
    // Rows 40 on see nothing.
    let hides = |q: usize, k: usize| q >= 40 || (q + 2 * k).is_multiple_of(5);
    let spec = biased(None)?;
    let inputs = inputs_with(&spec, "bias", &bias(f32::NEG_INFINITY, hides))?;
    let masked = biased(Some("q < 40 & (q + 2 * k) % 5 != 0"))?;
    let plain = inputs_with(&masked, "bias", &bias(0.0, |_, _| false))?;
    let of_mask = masked.reference(&harness::borrowed(&plain), Rows::All)?;
    ensure!(of_mask == spec.reference(&harness::borrowed(&inputs), Rows::All)?, "the references differ");
    by_every_variant(&engine, &spec, inputs, |outputs| {
        let lse = values(outputs, "lse")?;
        ensure!(lse.iter().enumerate().all(|(row, lse)| (*lse == f64::NEG_INFINITY) == (row % 70 >= 40)));
        Ok(())
    })?;
    by_every_variant(&engine, &masked, plain, |_| Ok(()))
}

#[test]
fn an_index_that_leaves_its_table_is_an_error_that_names_the_tensor() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = Attention::new(Shape::bhtd(1, 2, 20, 16))
        .score(Expr::parse_score("s + rel[bucket[q, k], h]")?)
        .table(Table::new("rel", Dtype::F32, vec![32, 2]))
        .table(Table::new("bucket", Dtype::I32, vec![20, 20]));
    let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
    for (odd, passes) in [(31, true), (32, false), (-1, false), (i32::MIN, false)] {
        let mut inputs = spec.random_inputs(5);
        let (_, bucket) = inputs.iter_mut().find(|(name, _)| name == "bucket").context("no bucket")?;
        let mut values = vec![0; 400];
        values[123] = odd;
        *bucket = HostTensor::new(vec![20, 20], TensorData::I32(values))?;
        match block_on(engine.run(&kernel, &harness::borrowed(&inputs))) {
            Ok(_) => ensure!(passes, "{odd} was taken"),
            Err(error) => {
                let text = error.to_string();
                let says = ["bucket", "123", "`rel`", "32"].iter().all(|word| text.contains(word));
                ensure!(!passes && says && text.contains(&odd.to_string()), "{text}");
            }
        }
    }
    Ok(())
}
