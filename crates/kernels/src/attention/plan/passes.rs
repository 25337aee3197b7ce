//! The passes of a plan: norms, turned rows and lists where they are needed, then the kernel, over as many dispatches as limits ask for.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use foveal_shaders::Request;

use super::{
    block_schedule::{BlockSchedule, Run},
    hooks::Evaluates,
    mask_program::MaskProgram,
    partition::Partition,
    shared_prefix::SharedPrefix,
    split_kv::SplitKv,
    tile_scheduler::TileScheduler,
    variants::Candidate,
};
use crate::{
    BoundTo, Constraints, Error, Limits, PassBinding,
    attention::Attention,
    block_mask::Test,
    plan::{
        builder::{Params, PlanBuilder, set, u32_params},
        cost::small,
    },
};

/// Where scratch lies, as passes refer to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScratchAt {
    pub(crate) lists: Option<usize>,
    pub(crate) norms: Option<usize>,
    /// Turned rows of q, and of k.
    pub(crate) turned: [Option<usize>; 2],
    pub(crate) gathered: Option<usize>,
    pub(crate) packed: Option<usize>,
}

/// The scratch that holds turned rows of q, and of k.
pub(crate) const TURNED: [&str; 2] = ["foveal.attention.q_turned", "foveal.attention.k_turned"];

/// The context that all passes of a plan share.
pub(crate) struct Passes<'a> {
    pub(crate) spec: &'a Attention,
    pub(crate) visibility: &'a MaskProgram<'a>,
    pub(crate) taken: &'a Candidate,
    pub(crate) plan: PlanBuilder,
    pub(crate) lists: Option<BlockSchedule>,
    /// Of a problem that stands in for another: what that one's tiles see.
    pub(crate) whole: Option<&'a MaskProgram<'a>>,
    pub(crate) at: ScratchAt,
    /// The keys are split, and each part's results merged.
    pub(crate) segments: Option<SplitKv>,
    /// The keys that are visited for all batch entries at once.
    pub(crate) prefix: Option<SharedPrefix>,
    /// The longest time that a workgroup should take.
    pub(crate) workgroup_time: Option<Duration>,
    /// Which variant was asked for, and which ones are never taken.
    pub(crate) wanted: Option<&'a str>,
    pub(crate) refused: &'a BTreeSet<String>,
}

