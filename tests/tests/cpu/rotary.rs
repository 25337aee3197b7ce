//! Rotary positions in attention, against rows that are turned by hand.
#![expect(clippy::cast_precision_loss, reason = "positions and widths are small")]

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Mask, Pages, Rotary, Shape};
use foveal_kernels::specs::{Append, Pairing};
use foveal_kernels::{
    HostTensor, Name, TensorData,
    testing::{Reference, Rows},
};
use foveal_tests::harness;

type Inputs = Vec<(Name, HostTensor)>;

fn named<'a>(inputs: &'a Inputs, name: &str) -> Result<&'a HostTensor> {
    inputs.iter().find_map(|(given, tensor)| (given == name).then_some(tensor)).context("no such input")
}

fn set(inputs: &mut Inputs, name: &str, data: TensorData) -> Result<()> {
    let (_, tensor) = inputs.iter_mut().find(|(given, _)| given == name).context("no such input")?;
    *tensor = HostTensor::new(tensor.shape().to_vec(), data)?;
    Ok(())
}

fn outputs(spec: &Attention, inputs: &Inputs) -> Result<Vec<Vec<f64>>> {
    let expected = spec.reference(&harness::borrowed(inputs), Rows::All)?;
    Ok(expected.into_iter().map(|output| output.values).collect())
}

fn near(a: &[Vec<f64>], b: &[Vec<f64>], most: f64) -> Result<()> {
    for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
        ensure!((a - b).abs() <= most || a == b, "{a} is not {b}");
    }
    Ok(())
}

/// The rows of `[B, heads, T, D]` as complex numbers, each multiplied by e^(i p base^(-2i/d)).
fn turned(
    tensor: &HostTensor,
    (pairing, base, d): (Pairing, f64, usize),
    position: impl Fn(usize, usize) -> f64,
) -> Result<HostTensor> {
    let &[_, heads, len, dim] = tensor.shape() else { anyhow::bail!("{:?}", tensor.shape()) };
    let mut values = tensor.to_f64();
    for (at, row) in values.chunks_mut(dim).enumerate() {
        let p = position(at / len / heads, at % len);
        for i in 0..d / 2 {
            let (re, im) = if pairing == Pairing::Pairs { (2 * i, 2 * i + 1) } else { (i, i + d / 2) };
            let angle = p / base.powf(2.0 * i as f64 / d as f64);
            let (size, phase) = (row[re].hypot(row[im]), row[im].atan2(row[re]) + angle);
            (row[re], row[im]) = (size * phase.cos(), size * phase.sin());
        }
    }
    Ok(HostTensor::new(tensor.shape().to_vec(), TensorData::F64(values))?)
}

fn with(inputs: &Inputs, q: &HostTensor, k: Option<&HostTensor>) -> Inputs {
    let mut all = inputs.clone();
    for (name, tensor) in &mut all {
        match &**name {
            "q" => *tensor = q.clone(),
            "k" => {
                if let Some(k) = k {
                    *tensor = k.clone();
                }
            }
            _ => {}
        }
    }
    all
}

#[test]
fn rows_are_turned_by_their_positions() -> Result<()> {
    for (pairing, base, dim) in
        [(Pairing::Halves, 10_000.0, 12), (Pairing::Pairs, 10_000.0, 12), (Pairing::Halves, 50.0, 6)]
    {
        let plain = Attention::new(Shape::bhtd(2, 4, 5, 12).kv(2, 9)).causal().with_lse();
        let lengths = plain.clone().q_lengths("nq").kv_lengths("nk");
        let rotary = Rotary::new(pairing).base(base).dim(dim);
        let how = (pairing, base, dim);
        // Queries end where keys do.
        let spec = plain.clone().rotary(rotary.clone());
        let inputs = spec.random_inputs(3);
        let q = turned(named(&inputs, "q")?, how, |_, i| i as f64 + 4.0)?;
        let k = turned(named(&inputs, "k")?, how, |_, j| j as f64)?;
        near(&outputs(&spec, &inputs)?, &outputs(&plain, &with(&inputs, &q, Some(&k)))?, 1e-12)?;
        // Each entry by its own lengths.
        let spec = lengths.clone().rotary(rotary.clone());
        let mut inputs = spec.random_inputs(4);
        set(&mut inputs, "nq", TensorData::I32(vec![2, 5]))?;
        set(&mut inputs, "nk", TensorData::I32(vec![8, 6]))?;
        let q = turned(named(&inputs, "q")?, how, |b, i| i as f64 + [6.0, 1.0][b])?;
        let k = turned(named(&inputs, "k")?, how, |_, j| j as f64)?;
        near(&outputs(&spec, &inputs)?, &outputs(&lengths, &with(&inputs, &q, Some(&k)))?, 1e-12)?;
        // By tensors.
        let spec = plain.clone().rotary(rotary.clone().positions("p").key_positions("kp"));
        let inputs = spec.random_inputs(5);
        let (p, kp) = (named(&inputs, "p")?.to_f64(), named(&inputs, "kp")?.to_f64());
        let q = turned(named(&inputs, "q")?, how, |b, i| p[b * 5 + i])?;
        let k = turned(named(&inputs, "k")?, how, |b, j| kp[b * 9 + j])?;
        near(&outputs(&spec, &inputs)?, &outputs(&plain, &with(&inputs, &q, Some(&k)))?, 1e-9)?;
        // Of q alone.
        let spec = plain.clone().rotary(rotary.queries_only());
        let inputs = spec.random_inputs(6);
        let q = turned(named(&inputs, "q")?, how, |_, i| i as f64 + 4.0)?;
        near(&outputs(&spec, &inputs)?, &outputs(&plain, &with(&inputs, &q, None))?, 1e-12)?;
    }
    Ok(())
}

