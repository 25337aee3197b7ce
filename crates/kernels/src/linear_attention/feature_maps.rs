//! Feature maps of rows, in f64.

use super::{
    FeatureMap, LinearAttention,
    products::{Rowed, times},
};

/// The `[heads, count]` rows of q or k after the feature map.
pub(super) fn mapped(
    spec: &LinearAttention,
    rows: Rowed,
    [heads, count]: [usize; 2],
    weight: Option<&[f64]>,
) -> Rowed {
    if spec.feature_map == FeatureMap::Identity {
        return rows;
    }
    let dim = spec.key_dim();
    let strides = spec.token_strides(heads, count, dim);
    let mut elements = vec![0.0; spec.batch * heads * count * dim];
    for batch in 0..spec.batch {
        for head in 0..heads {
            for position in 0..count {
                let x = rows.row(batch, head, position);
                let mapped = match weight {
                    Some(weight) => {
                        let size = spec.head_dim * spec.feature_dim;
                        let projected = times(&weight[head * size..][..size], x, spec.feature_dim);
                        softmax(projected.iter().copied().chain(projected.iter().map(|x| -x)).collect())
                    }
                    None => feature(spec.feature_map, x),
                };
                let at = batch * strides.batch + head * strides.head + position * strides.position;
                elements[at..at + dim].copy_from_slice(&mapped);
            }
        }
    }
    Rowed { elements, strides, dim }
}

/// The larger of both; NaN if one is NaN.
fn max(x: f64, y: f64) -> f64 {
    if x.is_nan() || x > y { x } else { y }
}

fn feature(map: FeatureMap, x: &[f64]) -> Vec<f64> {
    let each = |f: fn(f64) -> f64| x.iter().map(|&x| f(x)).collect();
    match map {
        FeatureMap::Identity | FeatureMap::Learned => x.to_vec(),
        FeatureMap::Relu => each(|x| max(x, 0.0)),
        FeatureMap::Elu1 => each(|x| if x > 0.0 { x + 1.0 } else { x.exp() }),
        FeatureMap::Relu2 => each(|x| max(x, 0.0).powi(2)),
        FeatureMap::Silu => each(|x| x / (1.0 + (-x).exp())),
        FeatureMap::L2Norm => {
            let norm = max(x.iter().map(|x| x * x).sum::<f64>().sqrt(), 1e-12);
            x.iter().map(|x| x / norm).collect()
        }
        FeatureMap::Softmax => softmax(x.to_vec()),
    }
}

fn softmax(mut x: Vec<f64>) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    x.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f64 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= sum);
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_maps_keep_nan() {
        for map in FeatureMap::ALL {
            let mapped = feature(*map, &[1.0, f64::NAN, -2.0]);
            assert!(mapped[1].is_nan(), "{map}: {mapped:?}");
        }
    }
}
