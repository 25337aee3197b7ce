//! Random inputs, and what inputs have to hold.

use std::{fmt, str::FromStr};

use super::nan;
use crate::{
    Access, Error, HostTensor, Name, TensorSpec,
    check::{GateDistribution, InputDistribution, random::normal},
    linear_attention::{Gate, LinearAttention, Rule},
};

impl fmt::Display for InputDistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gates = match self.gates {
            GateDistribution::Mild => "mild",
            GateDistribution::Strong => "strong",
            GateDistribution::Zero => "zero",
            GateDistribution::Extreme => "extreme",
        };
        f.write_str(gates)?;
        if self.integer_beta {
            f.write_str(",integer_beta")?;
        }
        if self.repeated_keys {
            f.write_str(",repeated_keys")?;
        }
        if self.nan {
            f.write_str(",nan")?;
        }
        Ok(())
    }
}

impl FromStr for InputDistribution {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const WORDS: [&str; 7] =
            ["mild", "strong", "zero", "extreme", "integer_beta", "repeated_keys", "nan"];
        let mut fill = Self::default();
        for word in text.split(',') {
            match word {
                "mild" => fill.gates = GateDistribution::Mild,
                "strong" => fill.gates = GateDistribution::Strong,
                "zero" => fill.gates = GateDistribution::Zero,
                "extreme" => fill.gates = GateDistribution::Extreme,
                "integer_beta" => fill.integer_beta = true,
                "repeated_keys" => fill.repeated_keys = true,
                "nan" => fill.nan = true,
                _ => return Err(Error::no_word("fill", &WORDS, word)),
            }
        }
        Ok(fill)
    }
}

pub(crate) fn random_inputs(spec: &LinearAttention, seed: u64) -> Vec<(Name, HostTensor)> {
    let inputs = spec.all_tensors().into_iter().filter(|tensor_spec| tensor_spec.access == Access::Read);
    let mut drawn: Vec<(TensorSpec, Vec<f32>)> = inputs
        .zip(1..)
        .map(|(tensor_spec, stream)| {
            let values = values(spec, &tensor_spec, seed.wrapping_mul(31).wrapping_add(stream), seed);
            (tensor_spec, values)
        })
        .collect();
    if spec.fill.nan {
        nan::scatter(spec, &mut drawn);
    }
    drawn
        .into_iter()
        .filter_map(|(tensor_spec, values)| {
            HostTensor::from_f32(tensor_spec.shape, &values, tensor_spec.dtype)
                .ok()
                .map(|tensor| (tensor_spec.name, tensor))
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "positions are far below 2^24")]
fn values(spec: &LinearAttention, tensor_spec: &TensorSpec, seed: u64, shared: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let count = tensor_spec.span;
    let positive =
        spec.normalises() && matches!(spec.feature_map, crate::linear_attention::FeatureMap::Identity);
    let mut values = normal(seed, count);
    let keys_erase = spec.rule != Rule::Add;
    match &*tensor_spec.name {
        "g" => return (0..count).map(|_| gate(spec, &mut random)).collect(),
        "beta" if spec.fill.integer_beta => return (0..count).map(|_| random.u32(..3) as f32).collect(),
        "beta" => return (0..count).map(|_| random.f32()).collect(),
        "cu_seqlens" => {
            let mut starts: Vec<usize> = (0..count).map(|_| random.usize(..=spec.len)).collect();
            // A sequence without tokens now and then.
            if count > 3 && random.bool() {
                starts[1] = starts[2];
            }
            (starts[0], starts[count - 1]) = (0, spec.len);
            starts.sort_unstable();
            return starts.into_iter().map(|x| x as f32).collect();
        }
        name if spec.length_tensor().is_some_and(|lengths| lengths == name) => {
            return (0..count).map(|_| random.usize(..=spec.len) as f32).collect();
        }
        // From a thousandth to a tenth, as Mamba-2 begins.
        name if spec.dt.as_deref() == Some(name) => {
            return (0..count).map(|_| (1e-3f32.ln() + 100f32.ln() * random.f32()).exp()).collect();
        }
        // Sums that outputs are divided by stay away from zero.
        "q" | "k" if positive => values.iter_mut().for_each(|x| *x = x.abs()),
        "z_in" => values.iter_mut().for_each(|x| *x = 0.1 + x.abs()),
        "q_weight" | "k_weight" => {
            let factor = 1.0 / (spec.head_dim as f32).sqrt();
            values.iter_mut().for_each(|x| *x *= factor);
        }
        // b undoes part of what a reads, as in RWKV-7: b = -a times something in (0, 1).
        "a" | "b" => {
            values = normal(shared ^ 0x5ca1_ab1e, count);
            unit_rows(&mut values, spec.head_dim);
            if tensor_spec.name == "b" {
                values.iter_mut().for_each(|x| *x *= -random.f32());
            }
        }
        "k" if keys_erase => unit_rows(&mut values, spec.head_dim),
        name if spec.erase_key.as_deref() == Some(name) => unit_rows(&mut values, spec.head_dim),
        _ => {}
    }
    if tensor_spec.name == "k" && spec.fill.repeated_keys {
        let dim = spec.head_dim;
        for row in (4..count / dim.max(1)).step_by(4) {
            values.copy_within((row - 1) * dim..row * dim, row * dim);
        }
    }
    values
}

/// Rows of unit length, as the delta rules want their keys.
fn unit_rows(values: &mut [f32], dim: usize) {
    for row in values.chunks_exact_mut(dim) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
        row.iter_mut().for_each(|x| *x /= norm);
    }
}

