//! Splitting a tile's keys among several workgroups, and combining their results.

use std::sync::Arc;

use foveal_shaders::Request;

use super::{
    block_schedule::BlockSchedule, partition::Partition, passes::Passes, split_kv::SplitKv,
    variants::Candidate,
};
use crate::{
    Error, PassBinding, Strides,
    attention::{layout::Tensor, spec::MAX_SPLITS},
    combine::Merge,
    plan::{
        builder::Params,
        cost::{self, float, small},
        turns,
    },
    spec::storage::storage_module,
};

impl Passes<'_> {
    /// Blocks of keys that a tile visits at most, in all segments together.
    fn blocks(&self) -> usize {
        let keys = self.spec.kv_len - self.shared_keys();
        self.lists.as_ref().map_or(keys.div_ceil(self.taken.schedule.kv_block), BlockSchedule::longest)
    }

    /// Keys that are visited for all batch entries at once.
    fn shared_keys(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.keys)
    }

    /// The same of the problem that tiles are chosen for; no matter how many they are if there are no more than `few`.
    fn blocks_of_sized(&self, few: usize) -> Result<usize, Error> {
        let Some(visibility) = self.whole else { return Ok(self.blocks()) };
        let specialized = self.spec.specialized();
        let shared = self.prefix.as_ref().map_or(0, |prefix| prefix.keys_of_specialized);
        let all = (specialized.kv_len - shared).div_ceil(self.taken.schedule.kv_block);
        if all <= few {
            return Ok(all);
        }
        let lists = specialized.choose_lists(self.taken, visibility, &self.plan.adapter.limits)?;
        Ok(lists.as_ref().map_or(all, BlockSchedule::longest))
    }

    /// The keys that a dispatch of segments binds: all, or those that it visits where a binding holds no more.
    pub(crate) fn keys_of_dispatch(&self, dispatch: usize) -> (usize, usize) {
        let all = self.spec.stored_keys();
        match (self.spec.keys_of_binding(&self.plan.adapter.limits), self.segments) {
            (Some(_), Some(segments)) => {
                let first = (dispatch * segments.keys).min(all.1 - 1);
                (first, (first + segments.keys).min(all.1))
            }
            _ => all,
        }
    }

    /// Blocks that a segment may have.
    fn max_blocks(&self) -> Result<usize, Error> {
        Ok(self.blocks_of_turns()?.min(self.blocks_of_binding()))
    }

    /// Blocks of keys that a binding holds.
    fn blocks_of_binding(&self) -> usize {
        let keys = self.spec.specialized().keys_of_binding(&self.plan.adapter.limits);
        keys.map_or(usize::MAX, |keys| keys / self.taken.schedule.kv_block)
    }

    /// Blocks after which a driver would end the loops.
    fn blocks_of_turns(&self) -> Result<usize, Error> {
        let Some(max) = self.plan.adapter.loop_turns else { return Ok(usize::MAX) };
        let turns = self.taken.schedule.turns;
        match turns.blocks_within(max) {
            0 => Err(turns::too_many(self.taken.variant, turns.with_blocks(1), max)),
            blocks => Ok(blocks),
        }
    }

    /// Blocks that a dispatch of the kernel visits at most.
    pub(crate) fn blocks_of_segment(&self) -> usize {
        self.segments.map_or_else(|| self.blocks(), |segments| segments.blocks)
    }

    /// As many segments as make a workgroup's time what the caller asked for, by the estimate.
    fn segments_by_time(&self) -> usize {
        let (specialized, taken) = (self.spec.specialized(), self.taken);
        let groups = float(specialized.workgroups(taken.schedule.tile_rows));
        // The estimate is one with splits, where they lie in the grid.
        let splits = if taken.schedule.splits_in_grid {
            specialized.splits_of(&self.plan.adapter, specialized.kv_len, taken.schedule.tile_rows)
        } else {
            1
        };
        self.parts_by_time(taken, groups, splits)
    }

    /// As many parts as make a workgroup's time what the caller asked for, by the estimate of so many workgroups in so many splits.
    pub(crate) fn parts_by_time(&self, taken: &Candidate, groups: f64, splits: usize) -> usize {
        let Some(longest) = self.workgroup_time else { return 1 };
        let of_one = taken.cost.time.as_secs_f64()
            * cost::parallel(groups * float(splits), &self.plan.adapter)
            / groups.max(1.0);
        let wanted = (of_one / longest.as_secs_f64().max(1e-9)).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and bounded")]
        let wanted = wanted.clamp(1.0, MAX_SPLITS as f64) as usize;
        wanted
    }

    /// As many segments as the caller asked for, or else as their time and the adapter's workgroups ask for.
    fn wanted_splits(&self, by_time: usize) -> Result<usize, Error> {
        let (specialized, taken) = (self.spec.specialized(), self.taken);
        if specialized.splits.is_none() && !taken.schedule.splits_in_grid {
            return Ok(by_time);
        }
        let keys = self.blocks_of_sized(0)?.saturating_mul(taken.schedule.kv_block).min(specialized.kv_len);
        let splits = specialized.splits_of(&self.plan.adapter, keys, taken.schedule.tile_rows);
        Ok(if specialized.splits.is_some() { splits } else { splits.max(by_time) })
    }

    /// As many segments as keep a workgroup's time below what the caller asked for, by the estimate, and its loops below what the
    /// driver lets them take.
    pub(crate) fn choose_split_kv(&mut self) -> Result<Option<SplitKv>, Error> {
        let (spec, taken) = (self.spec, self.taken);
        // Whether there are segments is part of the shaders, and so a matter of the problem that tiles are chosen for.
        let specialized = spec.specialized();
        let in_grid = taken.schedule.splits_in_grid;
        let by_time = self.segments_by_time();
        let wanted = self.wanted_splits(by_time)?;
        // The first of splits in the grid have a part of a block more.
        let max_blocks = self.max_blocks()?;
        let max_blocks =
            if in_grid && max_blocks < usize::MAX { (max_blocks - 1).max(1) } else { max_blocks };
        // A grid's splits are of what a dispatch binds.
        let dispatches = match self.blocks_of_binding() {
            blocks if in_grid && blocks < usize::MAX => self.blocks_of_sized(blocks)?.div_ceil(blocks),
            _ => 1,
        };
        let by_turns = match max_blocks {
            usize::MAX => 1,
            _ => self.blocks_of_sized(max_blocks)?.div_ceil(max_blocks),
        };
        let by_turns = by_turns.next_multiple_of(dispatches);
        let prefix_parts = self.prefix.as_ref().map_or(0, |prefix| prefix.parts);
        if wanted <= 1 && by_turns <= 1 && prefix_parts == 0 {
            return Ok(None);
        }
        let room = self.room_for_parts() - prefix_parts;
        if by_turns > 1 && room < by_turns {
            let message = format!(
                "its keys have to be visited in {by_turns} segments, for bindings to hold them and for its loops to stay below what \
                 this adapter's driver lets them take, and a binding holds the results of {room}"
            );
            return Err(Error::limit(turns::ARGUMENT, message));
        }
        if let Some(splits) = specialized.splits.filter(|&splits| splits > room) {
            let message = format!("a binding holds the results of {room} splits, {splits} are asked for");
            return Err(Error::limit("splits", message));
        }
        if room < 2 && prefix_parts == 0 {
            return Ok(None);
        }
        let blocks = self.blocks();
        let wanted = (wanted.min(MAX_SPLITS).max(by_turns).min(room) / dispatches).max(1) * dispatches;
        // One that stands in for a large problem has segments too.
        let blocks_of_each = blocks.div_ceil(wanted).clamp(1, max_blocks);
        let (count, dispatches, blocks_of_dispatch, blocks_of_each) = if in_grid {
            (wanted, dispatches, blocks.div_ceil(dispatches).max(1), blocks.div_ceil(wanted) + 1)
        } else {
            let count = blocks.div_ceil(blocks_of_each).max(1);
            (count, count, blocks_of_each, blocks_of_each)
        };
        let width = spec.padded_dims().1;
        let rows_of_batch = spec.q_heads * spec.q_len;
        let rows = spec.stored_batch(Tensor::Q) * rows_of_batch;
        let bytes = |elements: usize| 4 * ((prefix_parts + count) * rows * elements) as u64;
        Ok(Some(SplitKv {
            count,
            prefix_parts,
            prefix: self.shared_keys(),
            dispatches,
            keys_of_split: if specialized.splits_by_size(&self.plan.adapter) {
                blocks_of_dispatch.div_ceil(count / dispatches) * taken.schedule.kv_block
            } else {
                0
            },
            keys: blocks_of_dispatch * taken.schedule.kv_block,
            blocks: blocks_of_each,
            q_len: spec.q_len,
            rows_of_batch,
            rows,
            width,
            parts: self.plan.add_scratch("foveal.attention.parts", bytes(width))?,
            lse: self.plan.add_scratch("foveal.attention.part_lse", bytes(1))?,
            in_grid,
        }))
    }

    /// As many parts as there is room for the results of, in the problem that tiles are chosen for.
    pub(crate) fn room_for_parts(&self) -> usize {
        let specialized = self.spec.specialized();
        let bytes_of_each = 4
            * (specialized.stored_batch(Tensor::Q)
                * specialized.q_heads
                * specialized.q_len
                * specialized.padded_dims().1) as u64;
        let room = self.plan.adapter.limits.max_storage_buffer_binding_size.min(4 * u64::from(u32::MAX));
        usize::try_from(room / bytes_of_each.max(1)).unwrap_or(usize::MAX)
    }

    /// The passes that merge a partition's segments.
    pub(crate) fn combine(&mut self, partition: &Partition) -> Result<(), Error> {
        let Some(segments) = self.segments else { return Ok(()) };
        let (spec, pack_gqa) = (self.spec, self.spec.pack_gqa());
        let request = Request::new("combine/combine")
            .replace("shared/inputs", "shared/inputs_f32x4")
            .replace("shared/output", storage_module("output", spec.dtype, spec.aligned()))
            .tunable("VALUE_DIM", small(segments.width))
            .tunable("WRITE_LSE", spec.lse)
            .tunable("SINKS", spec.sink_logits.is_some());
        let lanes =
            if segments.in_grid { (segments.width / 4).clamp(1, 64).next_power_of_two().min(64) } else { 1 };
        let request = if lanes > 1 { request.tunable("LANES", small(lanes)) } else { request };
        let mut bindings =
            vec![self.plan.scratch("v", segments.parts), self.plan.scratch("lse_parts", segments.lse)];
        bindings.extend(self.bind_outputs(partition)?);
        if let Some(sinks) = &spec.sink_logits {
            bindings.push(self.plan.tensor("sink_logits", sinks)?);
        }
        let [o, lse] = segments.strides();
        let [lse_base, lse_batch, lse_head, _] = self.place("lse", partition);
        let merge = Merge {
            request: Arc::new(request),
            parts: segments.all_parts(),
            len: spec.q_len,
            width: segments.width,
            lanes,
            bindings,
            o_parts: [segments.rows * segments.width, o.batch, o.head, o.position],
            lse_parts: [segments.rows, lse.batch, lse.head],
            o: self.place("o", partition),
            lse: [lse_base, lse_batch, lse_head],
            widths: spec.width_params()?,
        };
        let heads = (partition.heads.0 * pack_gqa, partition.heads.1 * pack_gqa);
        let rows = if pack_gqa > 1 { (0, spec.q_len) } else { partition.rows };
        merge.dispatch(&mut self.plan, [partition.batch, heads, rows])
    }

    /// Where an output begins relative to what is bound of it, and its strides; zeros if it is not asked for.
    fn place(&self, name: &str, partition: &Partition) -> [usize; 4] {
        let extents = self.spec.extents();
        let Some(extent) = extents.iter().find(|extent| extent.name == name) else { return [0; 4] };
        let base = self.spec.range(extent, partition, &self.plan.adapter.limits).base;
        let Strides { batch, head, position } = extent.strides;
        [base as usize, batch, head, position]
    }

    /// The bindings of o and lse.
    fn bind_outputs(&self, partition: &Partition) -> Result<Vec<PassBinding>, Error> {
        let mut bindings = Vec::new();
        self.bind_tensors(partition, &mut bindings, &mut Params::new())?;
        bindings.retain(|binding| binding.name == "o" || binding.name == "lse");
        Ok(bindings)
    }
}
