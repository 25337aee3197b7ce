//! Inputs, and attention in f64 to hold an output against.

use anyhow::{Result, ensure};

use crate::shape::Shape;

/// Seed of inputs. The values do not change the time; a fixed seed makes the check repeatable.
const SEED: u64 = 7;

/// Rows of the output that are compared.
const ROWS: usize = 32;

/// Foveal's tolerance of f32 attention, in units of the reference's root mean square: of the differences' own root mean
/// square, and of the largest difference.
const REL_RMSE: f64 = 1e-5;
const WORST: f64 = 2e-4;

/// Queries, keys and values.
pub struct Inputs {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
}

impl Inputs {
    /// Normally distributed values, as activations are.
    pub fn random(shape: &Shape) -> Self {
        let mut random = Random(SEED);
        let [q, k, v] = shape.inputs().map(|sizes| normal(&mut random, sizes.iter().product()));
        Self { q, k, v }
    }
}

fn normal(random: &mut Random, count: usize) -> Vec<f32> {
    // Box-Muller.
    let mut value = || {
        let radius = (-2.0 * (1.0 - random.uniform()).ln()).sqrt();
        radius * (random.uniform() * std::f64::consts::TAU).cos()
    };
    (0..count).map(|_| value() as f32).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to 1, without 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f64) as usize
    }
}

/// How far an output is from the reference, in units of the reference's root mean square.
pub struct Accuracy {
    pub rel_rmse: f64,
    pub worst: f64,
}

impl Accuracy {
    /// Whether the output is right for f32. An error that is NaN is not.
    pub fn passed(&self) -> bool {
        self.rel_rmse <= REL_RMSE && self.worst <= WORST
    }
}

/// Compares the first, the last and some other rows of `output` with the reference.
pub fn check(shape: &Shape, inputs: &Inputs, output: &[f32]) -> Result<Accuracy> {
    let (rows, dim) = (shape.batch * shape.heads * shape.q_len, shape.value_dim);
    ensure!(output.len() == rows * dim, "expected {} values, got {}", rows * dim, output.len());
    let mut random = Random(SEED);
    let sample = [0, rows - 1].into_iter().chain((2..ROWS).map(|_| random.below(rows)));
    let (mut squares, mut errors, mut worst) = (0.0, 0.0, 0.0f64);
    for row in sample {
        let got = &output[row * dim..][..dim];
        for (&got, want) in got.iter().zip(reference(shape, inputs, row)) {
            let error = f64::from(got) - want;
            squares += want * want;
            errors += error * error;
            worst = worst.max(error.abs());
        }
    }
    let rms = (squares / (ROWS * dim) as f64).sqrt();
    Ok(Accuracy { rel_rmse: (errors / squares).sqrt(), worst: worst / rms })
}

/// One row of the output; rows are counted over batch, heads and queries.
fn reference(shape: &Shape, inputs: &Inputs, row: usize) -> Vec<f64> {
    let &Shape { q_len, kv_len, head_dim, value_dim, .. } = shape;
    let head = row / q_len;
    let query = &inputs.q[row * head_dim..][..head_dim];
    let keys = inputs.k[head * kv_len * head_dim..][..kv_len * head_dim].chunks_exact(head_dim);
    let values = inputs.v[head * kv_len * value_dim..][..kv_len * value_dim].chunks_exact(value_dim);

    let dot =
        |key: &[f32]| -> f64 { query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum() };
    let scores: Vec<f64> = keys.map(|key| dot(key) / (head_dim as f64).sqrt()).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; value_dim];
    for (weight, value) in weights.iter().zip(values) {
        for (out, &value) in out.iter_mut().zip(value) {
            *out += weight / total * f64::from(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_average_the_values() {
        let shape: Shape = "1x1x1:2x1:2".parse().unwrap();
        let inputs = Inputs { q: vec![3.0], k: vec![1.0, 1.0], v: vec![1.0, 2.0, 3.0, 6.0] };
        assert!(check(&shape, &inputs, &[2.0, 4.0]).unwrap().passed());
        assert!(!check(&shape, &inputs, &[2.0, 4.01]).unwrap().passed());
        assert!(!check(&shape, &inputs, &[2.0, f32::NAN]).unwrap().passed());
    }
}
