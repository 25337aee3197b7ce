//! The same inputs give the same bits: run to run, wherever in the batch, through an encoder or through `run`.

use anyhow::{Result, ensure};
use foveal::Engine;
use foveal_kernels::attention::{Attention, QkNorm, Shape};
use foveal_kernels::expr::{Expr, Table};
use foveal_kernels::{
    Constraints, Described, Dtype, HostTensor, Name, Problem, operator, testing::Reference,
};
use foveal_tests::harness::{self, Output};
use pollster::block_on;

use crate::engine_or_skip;

fn specs() -> Result<Vec<Attention>> {
    let causal = Attention::new(Shape::bhtd(3, 4, 65, 64).kv(2, 65)).causal().with_lse();
    let odd = Attention::new(Shape::bhtd(3, 2, 37, 30).kv(2, 50)).with_lse().dtype(Dtype::F16);
    let decode = Attention::new(Shape::bhtd(3, 8, 1, 64).kv(2, 200)).with_lse();
    // The device makes lists.
    let documents = Attention::new(Shape::bhtd(3, 2, 513, 16).kv(2, 520))
        .with_lse()
        .mask(Expr::parse_mask("same(seg_q, seg_k) | k < 2")?)
        .table(Table::new("seg_q", Dtype::I32, vec![513]))
        .table(Table::new("seg_k", Dtype::I32, vec![520]));
    let mut scored = Attention::new(Shape::bhtd(3, 2, 70, 32).kv(2, 90))
        .with_lse()
        .mask(Expr::parse_mask("causal & window(40, 0)")?)
        .score(Expr::parse_score("s + bias[h, q, k]")?)
        .table(Table::new("bias", Dtype::F32, vec![2, 70, 90]));
    scored.qk_norm = Some(QkNorm::L2);
    scored.sink_logits = Some("sinks".into());
    Ok(vec![causal, odd, decode, documents, scored])
}

/// The inputs of one batch entry, over and over.
fn repeated(spec: &Attention, seed: u64) -> Result<Vec<(Name, HostTensor)>> {
    let mut one = spec.clone();
    one.batch = 1;
    one.random_inputs(seed)
        .into_iter()
        .map(|(name, tensor)| {
            let dtype = tensor.dtype().unwrap_or_default();
            let mut shape = tensor.shape().to_vec();
            // Tensors without a batch dimension are shared by all entries.
            if !["q", "k", "v"].contains(&&*name) {
                return Ok((name, tensor));
            }
            shape[0] = spec.batch;
            let bytes = tensor.to_bytes(dtype)[..tensor.len() * dtype.size_bytes()].repeat(spec.batch);
            Ok((name, HostTensor::from_bytes(shape, &bytes, dtype)?))
        })
        .collect()
}

fn by_every_variant(
    engine: &Engine,
    spec: &Attention,
    test: impl Fn(&foveal::Kernel, &str) -> Result<()>,
) -> Result<()> {
    for variant in operator(spec.operator())?.variants() {
        let Ok(plan) = engine.plan_with(spec, &Constraints::variant(variant.name)) else { continue };
        test(&block_on(engine.prepare_exact(&plan))?, variant.name)?;
    }
    Ok(())
}

#[test]
fn two_runs_are_bitwise_equal() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in specs()? {
        let inputs = spec.random_inputs(7);
        by_every_variant(&engine, &spec, |kernel, variant| {
            let storage = harness::storage(&kernel.plan().tensors, &inputs)?;
            let first = harness::run(&engine, kernel, &storage)?;
            ensure!(first == harness::run(&engine, kernel, &storage)?, "{variant}: {}", spec.describe());
            let whole = block_on(engine.run(kernel, &harness::borrowed(&inputs)))?;
            for ((_, tensor), output) in whole.iter().zip(&first) {
                ensure!(*tensor == harness::dense(output)?, "{variant}: `run` and `encode` differ");
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn results_do_not_depend_on_the_place_in_the_batch() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in specs()? {
        let inputs = repeated(&spec, 11)?;
        by_every_variant(&engine, &spec, |kernel, variant| {
            let outputs = harness::run(&engine, kernel, &harness::storage(&kernel.plan().tensors, &inputs)?)?;
            for Output { tensor_spec, bytes } in &outputs {
                let used = &bytes[..tensor_spec.span * tensor_spec.dtype.size_bytes()];
                let mut entries = used.chunks(used.len() / spec.batch);
                let first = entries.next().unwrap_or_default();
                ensure!(
                    entries.all(|entry| entry == first),
                    "{variant}: `{}` of {}",
                    tensor_spec.name,
                    spec.describe()
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}
