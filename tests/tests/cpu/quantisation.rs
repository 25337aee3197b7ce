//! Inputs that are rounded to integers: what they stand for, and how far that moves the outputs.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Integers, QkNorm, Quantised, Rotary, Shape};
use foveal_kernels::expr::Expr;
use foveal_kernels::specs::Pairing;
use foveal_kernels::{
    HostTensor, Name, Problem, TensorData,
    testing::{Reference, Rows},
};
use foveal_tests::harness;

type Inputs = Vec<(Name, HostTensor)>;

/// Numbers `[B, heads, T, D]` rounded to integers of at most `most`: these, and the scales of each `block` rows of a head.
fn quantised(tensor: &HostTensor, block: usize, most: f64) -> Result<(Vec<f64>, HostTensor)> {
    let &[batch, heads, len, dim] = tensor.shape() else { anyhow::bail!("{:?}", tensor.shape()) };
    let (mut integers, mut scales) = (Vec::new(), Vec::new());
    for head in tensor.to_f64().chunks(len * dim) {
        for rows in head.chunks(block * dim) {
            let scale = rows.iter().fold(0.0f64, |largest, x| largest.max(x.abs())) / most;
            scales.push(scale);
            integers.extend(rows.iter().map(|x| if scale > 0.0 { (x / scale).round() } else { 0.0 }));
        }
    }
    Ok((integers, HostTensor::new(vec![batch, heads, len.div_ceil(block)], TensorData::F64(scales))?))
}

#[expect(clippy::cast_possible_truncation, reason = "whole numbers of at most 127")]
fn bytes(shape: &[usize], integers: &[f64]) -> Result<HostTensor> {
    Ok(HostTensor::new(shape.to_vec(), TensorData::I8(integers.iter().map(|&x| x as i8).collect()))?)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers of at most 7")]
fn nibbles(shape: &[usize], integers: &[f64]) -> Result<HostTensor> {
    let half = |x: f64| (x as i8 & 15) as u8;
    let packed = integers.chunks(2).map(|pair| half(pair[0]) | half(pair[1]) << 4).collect();
    let mut shape = shape.to_vec();
    *shape.last_mut().context("no width")? /= 2;
    Ok(HostTensor::new(shape, TensorData::U8(packed))?)
}

/// The inputs of `spec`, which has `quantised`, from those of the same problem without.
fn rounded(spec: &Attention, plain: &Inputs) -> Result<Inputs> {
    let of = spec.quantised.as_ref().context("not quantised")?;
    let mut inputs = Inputs::new();
    for (name, tensor) in plain {
        let scale = match &**name {
            "q" => of.q_scale.as_ref(),
            "k" => Some(&of.k_scale),
            "v" => Some(&of.v_scale),
            _ => None,
        };
        let Some(scale) = scale else {
            inputs.push((name.clone(), tensor.clone()));
            continue;
        };
        let i4 = of.integers == Integers::I4 && name != "q";
        let (integers, scales) = quantised(tensor, of.block, if i4 { 7.0 } else { 127.0 })?;
        let pack = if i4 { nibbles } else { bytes };
        inputs.push((name.clone(), pack(tensor.shape(), &integers)?));
        inputs.push((scale.clone().into(), scales));
    }
    Ok(inputs)
}

fn plain() -> Attention {
    Attention::new(Shape::bhtd(2, 4, 9, 16).kv(2, 40)).causal().with_lse()
}

/// The largest difference of o, and of lse, by rounding alone; and the bounds of them.
fn moved(plain: &Attention, quantised: &Quantised, seed: u64) -> Result<[[f64; 2]; 2]> {
    let spec = plain.clone().quantised(quantised.clone());
    let given = plain.random_inputs(seed);
    let inputs = rounded(&spec, &given)?;
    let exact = plain.reference(&harness::borrowed(&given), Rows::All)?;
    let made = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
    let bounds = spec.quantisation_bounds(&harness::borrowed(&inputs), Rows::All)?;
    let mut all = [[0.0; 2]; 2];
    for (at, name) in ["o", "lse"].into_iter().enumerate() {
        let of = |all: &[foveal_kernels::testing::Expected]| -> Result<Vec<f64>> {
            Ok(all.iter().find(|output| output.name == name).context("no output")?.values.clone())
        };
        let pairs = of(&exact)?.into_iter().zip(of(&made)?);
        let differences = pairs.map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() });
        all[0][at] = differences.fold(0.0, f64::max);
        all[1][at] = bounds.iter().find(|(given, _)| given == name).context("no bound")?.1;
    }
    Ok(all)
}

fn variations() -> Result<Vec<(&'static str, Attention)>> {
    let mut normalised = plain().qk_norm(QkNorm::L2).scale(8.0);
    normalised.rotary = Rotary::new(Pairing::Pairs);
    Ok(vec![
        ("plain", plain()),
        ("sinks", plain().sink_logits("sinks")),
        ("rope", plain().rotary(Rotary::new(Pairing::Halves))),
        ("rope of q", plain().rotary(Rotary::new(Pairing::Halves).queries_only())),
        ("normalised and turned", normalised),
        ("score", plain().score(Expr::parse_score("softcap(s * 3.0, 2.0)")?)),
        ("steep", plain().scale(2.0)),
        ("one key", Attention::new(Shape::bhtd(1, 1, 1, 16).kv(1, 1)).with_lse()),
    ])
}

