//! Appending on the device: what lengths and tables it meets there, far positions, and attention right after it.

use anyhow::{Context, Result, ensure};
use foveal::wgpu;
use foveal_kernels::attention::{Attention, Integers, Pages, Quantised, Shape};
use foveal_kernels::specs::{Append, CacheDtype, Pairing};
use foveal_kernels::{
    Dtype, HostTensor, Name, Problem, TensorData,
    testing::{Expected, Reference, Rows, compare},
};
use foveal_tests::harness::{self, Output};
use pollster::block_on;

use crate::engine_or_skip;

type Inputs = Vec<(Name, HostTensor)>;

fn set(inputs: &mut Inputs, name: &str, data: TensorData) -> Result<()> {
    let (_, tensor) = inputs.iter_mut().find(|(given, _)| given == name).context("no such input")?;
    *tensor = HostTensor::new(tensor.shape().to_vec(), data)?;
    Ok(())
}

fn tensor<'t>(inputs: &'t Inputs, name: &str) -> Result<&'t HostTensor> {
    Ok(&inputs.iter().find(|(given, _)| given == name).context("no such input")?.1)
}

fn run(engine: &foveal::Engine, spec: &Append, inputs: &Inputs) -> Result<Vec<Output>> {
    let kernel = block_on(engine.prepare(&engine.plan(spec)?))?;
    harness::run(engine, &kernel, &harness::storage(&spec.tensors(), inputs)?)
}

/// Rows of `k_cache`, of so many entries or pages, heads and slots, that differ from what they were.
fn changed(
    [batch, heads, slots]: [usize; 3],
    inputs: &Inputs,
    outputs: &[Output],
) -> Result<Vec<[usize; 3]>> {
    let output = outputs.iter().find(|output| output.tensor_spec.name == "k_cache").context("no cache")?;
    let before = tensor(inputs, "k_cache")?.to_bytes(output.tensor_spec.dtype);
    let row = output.bytes.len() / (batch * heads * slots);
    let rows = before.chunks(row).zip(output.bytes.chunks(row)).enumerate();
    let changed = rows
        .filter(|(_, (before, after))| before != after)
        .map(|(at, _)| [at / slots / heads, at / slots % heads, at % slots]);
    Ok(changed.collect())
}

/// Lengths that the host would refuse: what has a place is written, and nothing else.
#[test]
fn rows_without_a_place_are_not_written() -> Result<()> {
    let engine = engine_or_skip!();
    let plain = || Append::new([5, 2, 4], 16, [8, 8]).kv_lengths("n");
    let ends = ints(&[18, -3, i32::MAX, i32::MIN, 2]);
    for (name, spec) in [
        ("f32", plain()),
        ("f16", plain().dtype(Dtype::F16)),
        ("i8", plain().kv_dtype(CacheDtype::I8).scales("ks", "vs", 4)),
    ] {
        let mut inputs = spec.random_inputs(5);
        set(&mut inputs, "n", ends.clone())?;
        // Old rows of a block are rounded anew, unless it has none: slots 14 and 15 share theirs with 12 and 13.
        let found = changed([5, 2, 16], &inputs, &run(&engine, &spec, &inputs)?)?;
        let old = if name == "i8" { 12 } else { 14 };
        let allowed = |[entry, _, slot]: [usize; 3]| (entry == 0 && slot >= old) || (entry == 4 && slot < 2);
        ensure!(found.iter().all(|&row| allowed(row)), "{name}: {found:?}");
        for must in [[0, 0, 14], [0, 1, 15], [4, 0, 0], [4, 1, 1]] {
            ensure!(found.contains(&must), "{name}: {must:?} was not written");
        }
    }
    Ok(())
}

fn ints(values: &[i32]) -> TensorData {
    TensorData::I32(values.to_vec())
}

#[test]
fn pages_that_are_none_are_not_written() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = Append::new([3, 2, 6], 32, [8, 8]).kv_lengths("n").block_table("table", 16, 4);
    let mut inputs = spec.random_inputs(6);
    set(&mut inputs, "n", ints(&[18, 18, 50]))?;
    set(&mut inputs, "table", ints(&[2, -1, 4, i32::MAX, 0, 1]))?;
    let outputs = run(&engine, &spec, &inputs)?;
    // Of six new rows at 12 to 17 of entry 0 those at 12 to 15 lie on page 2; entry 1 has no page, entry 2 no room.
    let found = changed([4, 2, 16], &inputs, &outputs)?;
    let mut right: Vec<[usize; 3]> = Vec::new();
    for head in 0..2 {
        right.extend((12..16).map(|slot| [2, head, slot]));
    }
    ensure!(found == right, "{found:?}");
    Ok(())
}