impl Attention {
    pub(crate) fn passes_of<'a>(
        &'a self,
        taken: &'a Candidate,
        [visibility, specialized]: [&'a MaskProgram<'a>; 2],
        constraints: &'a Constraints,
        plan: &PlanBuilder,
    ) -> Result<PlanBuilder, Error> {
        let passes = |lists| Passes {
            spec: self,
            visibility,
            taken,
            plan: plan.clone(),
            lists,
            whole: self.specialized_for.is_some().then_some(specialized),
            at: ScratchAt::default(),
            segments: None,
            prefix: None,
            workgroup_time: constraints.workgroup_time,
            wanted: constraints.variant.as_deref(),
            refused: &constraints.refused,
        };
        if self.kv_len == 0 {
            return passes(None).without_keys();
        }
        if self.q_len == 0 {
            return Ok(plan.clone());
        }
        let limits = &plan.adapter.limits;
        let made = passes(self.choose_lists(taken, visibility, limits)?).all()?;
        let largest = limits.max_storage_buffer_binding_size;
        // How long the orders of work are shows only when the partitions are cut.
        // Turned rows are bound in parts.
        let mut whole = made.scratch.iter().filter(|scratch| !TURNED.contains(&scratch.name));
        match whole.find(|scratch| scratch.bytes > largest) {
            None => Ok(made),
            Some(_) if !self.is_block_sparse() => passes(None).all(),
            Some(scratch) => {
                let message =
                    format!("{} needs {} bytes, the adapter allows {largest}", scratch.name, scratch.bytes);
                Err(Error::limit("max_storage_buffer_binding_size", message))
            }
        }
    }

    /// Which expressions the kernel itself evaluates.
    pub(crate) fn evaluates(&self, lists: Option<&BlockSchedule>) -> Evaluates {
        let in_bits = lists.is_some_and(|lists| lists.made_by_device() && lists.layout.block_words > 0);
        // Bits of the caller's have the last word.
        let decided = self.host_blocks().is_some_and(|blocks| blocks.test() == Test::Bits);
        let mask = self.effective_mask().expression().is_some() && !in_bits && !decided;
        Evaluates { mask, score: self.score.is_some() }
    }

    /// Storage bindings of the kernel without lists, and without the small tensors of batch entries.
    fn other_bindings(&self, visibility: &MaskProgram<'_>, evaluates: Evaluates) -> usize {
        4 + usize::from(self.lse)
            + usize::from(self.head_scale().is_some())
            + usize::from(self.sink_logits.is_some())
            + usize::from(self.qk_norm.is_some())
            + visibility.tables_of(evaluates).len()
    }

    /// Whether the small tensors are gathered into one.
    fn gathers_tables(&self, visibility: &MaskProgram<'_>, evaluates: Evaluates, limits: &Limits) -> bool {
        // Lists that a caller gave are bound in any case.
        let lists = usize::from(self.is_block_sparse());
        self.gathers(self.other_bindings(visibility, evaluates) + lists, limits)
    }

    /// Storage bindings of the kernel without lists.
    pub(crate) fn storage_bindings(
        &self,
        visibility: &MaskProgram<'_>,
        evaluates: Evaluates,
        limits: &Limits,
    ) -> usize {
        let gathers = self.gathers_tables(visibility, evaluates, limits);
        let tables = if gathers { 1 } else { self.entry_tables().len() };
        self.other_bindings(visibility, evaluates) + tables
    }
}

impl<'a> Passes<'a> {
    /// The passes without keys: rows that see nothing are filled in.
    fn without_keys(mut self) -> Result<PlanBuilder, Error> {
        self.plan.runs_kernel = false;
        if self.spec.q_len > 0 {
            for partition in self.spec.partitions(self.taken.schedule.tile_rows, &self.plan.adapter.limits)? {
                self.fill_padding(None, &partition)?;
            }
        }
        Ok(self.plan)
    }

    /// All passes of a problem with queries and keys.
    fn all(mut self) -> Result<PlanBuilder, Error> {
        let partitions = self.spec.partitions(self.taken.schedule.tile_rows, &self.plan.adapter.limits)?;
        if self.spec.qk_norm.is_some() {
            self.norms(&partitions)?;
        }
        self.rotate(&partitions)?;
        if self.lists.is_some() {
            self.at.lists = Some(self.plan.add_scratch("foveal.attention.lists", 0)?);
        }
        match self.spec.device_blocks() {
            Some(listed) if self.lists.is_some() => self.cut_lists(listed)?,
            _ if self.lists.as_ref().is_some_and(BlockSchedule::made_by_device) => self.make_lists()?,
            _ => {}
        }
        self.prefix = self.choose_prefix()?;
        self.segments = self.choose_split_kv()?;
        self.pack()?;
        self.kernel(&partitions)?;
        if let Some(segments) = &self.segments {
            self.plan.notes.push(("segments of keys".to_owned(), segments.count.to_string()));
        }
        if self.spec.shared_prefix > 0 {
            let note = self.prefix.as_ref().map_or_else(|| "none".to_owned(), SharedPrefix::describe);
            self.plan.notes.push(("shared keys".to_owned(), note));
        }
        if let (Some(lists), Some(at)) = (self.lists.take(), self.at.lists) {
            self.plan.notes.push(("lists of blocks".to_owned(), lists.describe()));
            self.plan.scratch[at] = lists.into_scratch();
        }
        Ok(self.plan)
    }

