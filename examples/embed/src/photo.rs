//! A noisy photo, and what attention sees of it.
//!
//! Attention as a filter that keeps edges (Buades, Coll and Morel 2005, non-local means): pixels whose surroundings look
//! alike are averaged. With the surroundings `f` of a pixel, `q = f / h`, `k = f / h` and one channel more for
//! `-|k|^2 / 2`, the score of two pixels is `-|f_i - f_j|^2 / (2 h^2)` up to what all keys of a query share, and the
//! softmax does not see that.

use foveal::kernels::Error;
use foveal::{HostTensor, TensorData};

/// Pixels along each side.
pub(crate) const SIDE: usize = 96;
/// Red, green, blue.
pub(crate) const COLOURS: usize = 3;
/// Width of q and k: the colours of 3 x 3 pixels, and what completes the distance.
pub(crate) const FEATURES: usize = 9 * COLOURS + 1;

/// Standard deviation of the noise; colours are from 0 to 1.
const NOISE: f32 = 0.09;
/// h above: the distance from which on surroundings are taken for different.
const LIKENESS: f32 = 0.34;

type Colour = [f32; COLOURS];

/// Queries, keys and values `[1, 1, SIDE * SIDE, ...]`, a row a pixel.
pub(crate) struct Photo {
    q: HostTensor,
    k: HostTensor,
    v: HostTensor,
}

impl Photo {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut noise = Noise(0x2545_f491);
        let pixels: Vec<Colour> = (0..SIDE * SIDE)
            .map(|at| scene(at % SIDE, at / SIDE).map(|part| (part + NOISE * noise.next()).clamp(0.0, 1.0)))
            .collect();
        let (mut q, mut k) = (Vec::new(), Vec::new());
        for at in 0..SIDE * SIDE {
            let features = surroundings(&pixels, at % SIDE, at / SIDE);
            let length: f32 = features.iter().map(|x| x * x).sum();
            q.extend(features.iter().chain(&[1.0]));
            k.extend(features.iter().chain(&[-length / 2.0]));
        }
        let tensor = |width, values| HostTensor::new(vec![1, 1, SIDE * SIDE, width], TensorData::F32(values));
        Ok(Self { q: tensor(FEATURES, q)?, k: tensor(FEATURES, k)?, v: tensor(COLOURS, pixels.concat())? })
    }

    /// The colours `[1, 1, SIDE * SIDE, 3]`.
    pub(crate) fn colours(&self) -> &HostTensor {
        &self.v
    }

    /// The tensors by the names that attention has for them.
    pub(crate) fn tensors(&self) -> [(&'static str, &HostTensor); 3] {
        [("q", &self.q), ("k", &self.k), ("v", &self.v)]
    }
}

/// The colours of 3 x 3 pixels over h. Beyond the edge the nearest pixel stands in.
fn surroundings(pixels: &[Colour], x: usize, y: usize) -> Vec<f32> {
    let around = |at: usize| [at.saturating_sub(1), at, (at + 1).min(SIDE - 1)];
    let mut features = Vec::new();
    for row in around(y) {
        for column in around(x) {
            // Around middle grey scores stay small, and so does their rounding.
            features.extend(pixels[row * SIDE + column].map(|part| (part - 0.5) / LIKENESS));
        }
    }
    features
}

/// The photo: a low sun over hills and a lake.
fn scene(x: usize, y: usize) -> Colour {
    let unit = |at: usize| (at as f32 + 0.5) / SIDE as f32;
    let (x, y) = (unit(x), unit(y));
    let horizon = 0.62;
    let ridge = |base: f32, height: f32, phase: f32| base - height * (x * 7.0 + phase).sin().abs();
    let far = (x - 0.66).hypot(y - 0.36);
    if y > horizon {
        // The sun's reflection breaks into bars.
        let bar = ((y - horizon) * 64.0).sin() > -0.2;
        let lit = (x - 0.66).abs() < 0.05 + 0.25 * (y - horizon);
        return if lit && bar { [0.98, 0.78, 0.46] } else { [0.13, 0.27, 0.45] };
    }
    if y > ridge(0.66, 0.14, 2.4) {
        [0.10, 0.22, 0.20]
    } else if y > ridge(0.56, 0.20, 0.4) {
        [0.36, 0.34, 0.52]
    } else if far < 0.13 {
        [1.0, 0.90, 0.62]
    } else {
        // From apricot at the hills to blue above.
        let high = (1.0 - y / horizon).clamp(0.0, 1.0);
        [0.97 - 0.52 * high, 0.62 - 0.06 * high, 0.45 + 0.32 * high]
    }
}

/// Noise of mean 0 and standard deviation 1, the same in every run.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        // Four evenly distributed numbers are close enough to a bell curve.
        let sum: f32 = (0..4).map(|_| self.even()).sum();
        (sum - 2.0) * 3f32.sqrt()
    }

    /// From 0 to 1 (Marsaglia 2003, xorshift).
    fn even(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 8) as f32 / 16_777_216.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_distances_but_for_what_a_query_adds_to_all() {
        let photo = Photo::new().unwrap();
        let (q, k) = (photo.q.to_f64(), photo.k.to_f64());
        let row = |tensor: &[f64], at: usize| tensor[at * FEATURES..(at + 1) * FEATURES].to_vec();
        let score =
            |i: usize, j: usize| -> f64 { row(&q, i).iter().zip(row(&k, j)).map(|(a, b)| a * b).sum() };
        let half_square = |i: usize, j: usize| -> f64 {
            let pairs = row(&q, i).into_iter().zip(row(&q, j)).take(FEATURES - 1);
            pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 2.0
        };
        for (i, j) in [(0, 1), (500, 4000), (9215, 17)] {
            let shared = score(i, i);
            assert!((score(i, j) - shared + half_square(i, j)).abs() < 1e-4, "{i} {j}");
        }
    }

    #[test]
    fn noise_is_centred_and_of_unit_size() {
        let mut noise = Noise(1);
        let values: Vec<f32> = (0..20_000).map(|_| noise.next()).collect();
        let mean = values.iter().sum::<f32>() / 20_000.0;
        let square = values.iter().map(|x| x * x).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean} {square}");
    }
}
