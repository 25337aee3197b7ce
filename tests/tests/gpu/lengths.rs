//! Lengths and lists that lie on the device: with any content nothing is read out of bounds, and elements beyond a
//! length do not matter.

use anyhow::{Context, Result, ensure};
use foveal::Constraints;
use foveal_kernels::attention::{Attention, DeviceBlockMask, Shape};
use foveal_kernels::{
    Dtype, HostTensor, Name, Problem, operator,
    testing::{Reference, Rows, compare},
};
use foveal_tests::harness;
use pollster::block_on;

use crate::engine_or_skip;

fn set(inputs: &mut [(Name, HostTensor)], name: &str, values: &[f32]) -> Result<()> {
    let (_, tensor) = inputs.iter_mut().find(|(given, _)| given == name).context("no such input")?;
    *tensor = HostTensor::from_f32(tensor.shape().to_vec(), values, Dtype::I32)?;
    Ok(())
}

#[test]
fn what_lies_beyond_a_length_does_not_matter() -> Result<()> {
    let engine = engine_or_skip!();
    let (batch, queries, keys, dim) = (4, 90, 200, 32);
    let lists = DeviceBlockMask::new(64, 64, 4);
    let spec = || {
        Attention::new(Shape::bhtd(batch, 2, queries, dim).kv(2, keys))
            .q_lengths("queries")
            .kv_lengths("keys")
            .with_lse()
    };
    let all = ([90, 1, 33, 0], [0, 200, 65, 17]);
    let fewer = ([40, 1, 33, 0], [64, 200, 65, 17]);
    for (name, spec, lengths) in [
        ("dense", spec(), all),
        ("causal", spec().causal(), all),
        ("fewer", spec(), fewer),
        ("listed", spec().block_mask(lists), fewer),
    ] {
        let mut inputs = spec.random_inputs(3);
        set(&mut inputs, "queries", &lengths.0.map(|n| n as f32))?;
        set(&mut inputs, "keys", &lengths.1.map(|n| n as f32))?;
        let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
        let mut storage = harness::storage(&spec.tensors(), &inputs)?;
        for (tensor, bytes) in &mut storage {
            let (len, lengths) = match *tensor {
                "q" => (queries, lengths.0),
                "k" | "v" => (keys, lengths.1),
                _ => continue,
            };
            for (head, rows) in bytes.chunks_mut(4 * len * dim).enumerate() {
                rows[4 * dim * lengths[head / 2]..].fill(0xff);
            }
        }
        for variant in operator("attention")?.variants() {
            let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant.name)) else { continue };
            // Workgroups are counted on the device, where they do not follow lists.
            let counted = plan.passes.iter().any(|pass| pass.indirect.is_some());
            ensure!(counted == (name != "listed"), "{name} {}", variant.name);
            let kernel = block_on(engine.prepare_exact(&plan))?;
            for output in harness::run(&engine, &kernel, &storage)? {
                let expected = expected.iter().find(|expected| expected.name == output.tensor_spec.name);
                let expected = expected.context("no such output")?;
                let actual = harness::dense(&output)?;
                let comparison = compare(expected, &actual, spec.tolerance(&expected.name))?;
                ensure!(
                    comparison.passed,
                    "{name} {} {}: {comparison:?}",
                    variant.name,
                    output.tensor_spec.name
                );
            }
        }
    }
    Ok(())
}

#[test]
fn nothing_that_they_hold_reaches_out_of_bounds() -> Result<()> {
    let engine = engine_or_skip!();
    let lists = DeviceBlockMask::new(64, 64, 5);
    let spec = Attention::new(Shape::bhtd(1, 2, 200, 32).kv(2, 300))
        .q_lengths("queries")
        .kv_lengths("keys")
        .block_mask(lists);
    let mut inputs = spec.random_inputs(3);
    for (queries, keys, counts, indices) in [
        (-5.0, 1e9, 1e9, -1.0),
        (1e9, -1.0, -7.0, 3.0),
        (1e9, 1e9, 5.0, 2e9),
        (200.0, 300.0, 5.0, 67_108_864.0),
        (7.0, 3e2, 5.0, 4.0),
    ] {
        set(&mut inputs, "queries", &[queries])?;
        set(&mut inputs, "keys", &[keys])?;
        set(&mut inputs, "counts", &[counts; 4])?;
        set(&mut inputs, "indices", &[indices; 20])?;
        let storage = harness::storage(&spec.tensors(), &inputs)?;
        for variant in operator("attention")?.variants() {
            let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant.name)) else { continue };
            let kernel = block_on(engine.prepare_exact(&plan))?;
            // The poison around the inputs would show, and guard words are looked at.
            for output in harness::run(&engine, &kernel, &storage)? {
                let values = harness::dense(&output)?.to_f64();
                ensure!(values.iter().all(|x| x.is_finite()), "{} {indices} {counts}", variant.name);
            }
        }
    }
    Ok(())
}

#[test]
fn hosts_are_told_what_is_wrong_with_them() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = Attention::new(Shape::bhtd(2, 2, 100, 32))
        .kv_lengths("keys")
        .block_mask(DeviceBlockMask::new(64, 64, 2));
    let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
    let complaint = |name: &str, values: &[f32]| -> Result<String> {
        let mut inputs = spec.random_inputs(3);
        set(&mut inputs, name, values)?;
        let run = block_on(engine.run(&kernel, &harness::borrowed(&inputs)));
        Ok(run.err().context("it was taken")?.to_string())
    };
    ensure!(complaint("keys", &[3.0, 101.0])?.contains("keys: element 1 is 101, expected 0 to 100"));
    ensure!(complaint("counts", &[3.0, 1.0])?.contains("counts: element 0 is 3, expected 0 to 2"));
    let mut inputs = spec.random_inputs(3);
    set(&mut inputs, "counts", &[2.0, 2.0])?;
    set(&mut inputs, "indices", &[0.0, 1.0, 1.0, 1.0])?;
    let twice = block_on(engine.run(&kernel, &harness::borrowed(&inputs)));
    ensure!(
        twice
            .err()
            .context("it was taken")?
            .to_string()
            .contains("indices: element 3 is 1, expected 0 to 1, each once")
    );
    for (block, message) in [(48, "multiple of 64, got 48"), (0, "multiple of 64, got 0")] {
        let spec = Attention::new(Shape::bhtd(1, 1, 100, 32)).block_mask(DeviceBlockMask::new(block, 64, 2));
        let error = engine.plan(&spec).err().context("it was planned")?;
        ensure!(error.to_string().contains(message), "{error}");
    }
    Ok(())
}