/// At any position an element is within 2^-21 of the length of its pair.
#[test]
fn rotations_are_exact_at_far_positions() -> Result<()> {
    let engine = engine_or_skip!();
    for (pairing, dim) in [(Pairing::Halves, 64), (Pairing::Pairs, 64), (Pairing::Halves, 30)] {
        let spec = Append::new([1, 1, 64], 64, [dim, 1]).rope(pairing, 10_000.0).positions("pos");
        let mut inputs = spec.random_inputs(7);
        let positions: Vec<i32> = (0..64)
            .map(|at| match at {
                0..32 => (1 << 20) - at,
                32..48 => 16_384 * (at - 40) + 1,
                48 => i32::MAX,
                _ => 1 << (at % 21),
            })
            .collect();
        set(&mut inputs, "pos", TensorData::I32(positions))?;
        let k = tensor(&inputs, "k")?.to_f64();
        let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
        let outputs = run(&engine, &spec, &inputs)?;
        let output =
            outputs.iter().find(|output| output.tensor_spec.name == "k_cache").context("no cache")?;
        let got = harness::dense(output)?.to_f64();
        for (at, (got, want)) in got.iter().zip(&expected[0].values).enumerate() {
            let (row, column) = (at / dim, at % dim);
            let partner = match pairing {
                Pairing::Pairs => column ^ 1,
                _ => (column + dim / 2) % dim,
            };
            let length = k[at].hypot(k[row * dim + partner]);
            ensure!(
                (got - want).abs() <= length * 2f64.powi(-21),
                "{pairing} {row} {column}: {got}, not {want}"
            );
        }
    }
    Ok(())
}

/// One tensor of lengths, one table and one encoder: rows are written before attention reads them.
#[test]
fn attention_reads_what_was_appended_in_the_same_encoder() -> Result<()> {
    let engine = engine_or_skip!();
    let (keys, dim) = (48, 16);
    let spec = || {
        Append::new([2, 2, 3], keys, [dim, dim])
            .kv_lengths("n")
            .rope(Pairing::Halves, 10_000.0)
            .with_rotated_q(4)
    };
    let attention = || Attention::new(Shape::bhtd(2, 4, 3, dim).kv(2, keys)).causal().kv_lengths("n");
    step(&engine, &spec(), &attention())?;
    let spec = spec().block_table("table", 16, 7).kv_dtype(CacheDtype::I8).scales("ks", "vs", 32);
    let attention = attention()
        .pages(Pages::new("table", 16, 7))
        .quantised(Quantised::new("ks", "vs").block(32).integers(Integers::I8));
    step(&engine, &spec, &attention)
}

