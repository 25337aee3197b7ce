//! Packed sequences, pages and integers: what they are on the device for any contents.

use anyhow::{Context, Result, ensure};
use foveal::{Constraints, Engine};
use foveal_kernels::attention::{Attention, Pages, Quantised, Shape};
use foveal_kernels::{
    Dtype, HostTensor, Name, operator,
    testing::{Reference, Rows, compare},
};
use foveal_tests::harness::{self, Output};
use pollster::block_on;

use crate::engine_or_skip;

const PAGE: usize = 16;

fn set(inputs: &mut [(Name, HostTensor)], name: &str, values: &[f32]) -> Result<()> {
    let (_, tensor) = inputs.iter_mut().find(|(given, _)| given == name).context("no such input")?;
    *tensor = HostTensor::from_f32(tensor.shape().to_vec(), values, Dtype::I32)?;
    Ok(())
}

fn run(
    engine: &Engine,
    spec: &Attention,
    variant: &str,
    inputs: &[(Name, HostTensor)],
) -> Result<Option<Vec<Output>>> {
    let Ok(plan) = engine.plan_with(spec, &Constraints::variant(variant)) else { return Ok(None) };
    let kernel = block_on(engine.prepare_exact(&plan))?;
    harness::run(engine, &kernel, &harness::storage(&plan.tensors, inputs)?).map(Some)
}

/// Rows of k or v, `[B, G, T, D]`, as they lie in pages.
fn in_pages(rows: &[f32], [batch, heads, len, dim]: [usize; 4], table: &[usize], count: usize) -> Vec<f32> {
    let mut pool = vec![f32::NAN; count * heads * PAGE * dim];
    for at in 0..batch * heads * len {
        let (entry, head, key) = (at / len / heads, at / len % heads, at % len);
        let page = table[entry * (len / PAGE) + key / PAGE];
        let to = ((page * heads + head) * PAGE + key % PAGE) * dim;
        pool[to..to + dim].copy_from_slice(&rows[at * dim..(at + 1) * dim]);
    }
    pool
}

#[test]
fn keys_in_pages_give_the_bits_of_keys_in_a_row() -> Result<()> {
    let engine = engine_or_skip!();
    for q_len in [1, 40] {
        let (batch, heads, len, dim) = (2, 2, 96, 32);
        let plain = Attention::new(Shape::bhtd(batch, 4, q_len, dim).kv(heads, len))
            .kv_lengths("keys")
            .causal()
            .with_lse();
        let mut inputs = plain.random_inputs(4);
        set(&mut inputs, "keys", &[96.0, 41.0])?;
        // Backwards, and one page that nobody has, full of NaN as all that is beyond.
        let table: Vec<usize> = (0..batch * len / PAGE).rev().collect();
        let count = table.len() + 1;
        let paged = plain.clone().pages(Pages::new("pages", PAGE, count));
        let mut stored = inputs.clone();
        for (name, tensor) in &mut stored {
            if ["k", "v"].contains(&&**name) {
                #[expect(clippy::cast_possible_truncation, reason = "they are f32")]
                let rows: Vec<f32> = tensor.to_f64().into_iter().map(|x| x as f32).collect();
                let pool = in_pages(&rows, [batch, heads, len, dim], &table, count);
                *tensor = HostTensor::from_f32(vec![count, heads, PAGE, dim], &pool, Dtype::F32)?;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a few pages")]
        let numbers: Vec<f32> = table.iter().map(|&page| page as f32).collect();
        stored.push(("pages".into(), HostTensor::from_f32(vec![batch, len / PAGE], &numbers, Dtype::I32)?));
        let mut seen = 0;
        for variant in operator("attention")?.variants() {
            let Some(expected) = run(&engine, &plain, variant.name, &inputs)? else { continue };
            let got = run(&engine, &paged, variant.name, &stored)?.context("not served in pages")?;
            for (a, b) in expected.iter().zip(&got) {
                ensure!(
                    a.bytes == b.bytes,
                    "{} of {} with {q_len} queries",
                    a.tensor_spec.name,
                    variant.name
                );
            }
            seen += 1;
        }
        ensure!(seen >= 3, "only {seen} variants");
    }
    Ok(())
}

#[test]
fn no_contents_reach_out_of_bounds() -> Result<()> {
    let engine = engine_or_skip!();
    let packed = Attention::new(Shape::bhtd(3, 2, 40, 32).kv(2, 50))
        .cu_seqlens_q("q_borders")
        .cu_seqlens_k("k_borders")
        .causal();
    for borders in
        [[0.0, 60.0, 20.0, 40.0], [-9.0, -3.0, 2e9, 1e9], [7.0, 7.0, 7.0, 7.0], [2e9, 0.0, -2e9, 3.0]]
    {
        let mut inputs = packed.random_inputs(3);
        set(&mut inputs, "q_borders", &borders)?;
        set(&mut inputs, "k_borders", &borders)?;
        for variant in operator("attention")?.variants() {
            // Guard words are looked at. Rows that no sequence has remain as they were.
            run(&engine, &packed, variant.name, &inputs)?;
        }
    }
    let paged =
        Attention::new(Shape::bhtd(2, 2, 3, 32).kv(1, 64)).pages(Pages::new("pages", PAGE, 8)).with_lse();
    for page in [-1.0, -2e9, 8.0, 2e9] {
        let mut inputs = paged.random_inputs(3);
        // A page that does not exist shows nothing.
        set(&mut inputs, "pages", &[0.0, page, 2.0, page, page, page, page, page])?;
        let outputs: Vec<_> = ["tiled", "broadcast", "decode", "naive"].iter().collect();
        let mut missing = paged.random_inputs(3);
        set(&mut missing, "pages", &[0.0, -1.0, 2.0, -1.0, -1.0, -1.0, -1.0, -1.0])?;
        let expected = paged.reference(&harness::borrowed(&missing), Rows::All)?;
        for variant in outputs {
            for output in run(&engine, &paged, variant, &inputs)?.into_iter().flatten() {
                let expected = expected.iter().find(|expected| expected.name == output.tensor_spec.name);
                let expected = expected.context("no such output")?;
                let comparison =
                    compare(expected, &harness::dense(&output)?, paged.tolerance(&expected.name))?;
                ensure!(comparison.passed, "page {page}, {variant}: {comparison:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_scale_that_is_hidden_may_be_anything() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = Attention::new(Shape::bhtd(1, 2, 2, 32).kv(2, 128))
        .kv_lengths("keys")
        .quantised(Quantised::new("ks", "vs"));
    let mut inputs = spec.random_inputs(3);
    set(&mut inputs, "keys", &[50.0])?;
    let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
    for (_, scales) in inputs.iter_mut().filter(|(name, _)| ["ks", "vs"].contains(&&**name)) {
        #[expect(clippy::cast_possible_truncation, reason = "they are f32")]
        let mut values: Vec<f32> = scales.to_f64().into_iter().map(|x| x as f32).collect();
        // Two a head: the second is that of keys beyond the length.
        values.chunks_mut(2).for_each(|of_head| of_head[1] = f32::NAN);
        *scales = HostTensor::from_f32(scales.shape().to_vec(), &values, Dtype::F32)?;
    }
    for variant in operator("attention")?.variants() {
        for output in run(&engine, &spec, variant.name, &inputs)?.into_iter().flatten() {
            let comparison = compare(&expected[0], &harness::dense(&output)?, spec.tolerance("o"))?;
            ensure!(comparison.passed, "{}: {comparison:?}", variant.name);
        }
    }
    Ok(())
}
