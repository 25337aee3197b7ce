//! Random numbers for inputs.

/// Normally distributed values, as activations are: `count` of them, from `seed`.
pub(crate) fn normal(seed: u64, count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // Box-Muller: two uniforms make two normals.
        let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
        let angle = random.f64() * std::f64::consts::TAU;
        #[expect(clippy::cast_possible_truncation, reason = "inputs are stored as f32")]
        values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
    }
    values.truncate(count);
    values
}
