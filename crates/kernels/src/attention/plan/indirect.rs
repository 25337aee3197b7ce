//! Dispatching no more than there are queries, where only the device knows how many.

use std::sync::Arc;

use foveal_shaders::Request;

use super::{partition::Partition, passes::Passes};
use crate::{
    Error, plan::builder::u32_params, plan::cost::small, plan::partition::ranges, plan::turns::of_loop,
    spec::storage::storage_module,
};

/// Bytes of an indirect dispatch's arguments: three words.
const BYTES: u64 = 12;

const THREADS: usize = 64;

impl Passes<'_> {
    /// The pass that counts the workgroups of a kernel over the whole problem, and the scratch buffer it leaves them in.
    /// `None` where the plan knows how many there are, or where they follow lists.
    pub(crate) fn count_workgroups(&mut self, partitions: &[Partition]) -> Result<Option<usize>, Error> {
        let spec = self.spec;
        let (Some(lengths), None, [_]) = (&spec.q_lengths, &self.lists, partitions) else { return Ok(None) };
        // The pass that fills the other rows is one dispatch.
        let max = self.plan.adapter.limits.max_compute_workgroups_per_dimension as usize;
        if [spec.q_len.div_ceil(THREADS), spec.q_heads, spec.batch].into_iter().any(|groups| groups > max) {
            return Ok(None);
        }
        let at = self.plan.add_scratch("foveal.attention.extent", BYTES)?;
        let request = Request::new("attention/dispatch_args")
            .tunable("TILE", small(self.taken.schedule.tile_rows))
            .tunable("Q_LENGTHS", true);
        let mut params = self.params([0, 0, 0])?;
        self.bind_tensors(&partitions[0], &mut Vec::new(), &mut params)?;
        params.extend(u32_params([("heads", spec.q_heads), ("batches", spec.batch)])?);
        let bindings = vec![self.plan.scratch("extent", at), self.plan.tensor("q_lengths", lengths)?];
        self.plan.push("extent", &Arc::new(request), bindings, params, [1, 1, 1], of_loop(spec.batch, 0))?;
        Ok(Some(at))
    }

    /// The pass that fills in the rows which no workgroup of the kernel has, as counted at `at`; without a count, all rows.
    pub(crate) fn fill_padding(&mut self, at: Option<usize>, partition: &Partition) -> Result<(), Error> {
        let spec = self.spec;
        let request = Request::new("attention/fill_padding")
            .replace("shared/output", storage_module("output", spec.dtype, spec.aligned()))
            .tunable("VALUE_DIM", small(spec.padded_dims().1))
            .tunable("TILE", small(self.taken.schedule.tile_rows))
            .tunable("WRITE_LSE", spec.lse)
            .tunable("COUNTED", at.is_some())
            .tunable("SINKS", spec.sink_logits.is_some());
        let request = Arc::new(request);
        let pack_gqa = spec.pack_gqa();
        let heads = (partition.heads.0 * pack_gqa, partition.heads.1 * pack_gqa);
        let rows = if pack_gqa > 1 { (0, spec.q_len) } else { partition.rows };
        let max = self.plan.adapter.limits.max_compute_workgroups_per_dimension as usize;
        let turns = of_loop(spec.padded_dims().1 / 4, 0);
        for heads in ranges(heads, max) {
            for rows in ranges(rows, max * THREADS) {
                let mut bindings = Vec::new();
                let mut params = self.params([partition.batch.0, heads.0, rows.0])?;
                params.extend(spec.width_params()?);
                self.bind_tensors(partition, &mut bindings, &mut params)?;
                bindings.retain(|binding| binding.name == "o" || binding.name == "lse");
                bindings.extend(at.map(|at| self.plan.scratch("extent", at)));
                if let Some(sinks) = &spec.sink_logits {
                    bindings.push(self.plan.tensor("sink_logits", sinks)?);
                }
                let groups = [
                    (rows.1 - rows.0).div_ceil(THREADS),
                    heads.1 - heads.0,
                    partition.batch.1 - partition.batch.0,
                ];
                self.plan.push("fill_padding", &request, bindings, params, groups, turns)?;
            }
        }
        Ok(())
    }
}