/// Appends, and attends with the rotated queries.
fn step(engine: &foveal::Engine, spec: &Append, attention: &Attention) -> Result<()> {
    let mut inputs = spec.random_inputs(8);
    set(&mut inputs, "n", ints(&[3, 33]))?;
    if let Ok(table) = tensor(&inputs, "table").cloned() {
        set(&mut inputs, "table", ints(&[4, -1, -1, 6, 0, 5]))?;
        ensure!(table.len() == 6);
    }
    // Attention sees old rows that random inputs spoil.
    for name in ["k_cache", "v_cache", "ks", "vs"] {
        let Ok(TensorData::F32(values)) = tensor(&inputs, name).map(|tensor| tensor.data().clone()) else {
            continue;
        };
        let values = values.into_iter().map(|x| if x.is_finite() { x } else { 0.5 }).collect();
        set(&mut inputs, name, TensorData::F32(values))?;
    }
    let after = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
    // An integer that may be rounded to either side would tell nothing of the order.
    let certain = |output: &Expected| output.allowance.iter().flatten().all(|&allowed| allowed == 0.0);
    ensure!(after.iter().all(certain), "take another seed");
    let mut given: Inputs = Vec::new();
    for tensor_spec in attention.tensors().into_iter().filter(|tensor_spec| tensor_spec.access.reads()) {
        let appended = match &*tensor_spec.name {
            "q" => "q_rotated",
            "k" => "k_cache",
            "v" => "v_cache",
            other => other,
        };
        let tensor = match after.iter().find(|output| output.name == appended) {
            Some(output) => {
                let bytes = output.to_tensor()?.to_bytes(tensor_spec.dtype);
                HostTensor::from_bytes(output.shape.clone(), &bytes, tensor_spec.dtype)?
            }
            None => tensor(&inputs, appended)?.clone(),
        };
        given.push((tensor_spec.name, tensor));
    }
    let expected = attention.reference(&harness::borrowed(&given), Rows::All)?;

    let append = block_on(engine.prepare(&engine.plan(spec)?))?;
    let attend = block_on(engine.prepare(&engine.plan(attention)?))?;
    let mut buffers: Vec<(Name, wgpu::Buffer)> = Vec::new();
    for tensor_spec in spec.tensors() {
        let buffer = match tensor(&inputs, &tensor_spec.name) {
            Ok(tensor) => block_on(engine.upload(&tensor_spec.name, tensor, tensor_spec.dtype))?,
            Err(_) => block_on(engine.buffer(&tensor_spec.name, tensor_spec.size_bytes()))?,
        };
        buffers.push((tensor_spec.name, buffer));
    }
    let o = attention.tensors().into_iter().find(|tensor| tensor.name == "o").context("no o")?;
    buffers.push(("o".into(), block_on(engine.buffer("o", o.size_bytes()))?));
    let buffer = |name: &str| -> Result<&wgpu::Buffer> {
        let found = buffers.iter().find(|(given, _)| given == name);
        Ok(&found.with_context(|| format!("no buffer `{name}`"))?.1)
    };
    let bound = |kernel: &foveal::Kernel, renamed: &dyn Fn(&str) -> String| -> Result<foveal::BoundKernel> {
        let tensors = kernel.plan().tensors.iter();
        let tensors = tensors.map(|tensor| Ok((&*tensor.name, buffer(&renamed(&tensor.name))?)));
        Ok(kernel.bind(&tensors.collect::<Result<Vec<(&str, &wgpu::Buffer)>>>()?)?)
    };
    let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    bound(&append, &str::to_owned)?.encode(&mut encoder);
    let renamed = |name: &str| match name {
        "q" => "q_rotated".to_owned(),
        "k" | "v" => format!("{name}_cache"),
        other => other.to_owned(),
    };
    bound(&attend, &renamed)?.encode(&mut encoder);
    engine.queue().submit([encoder.finish()]);
    let got = block_on(engine.read_back(buffer("o")?, &o.shape, Dtype::F32))?;
    let comparison = compare(&expected[0], &got, attention.tolerance("o"))?;
    ensure!(comparison.passed, "{}", harness::describe(&comparison));
    Ok(())
}

/// A cache on the device is changed where it lies, and comes back as the same tensor.
#[test]
fn a_cache_on_the_device_stays_there() -> Result<()> {
    use foveal::Input;
    let engine = engine_or_skip!();
    let spec = Append::new([1, 1, 1], 8, [4, 4]).kv_lengths("n");
    let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
    let floats =
        |len: usize, value| HostTensor::new(vec![1, 1, len, 4], TensorData::F32(vec![value; 4 * len]));
    let cache = block_on(engine.upload_tensor(&floats(8, 0.0)?, Dtype::F32))?;
    let values = floats(8, 0.0)?;
    for step in 1..=3u8 {
        let row = floats(1, f32::from(step))?;
        let n = HostTensor::new(vec![1], ints(&[step.into()]))?;
        let given = [
            ("k", Input::Host(&row)),
            ("v", Input::Host(&row)),
            ("n", Input::Host(&n)),
            ("k_cache", Input::Device(&cache)),
            ("v_cache", Input::Host(&values)),
        ];
        let outputs = block_on(engine.compute(&kernel, &given))?;
        ensure!(outputs.len() == 2 && outputs[0].0 == "k_cache", "{outputs:?}");
        let v = block_on(engine.download_tensor(&outputs[1].1))?.to_f64();
        let at = 4 * usize::from(step - 1);
        ensure!(
            v[at..at + 4] == [f64::from(step); 4] && v.iter().filter(|&&x| x != 0.0).count() == 4,
            "{v:?}"
        );
    }
    let held = block_on(engine.download_tensor(&cache))?.to_f64();
    let right: Vec<f64> = [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0].iter().flat_map(|&x| [x; 4]).collect();
    ensure!(held == right, "{held:?}");
    Ok(())
}