    /// The kernel, partition by partition.
    fn kernel(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        let (spec, taken) = (self.spec, self.taken);
        let evaluates = spec.evaluates(self.lists.as_ref());
        if spec.gathers_tables(self.visibility, evaluates, &self.plan.adapter.limits) {
            self.gather_tables()?;
        }
        let tables = spec.table_list();
        let bits = self.lists.as_ref().is_some_and(|lists| lists.layout.block_words > 0);
        let request = taken
            .schedule
            .request
            .clone()
            .tunable("LISTS", self.lists.is_some())
            .tunable("ZIGZAG", self.lists.is_none() && self.zigzag())
            .tunable("TOKEN_ORDER", self.lists.as_ref().is_some_and(|lists| lists.layout.reordered))
            .tunable("ELEMENT_BITS", bits)
            .tunable("KV_BLOCK", small(taken.schedule.kv_block))
            .tunable("TILE", small(taken.schedule.tile_rows))
            .tunable("MASK_MOD", evaluates.mask)
            .tunable("SCORE_MOD", evaluates.score);
        let request = if self.at.gathered.is_some() { request.tunable("GATHERED", true) } else { request };
        let request = match &self.segments {
            Some(segments) => spec.with_split_kv(request, segments),
            None => request,
        };
        let request = Arc::new(self.visibility.with_hooks(request, &tables, evaluates));
        let limits = &self.plan.adapter.limits;
        let count =
            spec.storage_bindings(self.visibility, evaluates, limits) + usize::from(self.lists.is_some());
        let max = self.plan.adapter.limits.max_compute_workgroups_per_dimension;
        if count > self.plan.adapter.limits.max_storage_buffers_per_shader_stage as usize {
            return Err(Error::limit(
                "max_storage_buffers_per_shader_stage",
                format!(
                    "{count} are needed ({} tables among them), the adapter allows {}",
                    self.visibility.tables_of(evaluates).len(),
                    self.plan.adapter.limits.max_storage_buffers_per_shader_stage
                ),
            ));
        }
        let splits = self.splits_in_grid();
        // The device counts tiles, and not what they are split into.
        let extent = if splits > 1 { None } else { self.count_workgroups(partitions)? };
        for partition in partitions {
            let pack_gqa = spec.pack_gqa();
            let (batches, heads) =
                (partition.batch.1 - partition.batch.0, partition.heads.1 - partition.heads.0);
            let Some(lists) = &mut self.lists else {
                let tiles = spec.tiles_of(partition.rows, taken.schedule.tile_rows);
                let firsts = (partition.batch.0, partition.heads.0 * pack_gqa, partition.rows.0);
                let first = self.plan.passes.len();
                self.main_passes(&request, partition, evaluates, firsts, None, [tiles, heads, batches])?;
                self.plan.passes[first..].iter_mut().for_each(|pass| pass.indirect = extent);
                self.prefix_passes(partition)?;
                self.combine(partition)?;
                if let Some(at) = extent {
                    self.fill_padding(Some(at), partition)?;
                }
                continue;
            };
            let layout = lists.layout;
            // Lists of their own carry the batch entry, the head and the tile; shared ones are counted from the partition's.
            let (first_batch, batches) = if layout.batch > 1 { (0, 1) } else { (partition.batch.0, batches) };
            let (first_head, heads) =
                if layout.heads > 1 { (0, 1) } else { (partition.heads.0 * pack_gqa, heads) };
            for run in lists.runs(
                partition,
                taken.schedule.tile_rows,
                (max as usize / splits).max(1),
                TileScheduler::of(self.plan.adapter.kind),
            ) {
                let workgroups = [run.count, heads, batches];
                self.main_passes(
                    &request,
                    partition,
                    evaluates,
                    (first_batch, first_head, 0),
                    Some(run),
                    workgroups,
                )?;
            }
            self.combine(partition)?;
        }
        let Some(at) = self.at.lists else { return Ok(()) };
        // Only now is it known how long the orders of work are.
        let bytes = self.lists.as_ref().map_or(0, BlockSchedule::size_bytes);
        let of_lists = |binding: &&mut PassBinding| binding.source == BoundTo::Scratch(at);
        for binding in self.plan.passes.iter_mut().flat_map(|pass| &mut pass.bindings).filter(of_lists) {
            binding.size_bytes = bytes;
        }
        Ok(())
    }

