//! A small problem that runs with the shaders of a large one.

use std::sync::Arc;

use crate::{
    check::InputDistribution,
    linear_attention::{Lengths, LinearAttention},
};

impl LinearAttention {
    /// A small problem with the same shaders: what a variant proves itself with. More than one chunk of most variants and an
    /// uneven rest, two heads of keys, NaN where they must not matter.
    pub(crate) fn self_check_problem(&self) -> Self {
        let group = self.group().min(2);
        let query_heads = (self.heads_of_q() != self.heads).then_some(2 * group * self.queries().min(2));
        let len = match self.key_dim() * self.value_dim {
            // Without tokens nothing is prepared, and states are only copied.
            _ if self.len == 0 => 0,
            0..=16_384 => 141,
            // Wide states keep the reference busy, and so do steps.
            _ => 77usize.div_ceil(self.kernel_steps()),
        };
        // Entries within the problem, where those of the large one lie relative to chunks.
        let checkpoint_every = self.checkpoint_every.map(|every| {
            if every >= self.len {
                // One entry, the last state.
                return len.max(1);
            }
            let chunk = 1 << every.trailing_zeros().min(6);
            if chunk < 16 { 9 * chunk } else { chunk }
        });
        Self {
            batch: 1,
            heads: 2,
            query_heads,
            value_heads: 2 * group,
            len,
            checkpoint_every,
            state_window: self.state_window.map(|window| window.min(len)),
            lengths: self.packed().map_or(self.lengths.clone(), |_| Lengths::Packed(3)),
            fill: InputDistribution { nan: true, ..self.fill },
            specialized_for: Some(Arc::new(self.specialized().clone())),
            ..self.clone()
        }
    }
}
