//! The passes over keys that all batch entries share.

use std::sync::Arc;

use foveal_shaders::Request;

use super::{
    decode::MIN_KEYS_OF_SPLIT,
    list::variants,
    partition::Partition,
    passes::Passes,
    shared_prefix::SharedPrefix,
    split_kv::{SplitKv, of_part},
    variants::Candidate,
};
use crate::{
    AdapterKind, Error,
    attention::{Attention, spec::MAX_SPLITS},
    operator::Subject,
    plan::{
        builder::set,
        cost::{float, small},
        partition::ranges,
        turns::of_loop,
    },
};

impl Attention {
    /// The problem over the prefix, as variants see it.
    fn over_prefix(&self) -> Self {
        Self { kv_len: self.shared_prefix, over_prefix: true, specialized_for: None, ..self.clone() }
    }

    fn with_all_rows(&self, partition: &Partition) -> Partition {
        Partition { rows: (0, self.rows()), ..*partition }
    }
}

impl Passes<'_> {
    /// Whether and how the prefix is visited once. It is not where a single entry has it, where it is shorter than a block, or where
    /// limits cut a batch entry.
    pub(crate) fn choose_prefix(&self) -> Result<Option<SharedPrefix>, Error> {
        let (specialized, limits) = (self.spec.specialized(), &self.plan.adapter.limits);
        let rest = &self.taken.schedule;
        if specialized.shared_prefix == 0
            || specialized.batch < 2
            || specialized.keys_of_binding(limits).is_some()
        {
            return Ok(None);
        }
        // A dispatch binds all queries of its batch entries.
        let extents = specialized.extents();
        let fits = |partition: &Partition| {
            let queries = extents.iter().filter(|extent| extent.name == "q");
            let sizes = queries
                .map(|q| specialized.range(q, &specialized.with_all_rows(partition), limits).size_bytes);
            sizes.max().is_none_or(|bytes| bytes <= limits.max_storage_buffer_binding_size)
        };
        let room = self.room_for_parts();
        if room < 2 || !specialized.partitions(rest.tile_rows, limits)?.iter().all(fits) {
            return Ok(None);
        }
        let over = specialized.over_prefix();
        let Some(taken) = self.variant_of_prefix(&over) else { return Ok(None) };
        // Both are powers of two.
        let unit = taken.schedule.kv_block.max(rest.kv_block);
        let whole = |keys: usize| keys / unit * unit;
        let (keys, keys_of_specialized) = (whole(self.spec.shared_prefix), whole(specialized.shared_prefix));
        if keys == 0 {
            return Ok(None);
        }
        let blocks = keys / taken.schedule.kv_block;
        let groups = over.workgroups(taken.schedule.tile_rows);
        let on_cpu = self.plan.adapter.kind == AdapterKind::Cpu;
        let least = if on_cpu { 4 * MIN_KEYS_OF_SPLIT } else { MIN_KEYS_OF_SPLIT };
        let by_slots = self.plan.adapter.workgroup_slots().div_ceil(groups.max(1)).min(keys.div_ceil(least));
        let by_turns = match self.plan.adapter.loop_turns {
            None => 1,
            Some(max) => {
                let most = taken.schedule.turns.blocks_within(max.saturating_sub(of_tile(&taken)));
                blocks.div_ceil(most.max(1))
            }
        };
        let wanted = by_slots.max(self.parts_by_time(&taken, float(groups), 1)).max(by_turns);
        // Parts lie along z.
        let most = MAX_SPLITS.min(room - 1).min(limits.max_compute_workgroups_per_dimension as usize);
        let blocks_of_part = blocks.div_ceil(wanted.clamp(1, most.max(1)));
        Ok(Some(SharedPrefix {
            rows: over.rows(),
            keys,
            keys_of_specialized,
            parts: blocks.div_ceil(blocks_of_part),
            keys_of_part: blocks_of_part * taken.schedule.kv_block,
            taken,
        }))
    }

    /// The variant that was asked for, if it serves so many rows, or else the cheapest.
    fn variant_of_prefix(&self, over: &Attention) -> Option<Candidate> {
        let analysis = self.whole.unwrap_or(self.visibility);
        let mut candidates: Vec<Candidate> = variants()
            .into_iter()
            .filter(|variant| !self.refused.contains(variant.info.name))
            .filter_map(|variant| {
                (variant.propose)(Subject { spec: over, analysis }, &self.plan.adapter).ok()
            })
            .collect();
        candidates.sort_by_key(|candidate| {
            (self.wanted.is_some_and(|wanted| wanted != candidate.variant), candidate.cost.time)
        });
        candidates.into_iter().next()
    }

    /// The passes over the prefix, for the batch entries and heads of a partition.
    pub(crate) fn prefix_passes(&mut self, partition: &Partition) -> Result<(), Error> {
        // Those of later rows are done.
        let Some(prefix) = self.prefix.take_if(|_| partition.rows.0 == 0) else { return Ok(()) };
        let done = self.segments.map_or(Ok(()), |segments| self.over_prefix(&prefix, &segments, partition));
        self.prefix = Some(prefix);
        done
    }

    fn over_prefix(
        &mut self,
        prefix: &SharedPrefix,
        segments: &SplitKv,
        partition: &Partition,
    ) -> Result<(), Error> {
        let (spec, taken) = (self.spec, &prefix.taken);
        let evaluates = spec.evaluates(None);
        let request =
            self.visibility.with_hooks(self.request_of_prefix(taken), &spec.table_list(), evaluates);
        let request = Arc::new(request);
        self.plan.other_kernel = (taken.threads, taken.workgroup_bytes);
        let partition = &spec.with_all_rows(partition);
        let (first, end) = partition.batch;
        let tiles = ((end - first) * spec.rows()).div_ceil(taken.schedule.tile_rows);
        let heads = partition.heads.1 - partition.heads.0;
        let turns = taken.schedule.turns.with_blocks(prefix.keys_of_part / taken.schedule.kv_block);
        for (from, to) in ranges((0, tiles), self.plan.max_workgroups(1)?) {
            let mut bindings = Vec::new();
            let first_row = from * taken.schedule.tile_rows;
            let mut params = spec.params(None, [first, partition.heads.0 * spec.pack_gqa(), first_row])?;
            params.extend(spec.width_params()?);
            self.bind_tensors(partition, &mut bindings, &mut params)?;
            if let Some(at) = self.at.norms {
                bindings.push(self.plan.scratch("inverse_norms", at));
            }
            segments.bind_parts(0, &self.plan, &mut bindings, &mut params)?;
            if let Some(tensor) = spec.head_scale() {
                bindings.push(self.plan.tensor("head_scale", tensor)?);
            }
            self.bind_entry_tables(&mut bindings, &mut params)?;
            self.bind_tables(evaluates, &mut bindings, &mut params)?;
            for (field, value) in [
                ("list_tiles", to - from),
                ("entries", end - first),
                ("prefix", prefix.keys),
                ("keys_of_part", prefix.keys_of_part),
                ("o_of_part", segments.rows * segments.width),
                ("lse_of_part", segments.rows),
            ] {
                set(&mut params, field, value)?;
            }
            let workgroups = [to - from, heads, prefix.parts];
            self.plan.push(
                "shared_prefix",
                &request,
                bindings,
                params,
                workgroups,
                turns + of_tile(taken),
            )?;
        }
        Ok(())
    }

    fn request_of_prefix(&self, taken: &Candidate) -> Request {
        let evaluates = self.spec.evaluates(None);
        let request = taken
            .schedule
            .request
            .clone()
            .tunable("SHARED_PREFIX", true)
            .tunable("LISTS", false)
            .tunable("ZIGZAG", false)
            .tunable("TOKEN_ORDER", false)
            .tunable("ELEMENT_BITS", false)
            .tunable("KV_BLOCK", small(taken.schedule.kv_block))
            .tunable("TILE", small(taken.schedule.tile_rows))
            .tunable("MASK_MOD", evaluates.mask)
            .tunable("SCORE_MOD", evaluates.score);
        of_part(if self.at.gathered.is_some() { request.tunable("GATHERED", true) } else { request })
    }
}

/// Turns of the loop over a tile's rows that finds which keys they see.
fn of_tile(taken: &Candidate) -> u64 {
    of_loop(taken.schedule.tile_rows, 0)
}