fn gate(spec: &LinearAttention, random: &mut fastrand::Rng) -> f32 {
    let logit = 4.0 * random.f32() - 1.0;
    let mild = -(-logit).exp().ln_1p() / 4.0;
    let mild = match (&spec.dt, spec.gate) {
        // A, before step sizes: -1 to -16.
        (Some(_), _) => return -1.0 - 15.0 * random.f32(),
        (None, Gate::Constant) => mild / 4.0,
        (None, _) => mild,
    };
    match (spec.fill.gates, random.u8(..8)) {
        (GateDistribution::Zero, _) | (GateDistribution::Strong, 0..3) => 0.0,
        (GateDistribution::Strong, 3) => -20.0,
        (GateDistribution::Strong, _) => -3.0 - 17.0 * random.f32(),
        (GateDistribution::Extreme, 0) => -1e4,
        (GateDistribution::Mild | GateDistribution::Extreme, _) => mild,
    }
}

impl LinearAttention {
    /// Checks that need the values of inputs.
    pub(crate) fn check_values(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        for (name, tensor) in inputs {
            match *name {
                "g" if self.gate != Gate::None => {
                    check_each(name, tensor, "log decays of 0 or less", |g| g > 0.0)?;
                }
                "beta" if self.rule == Rule::Delta => {
                    check_each(name, tensor, "0 to 2", |beta| {
                        !(beta.is_nan() || (0.0..=2.0).contains(&beta))
                    })?;
                }
                "cu_seqlens" if self.packed().is_some() => self.check_starts(&tensor.to_f64())?,
                name if self.length_tensor().is_some_and(|lengths| lengths == name) => {
                    let wrong = |length: f64| length < 0.0 || length.fract() != 0.0;
                    check_each(name, tensor, "whole lengths of 0 or more", wrong)?;
                }
                name if self.dt.as_deref() == Some(name) => {
                    check_each(name, tensor, "step sizes of 0 or more", |dt| dt < 0.0)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "lengths are below 2^53")]
    fn check_starts(&self, starts: &[f64]) -> Result<(), Error> {
        if let Some(at) = starts.iter().position(|x| x.fract() != 0.0) {
            let message = format!("expected whole numbers, element {at} is {}", starts[at]);
            return Err(Error::invalid("cu_seqlens", message));
        }
        let wrong = |message: String| Err(Error::invalid("cu_seqlens", message));
        if starts.first() != Some(&0.0) {
            let got = starts.first().map_or("nothing".to_owned(), f64::to_string);
            return wrong(format!("expected 0 as element 0, got {got}"));
        }
        if let Some(at) = starts.windows(2).position(|pair| pair[1] < pair[0]) {
            let (first, second) = (starts[at], starts[at + 1]);
            return wrong(format!("expected {first} or more as element {}, got {second}", at + 1));
        }
        if let Some(last) = starts.last().filter(|&&last| last != self.len as f64) {
            let at = starts.len() - 1;
            return wrong(format!(
                "expected {}, the number of tokens, as element {at}, got {last}",
                self.len
            ));
        }
        Ok(())
    }
}

fn check_each(name: &str, tensor: &HostTensor, expected: &str, wrong: fn(f64) -> bool) -> Result<(), Error> {
    let values = tensor.to_f64();
    match values.iter().position(|&x| wrong(x)) {
        Some(at) => Err(Error::invalid(name, format!("expected {expected}, element {at} is {}", values[at]))),
        None => Ok(()),
    }
}
