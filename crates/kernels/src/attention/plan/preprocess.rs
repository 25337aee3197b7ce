//! The passes that come before the kernel: norms, and lists that the device makes or cuts.

use std::sync::Arc;

use foveal_shaders::Request;

use super::{block_schedule::Layout, hooks::Evaluates, partition::Partition, passes::Passes};
use crate::{
    Error, PassBinding,
    attention::{DeviceBlockMask, layout::Tensor},
    plan::{
        builder::{Params, u32_params},
        cost::small,
        turns::of_loop,
    },
};

/// Threads of a workgroup.
const THREADS: usize = 64;

impl Passes<'_> {
    /// One over the norms of all rows of q and k.
    pub(crate) fn norms(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        let spec = self.spec;
        let keys = if spec.cu_seqlens_k.is_some() { 1 } else { spec.batch };
        let rows =
            spec.stored_batch(Tensor::Q) * spec.q_heads * spec.q_len + keys * spec.kv_heads * spec.kv_len;
        let at = self.plan.add_scratch("foveal.attention.norms", 4 * rows as u64)?;
        self.at.norms = Some(at);
        for of_keys in [false, true] {
            let request = Arc::new(spec.norms_request(of_keys));
            let max = self.plan.adapter.limits.max_compute_workgroups_per_dimension as usize;
            for piece in self.row_pieces(partitions, of_keys, max * THREADS) {
                let mut bindings = Vec::new();
                let mut params = self.params([piece.batch.0, piece.heads.0, piece.rows.0])?;
                params.extend(spec.width_params()?);
                self.bind_rows(&piece, of_keys, &mut bindings, &mut params)?;
                if of_keys {
                    self.bind_keys(&mut bindings)?;
                } else {
                    self.bind_queries(&mut bindings)?;
                }
                bindings.push(self.plan.scratch("norms", at));
                let groups = (piece.rows.1 - piece.rows.0).div_ceil(THREADS);
                let workgroups = [groups, piece.heads.1 - piece.heads.0, piece.batch.1 - piece.batch.0];
                let turns = of_loop(spec.padded_dims().0 / 4, 0) + spec.turns_of_search(of_keys);
                self.plan.push("norms", &request, bindings, params, workgroups, turns)?;
            }
        }
        Ok(())
    }

    /// The pass that cuts the caller's lists for the kernel's tiles.
    pub(crate) fn cut_lists(&mut self, listed: &DeviceBlockMask) -> Result<(), Error> {
        let (Some(lists), Some(at)) = (&self.lists, self.at.lists) else { return Ok(()) };
        let layout = lists.layout;
        let (rows, keys) = (self.taken.schedule.tile_rows, self.taken.schedule.kv_block);
        let tested = self.spec.evaluates(Some(lists)).mask;
        let request = Arc::new(Request::new("attention/device_block_mask").tunable("TESTED", tested));
        let mut params = self.list_params(&layout)?;
        params.extend(u32_params([
            ("max", listed.max_blocks),
            ("tiles", listed.q_block / rows),
            ("blocks", listed.kv_block / keys),
            ("q_blocks", self.spec.q_len.div_ceil(listed.q_block)),
            ("given_kv_blocks", self.spec.kv_len.div_ceil(listed.kv_block)),
        ])?);
        let made = PassBinding { size_bytes: lists.size_bytes(), ..self.plan.scratch("made", at) };
        let bindings = vec![
            made,
            self.plan.tensor("counts", &listed.num_blocks)?,
            self.plan.tensor("indices", &listed.indices)?,
        ];
        let max = self.plan.adapter.limits.max_compute_workgroups_per_dimension as usize;
        let groups = [1, layout.count().min(max), layout.count().div_ceil(max)];
        let turns = of_loop(layout.kv_blocks.div_ceil(THREADS), 0);
        self.plan.push("listed", &request, bindings, params, groups, turns)?;
        Ok(())
    }

    /// The parameters of passes that make lists.
    fn list_params(&self, layout: &Layout) -> Result<Params, Error> {
        let mut params = self.params([0, 0, 0])?;
        let partition = Partition {
            batch: (0, self.spec.batch),
            heads: (0, self.spec.q_heads),
            rows: (0, self.spec.q_len),
            keys: self.spec.stored_keys(),
        };
        self.bind_tensors(&partition, &mut Vec::new(), &mut params)?;
        params.extend(u32_params([
            ("lists", layout.count()),
            (
                "row",
                layout.count().min(self.plan.adapter.limits.max_compute_workgroups_per_dimension as usize),
            ),
            ("kv_blocks", layout.kv_blocks),
            ("classes_at", layout.classes_at),
        ])?);
        Ok(params)
    }

    /// The passes that make lists of a mask that only the device knows.
    pub(crate) fn make_lists(&mut self) -> Result<(), Error> {
        let (Some(lists), Some(at)) = (&self.lists, self.at.lists) else { return Ok(()) };
        let layout = lists.layout;
        let evaluates = Evaluates { mask: true, score: false };
        let visibility = self.visibility;
        let of_lengths = visibility.mask.as_ref().is_some_and(|mask| mask.depends_on_lengths(visibility.own));
        let tables = self.spec.table_list();
        let max = self.plan.adapter.limits.max_compute_workgroups_per_dimension as usize;
        let (y, z) = (layout.count().min(max), layout.count().div_ceil(max));
        for (pass, wide, asks) in [("classify", true, true), ("compact", false, false), ("bits", true, true)]
        {
            if pass == "bits" && layout.block_words == 0 {
                continue;
            }
            let mut request = Request::new(format!("attention/{pass}"));
            if asks {
                request = request
                    .tunable("TILE", small(self.taken.schedule.tile_rows))
                    .tunable("KV_BLOCK", small(self.taken.schedule.kv_block));
                if of_lengths {
                    request = request
                        .tunable("Q_LENGTHS", self.spec.q_lengths.is_some())
                        .tunable("KV_LENGTHS", self.spec.kv_lengths.is_some());
                }
                request = self.visibility.with_hooks(request, &tables, evaluates);
            }
            let mut params = self.list_params(&layout)?;
            let mut bindings = Vec::new();
            if asks {
                self.bind_tables(evaluates, &mut bindings, &mut params)?;
                if of_lengths {
                    self.bind_lengths(&mut bindings)?;
                }
            }
            let bytes =
                4 * (layout.bits_at + (layout.count() * layout.kv_blocks + 1) * layout.block_words) as u64;
            bindings.push(PassBinding { size_bytes: bytes, ..self.plan.scratch("made", at) });
            let x = if wide { layout.kv_blocks } else { 1 };
            let area = self.taken.schedule.tile_rows * self.taken.schedule.kv_block;
            let turns = match pass {
                "classify" => of_loop((area / 4).div_ceil(THREADS), 0),
                "bits" => of_loop((area / 32).div_ceil(THREADS), of_loop(8, 0)),
                _ => {
                    2 * of_loop(layout.kv_blocks.div_ceil(THREADS), 0) + of_loop(THREADS.ilog2() as usize, 0)
                }
            };
            self.plan.push(pass, &Arc::new(request), bindings, params, [x, y, z], turns)?;
        }
        Ok(())
    }
}
