//! Attention weights and masks, as pictures.

mod canvas;
pub(crate) mod mask;
pub(crate) mod png;
pub(crate) mod terminal;

use anyhow::{Result, bail};
use foveal_kernels::HostTensor;

/// The attention weights of one head, `[Tq, Tk]`: each row sums to 1.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    pub(crate) label: String,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) values: Vec<f64>,
}

/// Weights below this are shown as nothing: a logarithmic scale has to begin somewhere.
const LEAST: f64 = 1e-3;

/// Where a weight lies on the scale from [`LEAST`] to 1, which is logarithmic: weights of interest differ by factors.
fn tone(weight: f64) -> f64 {
    (1.0 - weight.max(LEAST).ln() / LEAST.ln()).clamp(0.0, 1.0)
}

/// The weights of every head of the first batch entry of q and k `[B, H, T, D]`, in f64.
pub(crate) fn weights(q: &HostTensor, k: &HostTensor, scale: f64, labels: &[String]) -> Result<Vec<Weights>> {
    let (&[_, heads, queries, width], &[_, groups, keys, key_width]) = (q.shape(), k.shape()) else {
        bail!("the picture needs q and k of four dimensions");
    };
    if width != key_width || groups == 0 || heads % groups != 0 {
        bail!("the picture needs q and k of one width and matching heads");
    }
    let (q, k) = (q.to_f64(), k.to_f64());
    let row = |data: &[f64], head: usize, length: usize, position: usize| -> Vec<f64> {
        let start = (head * length + position) * width;
        data[start..start + width].to_vec()
    };
    let one_head = |head: usize| {
        let key_rows: Vec<Vec<f64>> =
            (0..keys).map(|key| row(&k, head / (heads / groups), keys, key)).collect();
        let mut values = Vec::with_capacity(queries * keys);
        for query in 0..queries {
            let query = row(&q, head, queries, query);
            let score = |key: &Vec<f64>| scale * query.iter().zip(key).map(|(a, b)| a * b).sum::<f64>();
            let scores: Vec<f64> = key_rows.iter().map(score).collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|score| (score - max).exp()).sum();
            values.extend(scores.iter().map(|score| (score - max).exp() / total));
        }
        let label = labels.get(head).cloned().unwrap_or_else(|| format!("head {head}"));
        Weights { label, queries, keys, values }
    };
    Ok((0..heads).map(one_head).collect())
}

#[cfg(test)]
mod tests {
    use foveal_kernels::TensorData;

    use super::*;

    #[test]
    fn weights_sum_to_one_and_follow_the_scores() {
        let q = HostTensor::new(vec![1, 1, 1, 2], TensorData::F32(vec![1.0, 0.0])).unwrap();
        let k = HostTensor::new(vec![1, 1, 2, 2], TensorData::F32(vec![2.0, 5.0, 0.0, 9.0])).unwrap();
        let head = &weights(&q, &k, 0.5, &[]).unwrap()[0];
        let expected = 1.0 / (1.0 + (-1.0f64).exp());
        assert!((head.values[0] - expected).abs() < 1e-12);
        assert!((head.values.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn tones_span_the_scale() {
        assert!((tone(1.0) - 1.0).abs() < 1e-12 && tone(1e-9).abs() < 1e-12);
        assert!((tone(10f64.powf(-1.5)) - 0.5).abs() < 1e-12);
    }
}
