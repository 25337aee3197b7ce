//! Which range of which buffer a kernel's tensors are bound to, and where their rows then lie.

use crate::{
    Limits, Strides, TensorSpec,
    linear_attention::{Gate, LinearAttention, Rule},
    plan::partition::{ByteRange, byte_range},
};

/// The part of a problem that is computed together: ranges of batch entries and of value heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) batch: (usize, usize),
    pub(crate) heads: (usize, usize),
}

/// The tensors of states on the way: kernels' variables, and names.
pub(crate) const KEPT: [(&str, &str); 2] = [("checkpoints", "states"), ("window_states", "window_states")];

/// The tensors that a kernel binds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) q: bool,
    pub(crate) k: bool,
    pub(crate) v: bool,
    pub(crate) o: bool,
    pub(crate) gates: bool,
    pub(crate) beta: bool,
    pub(crate) bonus: bool,
    pub(crate) lengths: bool,
}

impl Uses {
    /// Of kernels that follow the rule from token to token.
    pub(crate) fn of_tokens(causal: bool) -> Self {
        Self { q: causal, k: true, v: true, o: causal, gates: true, beta: true, bonus: true, lengths: true }
    }
}

/// The order of a tensor's elements, as far as partitions are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TensorExtent {
    pub(crate) strides: Strides,
    /// Its heads: as many as v has, a multiple, or fewer, each for as many value heads.
    pub(crate) heads: usize,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
}

impl TensorExtent {
    /// From the first element of a partition to before its last.
    fn elements(&self, partition: &Partition, value_heads: usize) -> (usize, usize) {
        let (first, end) = heads_for(self.heads, value_heads, partition);
        let last = end.saturating_sub(1);
        let at = |batch: usize, head: usize| batch * self.strides.batch + head * self.strides.head;
        let rows = self.rows.saturating_sub(1) * self.strides.position;
        (at(partition.batch.0, first), at(partition.batch.1 - 1, last) + rows + self.dim)
    }
}

/// The heads, of `heads` in all, that a partition reads or writes: from the first to before the last.
pub(crate) fn heads_for(heads: usize, value_heads: usize, partition: &Partition) -> (usize, usize) {
    let (first, end) = partition.heads;
    if heads >= value_heads {
        let each = heads / value_heads.max(1);
        (first * each, end * each)
    } else {
        let shared = value_heads / heads.max(1);
        (first / shared, end.div_ceil(shared))
    }
}

impl LinearAttention {
    /// The tensors that grow with batch and heads; others are bound whole.
    pub(crate) fn extent(&self, name: &str) -> Option<TensorExtent> {
        let of = |heads, rows, dim| {
            Some(TensorExtent { strides: self.token_strides(heads, rows, dim), heads, rows, dim })
        };
        let (rows, heads, value_heads) = (self.rows(), self.heads, self.value_heads);
        match name {
            "q" => of(self.heads_of_q(), self.len, self.head_dim),
            "k" | "a" | "b" => of(heads, rows, self.head_dim),
            "v" => of(value_heads, rows, self.value_dim),
            "o" => of(self.heads_of_o(), self.len, self.value_dim),
            "beta" => {
                let (strides, heads) = (self.beta_strides(), self.heads_of_beta());
                Some(TensorExtent { strides, heads, rows, dim: 1 })
            }
            "g" => match self.gate {
                Gate::Vector => of(value_heads, self.len, self.key_dim()),
                Gate::Scalar => of(value_heads, self.len, 1),
                Gate::None | Gate::Constant => None,
            },
            // Packed sequences have more states than batch entries.
            "state_in" | "state_out" if self.packed().is_none() => {
                let size = self.key_dim() * self.value_dim;
                let strides = Strides { batch: self.value_heads * size, head: size, position: 0 };
                Some(TensorExtent { strides, heads: value_heads, rows: 1, dim: size })
            }
            "states" | "window_states" if self.packed().is_none() => {
                let size = self.key_dim() * self.value_dim;
                let rows = if name == "states" { self.checkpoints() } else { self.state_window.unwrap_or(0) };
                let entry = self.value_heads * size;
                let strides = Strides { batch: rows * entry, head: size, position: entry };
                Some(TensorExtent { strides, heads: value_heads, rows, dim: size })
            }
            name if self.erase_key.as_deref() == Some(name) => of(heads, rows, self.head_dim),
            name if self.dt.as_deref() == Some(name) => of(value_heads, rows, 1),
            _ => None,
        }
    }

    /// Sequences of a partition.
    pub(crate) fn sequences_of(&self, partition: &Partition) -> usize {
        self.packed().unwrap_or(partition.batch.1 - partition.batch.0)
    }

    /// The range of a tensor that a partition touches.
    pub(crate) fn range(
        &self,
        tensor_spec: &TensorSpec,
        partition: &Partition,
        limits: &Limits,
    ) -> ByteRange {
        let elements =
            self.extent(&tensor_spec.name).map(|extent| extent.elements(partition, self.value_heads));
        let (first, end) = elements.filter(|_| tensor_spec.span > 0).unwrap_or((0, tensor_spec.span));
        byte_range(first, end, tensor_spec.dtype.size_bytes(), limits)
    }

    /// Storage bindings of a kernel that binds everything the problem has, its inputs each for itself.
    pub(crate) fn direct_bindings(&self) -> usize {
        4 + usize::from(self.gate != Gate::None)
            + usize::from(self.rule == Rule::Delta)
            + [
                self.bonus.is_some(),
                self.state_in,
                self.state_out,
                self.checkpoint_every.is_some(),
                self.state_window.is_some(),
                self.z_in,
                self.z_out,
                self.packed().is_some(),
                self.length_tensor().is_some(),
                self.adds_to_outputs(),
            ]
            .into_iter()
            .filter(|&used| used)
            .count()
    }
}
