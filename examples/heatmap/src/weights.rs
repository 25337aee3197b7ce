//! Attention weights, computed by Foveal into a buffer on the device.
//!
//! A kernel gives `o = w v` and never writes the weights `w` down. With the identity for v, o *is* w: row `i` of o holds
//! what query `i` gives to every key. (A few columns of the identity would give the weights of those keys only.)

use std::ops::Range;
use std::time::{Duration, Instant};

use foveal::kernels::attention::Strides;
use foveal::{
    Attention, AttentionTensors, BoundKernel, Dtype, Engine, HostTensor, Shape, TensorData,
    testing::{Comparison, Reference, Rows, compare},
    wgpu,
};
use foveal_examples_common::Failure;

use crate::sample::Sample;

/// A kernel whose output is the weights, bound to its buffers.
pub(crate) struct Weights {
    pub(crate) bound: BoundKernel,
    /// Planning, compiling and checking.
    pub(crate) prepared_in: Duration,
    heads: usize,
    length: usize,
    /// The weights `[1, H, T, T]`, f32.
    pub(crate) o: wgpu::Buffer,
}

/// The weights of some queries on the CPU, and how they compare with the reference.
pub(crate) struct Checked {
    /// `[H, queries, T]`.
    pub(crate) values: Vec<f64>,
    pub(crate) comparison: Comparison,
}

impl Weights {
    pub(crate) async fn prepare(engine: &Engine, sample: &Sample) -> Result<Self, Failure> {
        let &[_, heads, length, _] = sample.q.shape() else {
            return Err(Failure::failed("the sample", "q of four dimensions is expected"));
        };
        let start = Instant::now();
        let plan = engine.plan(&problem(sample, length))?;
        let kernel = engine.prepare(&plan).await?;
        let prepared_in = start.elapsed();
        let bytes = (heads * length * length * Dtype::F32.size_bytes()) as u64;
        let q = engine.upload("q", &sample.q, Dtype::F32).await?;
        let k = engine.upload("k", &sample.k, Dtype::F32).await?;
        let v = engine.upload("identity", &identity(length)?, Dtype::F32).await?;
        let o = engine.buffer("weights", bytes).await?;
        let bound = kernel.bind(&AttentionTensors::new(&q, &k, &v, &o))?;
        Ok(Self { bound, prepared_in, heads, length, o })
    }

    /// Records the attention; what is recorded later sees the weights in [`Weights::o`].
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.bound.encode(encoder);
    }

    /// Weights of all heads, and of keys for each.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.heads, self.length]
    }

    /// Reads the weights of a few queries back and compares them with the reference in f64.
    pub(crate) async fn check(
        &self,
        engine: &Engine,
        sample: &Sample,
        queries: &Range<usize>,
    ) -> Result<Checked, Failure> {
        let mut values = Vec::new();
        let row = self.length * Dtype::F32.size_bytes();
        for head in 0..self.heads {
            let first = (head * self.length + queries.start) * row;
            let slice = self.o.slice(first as u64..(first + queries.len() * row) as u64);
            let rows = engine.read_back(slice, &[queries.len(), self.length], Dtype::F32).await?;
            values.extend(rows.to_f64());
        }
        // A row of attention depends on no other query, so the reference is asked for these rows only.
        let problem = problem(sample, queries.len());
        let q = Sample::rows(&sample.q, queries)?;
        let v = identity(self.length)?;
        let expected = problem.reference(&[("q", &q), ("k", &sample.k), ("v", &v)], Rows::All)?;
        let expected = expected.iter().find(|output| output.name == "o");
        let expected = expected.ok_or_else(|| Failure::failed("the reference", "it has no output `o`"))?;
        let got = HostTensor::new(expected.shape.clone(), TensorData::F64(values.clone()))?;
        let comparison = compare(expected, &got, problem.tolerance("o"))?;
        Ok(Checked { values, comparison })
    }
}

/// Attention of `queries` queries to all keys, with v as wide as there are keys.
fn problem(sample: &Sample, queries: usize) -> Attention {
    let shape = |tensor: &HostTensor| {
        let mut shape = [1; 4];
        shape.copy_from_slice(tensor.shape());
        shape
    };
    let [batch, heads, _, width] = shape(&sample.q);
    let [_, kv_heads, length, _] = shape(&sample.k);
    let sizes = Shape::bhtd(batch, heads, queries, width).kv(kv_heads, length).value_dim(length);
    let mut problem = Attention::new(sizes).scale(sample.scale);
    // All heads read one identity: a stride of 0 takes them to the same rows.
    problem.v_strides = Some(Strides { batch: 0, head: 0, position: length });
    problem
}

/// Storage of the identity of `length` rows, flat, as tensors with strides are given.
fn identity(length: usize) -> Result<HostTensor, Failure> {
    let mut values = vec![0.0; length * length];
    values.iter_mut().step_by(length + 1).for_each(|value| *value = 1.0);
    Ok(HostTensor::new(vec![length * length], TensorData::F32(values))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_has_ones_on_its_diagonal() {
        assert_eq!(identity(2).unwrap().to_f64(), [1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn rows_of_the_output_are_shares() {
        let sample = Sample::load().unwrap();
        let problem = problem(&sample, 2);
        let q = Sample::rows(&sample.q, &(0..2)).unwrap();
        let v = identity(240).unwrap();
        let outputs = problem.reference(&[("q", &q), ("k", &sample.k), ("v", &v)], Rows::All).unwrap();
        assert_eq!(outputs[0].shape, [1, 4, 2, 240]);
        for row in outputs[0].values.chunks(240) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            assert!(row.iter().all(|&weight| weight > 0.0));
        }
    }
}