#[test]
fn packed_sequences_count_from_their_own_first() -> Result<()> {
    let plain = Attention::new(Shape::bhtd(3, 2, 11, 8).kv(2, 15)).causal().with_lse();
    let plain = plain.cu_seqlens_q("cq").cu_seqlens_k("ck");
    let spec = plain.clone().rotary(Rotary::new(Pairing::Halves));
    let mut inputs = spec.random_inputs(7);
    let (cq, ck) = ([0, 4, 4, 10], [0, 6, 9, 15]);
    set(&mut inputs, "cq", TensorData::I32(cq.to_vec()))?;
    set(&mut inputs, "ck", TensorData::I32(ck.to_vec()))?;
    let how = (Pairing::Halves, 10_000.0, 8);
    // Four queries and six keys, none and three, six and six; a row beyond.
    let q = turned(named(&inputs, "q")?, how, |_, i| if i < 4 { i as f64 + 2.0 } else { i as f64 - 4.0 })?;
    let first = |j: usize| [0, 6, 9].into_iter().rfind(|&first| first <= j).unwrap_or(0);
    let k = turned(named(&inputs, "k")?, how, |_, j| (j - first(j)) as f64)?;
    near(&outputs(&spec, &inputs)?, &outputs(&plain, &with(&inputs, &q, Some(&k)))?, 1e-12)
}

#[test]
fn scores_depend_on_distances_alone() -> Result<()> {
    let rotary = Rotary::new(Pairing::Pairs).positions("p").key_positions("kp");
    let spec = Attention::new(Shape::bhtd(1, 2, 7, 16).kv(2, 12)).rotary(rotary).with_lse();
    let mut inputs = spec.random_inputs(8);
    let counted = |count: i32, from: i32| TensorData::I32((0..count).map(|at| 3 * at + from).collect());
    let mut of = |from: i32| -> Result<Vec<Vec<f64>>> {
        set(&mut inputs, "p", counted(7, from + 5))?;
        set(&mut inputs, "kp", counted(12, from))?;
        outputs(&spec, &inputs)
    };
    let near_zero = of(0)?;
    near(&near_zero, &of(100_000)?, 1e-9)?;
    near(&near_zero, &of(-77)?, 1e-9)?;
    // And on them indeed.
    set(&mut inputs, "kp", counted(12, 1))?;
    ensure!(near(&near_zero, &outputs(&spec, &inputs)?, 1e-3).is_err());
    Ok(())
}

/// A step of decoding: `append` turns the keys that it writes into pages, and attention q; at once, attention turns both.
#[test]
fn what_append_turns_is_what_attention_would() -> Result<()> {
    let rotary = Rotary::new(Pairing::Halves).base(500.0);
    let whole = Attention::new(Shape::bhtd(1, 4, 20, 8).kv(2, 20)).causal().rotary(rotary.clone()).with_lse();
    let given = whole.random_inputs(9);
    let append = Append::new([1, 2, 20], 32, [8, 8])
        .kv_lengths("n")
        .block_table("t", 16, 2)
        .rope(Pairing::Halves, 500.0);
    let table = || HostTensor::new(vec![1, 2], TensorData::I32(vec![1, 0]));
    let lengths = || HostTensor::new(vec![1], TensorData::I32(vec![20]));
    let mut inputs: Inputs = append.random_inputs(1);
    for (name, tensor) in &mut inputs {
        match &**name {
            "k" | "v" => *tensor = named(&given, name)?.clone(),
            "n" => *tensor = lengths()?,
            "t" => *tensor = table()?,
            _ => {
                *tensor = HostTensor::new(tensor.shape().to_vec(), TensorData::F64(vec![0.0; tensor.len()]))?
            }
        }
    }
    let caches = append.reference(&harness::borrowed(&inputs), Rows::All)?;
    let paged = Attention::new(Shape::bhtd(1, 4, 20, 8).kv(2, 32))
        .mask(Mask::Causal)
        .pages(Pages::new("t", 16, 2))
        .kv_lengths("n")
        .rotary(rotary.queries_only())
        .with_lse();
    let inputs: Inputs = vec![
        ("q".into(), named(&given, "q")?.clone()),
        ("k".into(), caches[0].to_tensor()?),
        ("v".into(), caches[1].to_tensor()?),
        ("n".into(), lengths()?),
        ("t".into(), table()?),
    ];
    near(&outputs(&paged, &inputs)?, &outputs(&whole, &given)?, 1e-12)
}