    /// The kernel over a partition: at once, or a dispatch for each segment of the keys.
    fn main_passes(
        &mut self,
        request: &Arc<Request>,
        partition: &Partition,
        evaluates: Evaluates,
        firsts: (usize, usize, usize),
        run: Option<Run>,
        workgroups: [usize; 3],
    ) -> Result<(), Error> {
        let count = self.segments.map_or(1, |segments| segments.dispatches);
        (0..count).try_for_each(|segment| {
            self.main_pass(request, partition, evaluates, firsts, run, segment, workgroups)
        })
    }

    #[expect(clippy::too_many_arguments, reason = "what a dispatch is made of")]
    fn main_pass(
        &mut self,
        request: &Arc<Request>,
        partition: &Partition,
        evaluates: Evaluates,
        (first_batch, first_head, first_row): (usize, usize, usize),
        run: Option<Run>,
        segment: usize,
        workgroups: [usize; 3],
    ) -> Result<(), Error> {
        let spec = self.spec;
        let partition = &Partition { keys: self.keys_of_dispatch(segment), ..*partition };
        let mut bindings = Vec::new();
        let mut params = self.params([first_batch, first_head, first_row])?;
        params.extend(spec.width_params()?);
        self.bind_tensors(partition, &mut bindings, &mut params)?;
        self.bind_packed(&mut bindings);
        match run {
            Some(run) => set(&mut params, "order_at", run.order_at)?,
            None => set(&mut params, "list_tiles", workgroups[0])?,
        }
        if let Some(at) = self.at.lists {
            bindings.push(self.plan.scratch("lists", at));
        }
        if let Some(at) = self.at.norms {
            bindings.push(self.plan.scratch("inverse_norms", at));
        }
        if let Some(segments) = &self.segments {
            segments.bind(segment, &self.plan, &mut bindings, &mut params)?;
        }
        // Sinks enter the denominators once: merging adds them.
        let sinks = spec.sink_logits.as_ref().filter(|_| self.segments.is_none());
        for (variable, tensor) in [("head_scale", spec.head_scale()), ("sink_logits", sinks)] {
            if let Some(tensor) = tensor {
                bindings.push(self.plan.tensor(variable, tensor)?);
            }
        }
        self.bind_entry_tables(&mut bindings, &mut params)?;
        self.bind_tables(evaluates, &mut bindings, &mut params)?;
        let turns = self.taken.schedule.turns.with_blocks(self.blocks_of_segment());
        let zigzag = self.zigzag() && workgroups[0] > 1;
        let splits = self.splits_in_grid();
        if self.segments.is_some_and(|segments| segments.in_grid) {
            params.extend(u32_params([("tiles", workgroups[0])])?);
        }
        let workgroups = [workgroups[0] * splits, workgroups[1], workgroups[2]];
        self.plan.max_workgroups(workgroups[0])?;
        self.plan.push(self.taken.variant, request, bindings, params, workgroups, turns)?.zigzag = zigzag;
        Ok(())
    }

    /// Workgroups along x that share a tile.
    fn splits_in_grid(&self) -> usize {
        self.segments.map_or(1, |segments| segments.in_dispatch())
    }

    /// Whether the kernel's tiles take long and short in turn.
    fn zigzag(&self) -> bool {
        let order = TileScheduler::of(self.plan.adapter.kind);
        match &self.lists {
            Some(lists) => order == TileScheduler::Zigzag && !lists.made_by_device(),
            None => order.pairs(self.spec),
        }
    }

    pub(crate) fn params(&self, first: [usize; 3]) -> Result<Params, Error> {
        self.spec.params(self.lists.as_ref().map(|lists| &lists.layout), first)
    }
}
