//! Turns that the loops of each kernel's invocations take at most (see [`crate::turns`]): what `shaders/linear_attention` has of
//! loops that the specialiser leaves.

use foveal_shaders::{Request, Value};

use super::{chunks::CHUNK, params::Segments};
use crate::{linear_attention::LinearAttention, plan::turns::of_loop};

/// A tunable of the request's, of those that count something.
fn count(request: &Request, name: &str) -> usize {
    let set = request.tunables.iter().find(|(tunable, _)| tunable == name);
    set.map_or(0, |(_, value)| if let Value::U32(count) = value { *count as usize } else { 0 })
}

impl LinearAttention {
    /// Turns of an invocation of the kernel that is asked for.
    pub(crate) fn loop_turns(&self, request: &Request, segments: Segments) -> u64 {
        let rows = self.len * self.kernel_steps();
        let (key_dim, value_dim) = self.padded();
        // Finding the sequence of a slot.
        let found = match self.packed() {
            Some(sequences) => of_loop(sequences.max(1).ilog2() as usize + 1, 0),
            None => 0,
        };
        // Entries of states on the way that are the last state or the first: all, if a sequence has no tokens.
        let left = of_loop(if self.packed().is_some() { self.checkpoints() } else { 1 }, 0);
        let before = of_loop(self.state_window.unwrap_or(0), 0);
        let slices = |of: usize, inside: u64| of_loop(key_dim.div_ceil(of), inside);
        match request.module.trim_start_matches("linear_attention/") {
            "recurrent" => {
                let (parts, depth, columns) =
                    (count(request, "PARTS"), count(request, "DEPTH"), count(request, "COLUMNS"));
                let staged = if columns > 1 {
                    of_loop((parts * depth / 4).div_ceil((parts * columns).max(1)), 0)
                } else {
                    0
                };
                let replays = request.tunables.iter().any(|(tunable, _)| tunable == "REPLAY");
                let last = self.state_window.unwrap_or(0) * self.kernel_steps() + CHUNK;
                of_loop(if replays { rows.min(last) } else { rows }, staged) + left + before
            }
            "broadcast" => of_loop(rows.div_ceil(count(request, "LANES").max(1)), 0),
            "read" => of_loop(value_dim.div_ceil(64), of_loop(key_dim / 4, 0)),
            "chunk_gates" => found + of_loop(CHUNK, 0),
            "chunk_channel_gates" => found + of_loop(key_dim.div_ceil(64), of_loop(4, 0)),
            "chunk_state" => found + of_loop(CHUNK / 32, 0) + of_loop(4, 0),
            // Products that end at the diagonal, in each slice of rows.
            "chunk_apply" => found + of_loop(CHUNK / 8, of_loop(CHUNK, 0)) + of_loop(4, 0),
            // Of packed sequences, any may have all tokens.
            "chunk_scan" => of_loop(self.chunks(), 0) + left,
            "chunk_scores" => found + slices(16, 2 * of_loop(4, 0)) + 2 * of_loop(4, 0),
            // Products of blocks, and the matrix on its way out.
            "chunk_solve" => {
                found
                    + slices(32, 0)
                    + 2 * of_loop(4, 0)
                    + 2 * of_loop(8, 0)
                    + 8 * of_loop(4, of_loop(CHUNK / 4, 0))
            }
            "chunk_delta" => {
                let slice = count(request, "SLICE").max(1);
                let chunks = if segments.count > 1 { segments.chunks } else { self.chunks() };
                // The rows once for each vector of channels that a thread owns.
                let vectors = key_dim.div_ceil(64) as u64;
                of_loop(chunks, slices(slice, 0) + vectors * of_loop(CHUNK.div_ceil(slice), 0)) + left
            }
            "chunk_join" => slices(32, 0) + of_loop(segments.count, of_loop(key_dim / 4, 2 * of_loop(4, 0))),
            _ => found + slices(16, 0) + of_loop(CHUNK / 32, of_loop(CHUNK, 0)) + of_loop(4, 0),
        }
    }
}

/// Turns of preparing a row of `width` elements, which becomes one of `mapped`, each a product with a column of weights if they
/// are `learned`.
pub(crate) fn of_preprocessing(width: usize, mapped: usize, learned: bool) -> u64 {
    let vectors = mapped.div_ceil(4);
    let product = if learned { 4 * of_loop(width, 0) } else { 0 };
    // Once for the map, and twice more for what divides rows.
    of_loop(vectors, product) + 2 * of_loop(vectors, 0)
}
