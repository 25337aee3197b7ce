//! Passes over rows of q or k, cut as the kernel's partitions are.

use super::{partition::Partition, passes::Passes};
use crate::{
    Error, PassBinding,
    attention::Attention,
    plan::{builder::Params, partition::ranges, turns::of_loop},
};

impl Attention {
    /// Turns of the search for a row's packed sequence.
    pub(crate) fn turns_of_search(&self, of_keys: bool) -> u64 {
        let packed = if of_keys { &self.cu_seqlens_k } else { &self.cu_seqlens_q };
        if packed.is_some() { of_loop(self.batch.max(1).ilog2() as usize + 1, 0) } else { 0 }
    }
}

/// Heads of q or k in terms of those that a workgroup serves, in which ranges are counted.
pub(crate) fn heads_of_workgroups(spec: &Attention, heads: (usize, usize), of_keys: bool) -> (usize, usize) {
    let pack_gqa = spec.pack_gqa();
    let of_q = |heads: usize| if of_keys { heads * spec.group() } else { heads };
    (of_q(heads.0) / pack_gqa, of_q(heads.1).div_ceil(pack_gqa))
}

impl Passes<'_> {
    /// The rows of all partitions, each once, in pieces of heads, and of at most `max_rows` rows, that a grid and a binding
    /// hold.
    pub(crate) fn row_pieces(
        &self,
        partitions: &[Partition],
        of_keys: bool,
        max_rows: usize,
    ) -> Vec<Partition> {
        let spec = self.spec;
        let limits = &self.plan.adapter.limits;
        let max = limits.max_compute_workgroups_per_dimension as usize;
        // Of a head of keys no more than a binding holds.
        let held = spec.keys_of_binding(limits).filter(|_| of_keys);
        let (mut done, mut pieces): (Vec<Partition>, Vec<Partition>) = Default::default();
        for partition in partitions {
            // Pieces in terms of rows of the tensor: folded heads come apart, and keys are shared by their group.
            let pack_gqa = spec.pack_gqa();
            let heads = (partition.heads.0 * pack_gqa, partition.heads.1 * pack_gqa);
            let part = if of_keys {
                let heads = (heads.0 / spec.group(), (heads.1 - 1) / spec.group() + 1);
                let batch = match (&spec.cu_seqlens_q, &spec.cu_seqlens_k) {
                    (_, Some(_)) => (0, 1),
                    // Packed queries are those of all entries.
                    (Some(_), None) => (0, spec.batch),
                    (None, None) => partition.batch,
                };
                Partition { batch, heads, rows: (0, spec.kv_len), ..*partition }
            } else {
                let rows = if pack_gqa > 1 { (0, spec.q_len) } else { partition.rows };
                Partition { heads, rows, ..*partition }
            };
            if done.contains(&part) {
                continue;
            }
            done.push(part);
            for heads in ranges(part.heads, max) {
                for rows in ranges(part.rows, held.unwrap_or(usize::MAX).min(max_rows)) {
                    let keys = if held.is_some() { rows } else { part.keys };
                    pieces.push(Partition { heads, rows, keys, ..part });
                }
            }
        }
        pieces
    }

    /// The rows of a piece of q or k as they are stored, and where they lie.
    pub(crate) fn bind_rows(
        &self,
        piece: &Partition,
        of_keys: bool,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        let spec = self.spec;
        let heads = heads_of_workgroups(spec, piece.heads, of_keys);
        let rows = if of_keys { (0, 1) } else { piece.rows };
        self.bind_stored(&Partition { heads, rows, ..*piece }, bindings, params)?;
        let name = if of_keys { "k" } else { "q" };
        bindings.retain(|binding| binding.name == spec.variable(name));
        Ok(())
    }
}