#[test]
fn rounding_moves_outputs_by_less_than_its_bound() -> Result<()> {
    for (name, plain) in variations()? {
        for (how, of) in [
            ("i8", Quantised::new("ks", "vs").block(16)),
            ("i4", Quantised::new("ks", "vs").block(16).integers(Integers::I4)),
            ("i8 and queries", Quantised::new("ks", "vs").block(8).queries("qs")),
            ("i4 and queries", Quantised::new("ks", "vs").block(8).integers(Integers::I4).queries("qs")),
        ] {
            for seed in 1..4 {
                let [differences, bounds] = moved(&plain, &of, seed)?;
                for (difference, bound) in differences.into_iter().zip(bounds) {
                    ensure!(difference <= bound, "{name} {how}: {difference:e} is above {bound:e}");
                }
                // The bound is one of the worst case, and yet of use.
                if how == "i8" && ["plain", "sinks", "rope of q"].contains(&name) {
                    ensure!(bounds[0] < 30.0 * differences[0], "{name}: {bounds:?} of {differences:?}");
                    ensure!(bounds[0] < 0.2, "{name}: {bounds:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn one_key_is_off_by_half_a_step() -> Result<()> {
    let plain = Attention::new(Shape::bhtd(1, 1, 1, 4).kv(1, 1)).with_lse().scale(0.5);
    let spec = plain.quantised(Quantised::new("ks", "vs"));
    let scales = |scale: f64| HostTensor::new(vec![1, 1, 1], TensorData::F64(vec![scale]));
    let inputs: Inputs = vec![
        ("q".into(), HostTensor::new(vec![1, 1, 1, 4], TensorData::F64(vec![1.0, -2.0, 0.0, 3.0]))?),
        ("k".into(), bytes(&[1, 1, 1, 4], &[1.0, 2.0, 3.0, 127.0])?),
        ("v".into(), bytes(&[1, 1, 1, 4], &[5.0, -6.0, 7.0, 127.0])?),
        ("ks".into(), scales(0.01)?),
        ("vs".into(), scales(0.25)?),
    ];
    let bounds = spec.quantisation_bounds(&harness::borrowed(&inputs), Rows::All)?;
    let of = |name: &str| bounds.iter().find(|(given, _)| given == name).map(|(_, bound)| *bound);
    // The weight is 1 whatever the score, which is off by 0.5 * 6 * 0.01 / 2.
    let (o, lse) = (of("o").context("o")?, of("lse").context("lse")?);
    ensure!((o - 0.125).abs() < 1e-12 && (lse - 0.015).abs() < 1e-12, "{bounds:?}");
    Ok(())
}

#[test]
fn inputs_that_are_no_integers_have_no_bounds() -> Result<()> {
    let inputs = plain().random_inputs(1);
    ensure!(plain().quantisation_bounds(&harness::borrowed(&inputs), Rows::All)?.is_empty());
    Ok(())
}

/// Integers stand for their products with scales, in q as in k, packed or not.
#[test]
fn integer_queries_are_what_they_stand_for() -> Result<()> {
    let of = Quantised::new("ks", "vs").block(8).queries("qs");
    for packed in [false, true] {
        let mut plain = plain().rotary(Rotary::new(Pairing::Halves)).qk_norm(QkNorm::L2);
        if packed {
            plain = plain.cu_seqlens_q("cq").cu_seqlens_k("ck");
        }
        let spec = plain.clone().quantised(of.clone());
        let inputs = spec.random_inputs(5);
        let named = |name: &str| inputs.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor);
        let mut real = Inputs::new();
        for (name, tensor) in &inputs {
            let (scale, borders) = match &**name {
                "q" => ("qs", "cq"),
                "k" => ("ks", "ck"),
                "v" => ("vs", "ck"),
                name if ["qs", "ks", "vs"].contains(&name) => continue,
                _ => {
                    real.push((name.clone(), tensor.clone()));
                    continue;
                }
            };
            let scales = named(scale).context("no scales")?;
            let &[_, heads, len, dim] = tensor.shape() else { anyhow::bail!("{:?}", tensor.shape()) };
            let of_head = scales.shape()[2];
            let borders = named(borders).map(HostTensor::to_f64);
            let (scales, mut values) = (scales.to_f64(), tensor.to_f64());
            for (at, row) in values.chunks_mut(dim).enumerate() {
                let (stored, head, position) = (at / len / heads, at / len % heads, at % len);
                #[expect(clippy::cast_precision_loss, reason = "a few rows")]
                let before = |border: &&f64| **border <= position as f64;
                let (entry, number) = match &borders {
                    None => (stored, position),
                    // The last sequence stands in for rows beyond it.
                    Some(borders) => {
                        let entry = (borders.iter().filter(before).count() - 1).min(borders.len() - 2);
                        #[expect(
                            clippy::cast_possible_truncation,
                            clippy::cast_sign_loss,
                            reason = "a border"
                        )]
                        let first = borders[entry] as usize;
                        (entry, position - first)
                    }
                };
                let block = (number / 8).min(of_head - 1);
                let scale = scales[(entry * heads + head) * of_head + block];
                row.iter_mut().for_each(|x| *x *= scale);
            }
            real.push((name.clone(), HostTensor::new(tensor.shape().to_vec(), TensorData::F64(values))?));
        }
        let a = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
        let b = plain.reference(&harness::borrowed(&real), Rows::All)?;
        for (a, b) in a.iter().zip(&b).flat_map(|(a, b)| a.values.iter().zip(&b.values)) {
            ensure!((a - b).abs() < 1e-12 || a == b, "{a} is not {b}");
        }
    }
    Ok(())
}
