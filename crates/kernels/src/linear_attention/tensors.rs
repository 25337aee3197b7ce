//! The tensors of a problem, and the work it asks for.

use super::{FeatureMap, Gate, Key, LinearAttention, Rule, StateLayout};
use crate::{Access, Dtype, Name, Strides, TensorSpec, Work};

impl LinearAttention {
    /// The shape of a tensor with tokens, and its axis of heads; `dim` 0 for tensors of one number a row.
    fn token_shape(&self, heads: usize, rows: usize, dim: usize) -> (Vec<usize>, usize) {
        let (mut shape, axis) = self.layout.shape([self.batch, heads, rows, dim]);
        shape.truncate(if dim > 0 { 4 } else { 3 });
        (shape, axis)
    }

    /// Strides of such a tensor; of width 1 if it has one number a row.
    pub(super) fn token_strides(&self, heads: usize, rows: usize, dim: usize) -> Strides {
        self.layout.strides([heads, rows, dim])
    }

    /// Rows of k, v and beta: `T * steps`.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.len * self.steps
    }

    /// Heads of beta.
    pub(super) fn heads_of_beta(&self) -> usize {
        if self.shared_beta { 1 } else { self.value_heads }
    }

    /// Strides of beta; those of one that serves all heads do not go from head to head.
    pub(super) fn beta_strides(&self) -> Strides {
        let strides = self.token_strides(self.heads_of_beta(), self.rows(), 1);
        Strides { head: if self.shared_beta { 0 } else { strides.head }, ..strides }
    }

    pub(crate) fn all_tensors(&self) -> Vec<TensorSpec> {
        let (heads, value_heads, rows) = (self.heads, self.value_heads, self.rows());
        let tensor_spec = |name: Name, access, dtype, (shape, head_axis): (Vec<usize>, Option<usize>)| {
            TensorSpec::dense(name, access, dtype, shape, head_axis)
        };
        let tokens = |heads, rows, dim| {
            let (shape, axis) = self.token_shape(heads, rows, dim);
            (shape, Some(axis))
        };
        let input =
            |name: &str, dtype, shape| tensor_spec(name.to_owned().into(), Access::Read, dtype, shape);
        let output =
            |name: &'static str, dtype, shape| tensor_spec(Name::Borrowed(name), Access::Write, dtype, shape);
        let mut tensor_specs =
            vec![input("q", self.dtype, tokens(self.heads_of_q(), self.len, self.head_dim))];
        if self.key == Key::Given {
            tensor_specs.push(input("k", self.dtype, tokens(heads, rows, self.head_dim)));
        }
        tensor_specs.push(input("v", self.dtype, tokens(value_heads, rows, self.value_dim)));
        if self.rule == Rule::Dplr {
            for name in ["a", "b"] {
                tensor_specs.push(input(name, self.dtype, tokens(heads, rows, self.head_dim)));
            }
        }
        if let Some(name) = &self.erase_key {
            tensor_specs.push(input(name, self.dtype, tokens(heads, rows, self.head_dim)));
        }
        match self.gate {
            Gate::None => {}
            Gate::Constant => tensor_specs.push(input("g", Dtype::F32, (vec![value_heads], Some(0)))),
            Gate::Scalar => tensor_specs.push(input("g", Dtype::F32, tokens(value_heads, self.len, 0))),
            Gate::Vector => {
                tensor_specs.push(input("g", Dtype::F32, tokens(value_heads, self.len, self.key_dim())));
            }
        }
        if self.rule == Rule::Delta {
            let (shape, axis) = self.token_shape(self.heads_of_beta(), rows, 0);
            tensor_specs.push(input("beta", Dtype::F32, (shape, (!self.shared_beta).then_some(axis))));
        }
        if let Some(name) = &self.dt {
            tensor_specs.push(input(name, Dtype::F32, tokens(value_heads, rows, 0)));
        }
        if let Some(name) = &self.skip {
            tensor_specs.push(input(name, Dtype::F32, (vec![value_heads], Some(0))));
        }
        if let Some(name) = &self.bonus {
            tensor_specs.push(input(name, Dtype::F32, (vec![value_heads, self.key_dim()], Some(0))));
        }
        if self.feature_map == FeatureMap::Learned {
            for (name, heads) in [("q_weight", self.heads_of_q()), ("k_weight", heads)] {
                let shape = vec![heads, self.head_dim, self.feature_dim];
                tensor_specs.push(input(name, Dtype::F32, (shape, Some(0))));
            }
        }
        if let Some(count) = self.packed() {
            tensor_specs.push(input("cu_seqlens", Dtype::I32, (vec![count + 1], None)));
        }
        if let Some(name) = self.length_tensor() {
            tensor_specs.push(input(name, Dtype::I32, (vec![self.batch], None)));
        }
        let (states, sums) = (self.state_shape(), vec![self.states(), 1, value_heads, self.key_dim()]);
        if self.state_in {
            tensor_specs.push(input("state_in", self.state_dtype, (states.clone(), Some(1))));
        }
        if self.z_in {
            tensor_specs.push(input("z_in", Dtype::F32, (sums.clone(), Some(2))));
        }
        tensor_specs.push(output("o", self.dtype, tokens(self.heads_of_o(), self.len, self.value_dim)));
        if self.state_out {
            tensor_specs.push(output("state_out", self.state_dtype, (states.clone(), Some(1))));
        }
        let kept = [
            ("states", self.checkpoint_every.map(|_| self.checkpoints())),
            ("window_states", self.state_window),
        ];
        for (name, entries) in kept {
            let Some(entries) = entries else { continue };
            let mut shape = states.clone();
            shape.insert(1, entries);
            tensor_specs.push(output(name, self.state_dtype, (shape, Some(2))));
        }
        if self.z_out {
            tensor_specs.push(output("z_out", Dtype::F32, (sums, Some(2))));
        }
        tensor_specs
    }

    pub(super) fn state_shape(&self) -> Vec<usize> {
        let (tall, wide) = match self.state_layout {
            StateLayout::Kv => (self.key_dim(), self.value_dim),
            StateLayout::Vk => (self.value_dim, self.key_dim()),
        };
        vec![self.states(), self.value_heads, tall, wide]
    }

    /// The operations of the token rule at its cheapest: a state is read once a query and written once a row, and erased once by the delta
    /// rules. Gates and feature maps come on top and are not counted.
    pub(crate) fn work_of(&self) -> Work {
        #[expect(clippy::cast_precision_loss, reason = "a rate is reported with a few digits")]
        let of = |x: usize| x as f64;
        let per_state = 2.0 * of(self.key_dim()) * of(self.value_dim) * of(self.batch * self.value_heads);
        let erased = match self.rule {
            Rule::Add => 0.0,
            Rule::Delta => 1.0,
            Rule::Dplr => 2.0,
        };
        let directions = if self.direction == super::Direction::Both { 2.0 } else { 1.0 };
        let flops =
            directions * per_state * (of(self.len * self.queries()) + of(self.rows()) * (1.0 + erased));
        let bytes: f64 = self
            .all_tensors()
            .iter()
            .map(|tensor_spec| of(tensor_spec.span * tensor_spec.dtype.size_bytes()))
            .sum();
        Work { flops, dense_flops: flops, bytes }
    }
}
