//! The passes of a plan: norms and lists where they are needed, then the kernel, over as many dispatches as limits ask for.

use std::{sync::Arc, time::Duration};

use foveal_shaders::Request;

use super::{
    Attention,
    hooks::Evaluates,
    block_schedule::{BlockSchedule, Run},
    tile_scheduler::TileScheduler,
    params::set,
    split_kv::SplitKv,
    partition::Partition,
    variants::Candidate,
    mask_program::{ScheduleFrom, MaskProgram},
};
use crate::{
    AdapterProfile, Error, Limits, Name, ParamValue, Pass, PassBinding, Scratch, Source, block_mask::Test,
    cost::small, ranges::u32_of, turns,
};

/// What a plan dispatches.
#[derive(Debug, Default)]
pub(super) struct Dispatches {
    pub(super) passes: Vec<Pass>,
    pub(super) scratch: Vec<Scratch>,
    /// What is worth saying about them.
    pub(super) notes: Vec<(String, String)>,
}

/// Where scratch lies, as passes refer to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScratchAt {
    pub(super) lists: Option<usize>,
    pub(super) norms: Option<usize>,
}

/// What all passes of a plan have in common.
pub(super) struct PlanBuilder<'a> {
    pub(super) spec: &'a Attention,
    pub(super) visibility: &'a MaskProgram<'a>,
    pub(super) taken: &'a Candidate,
    pub(super) adapter: &'a AdapterProfile,
    pub(super) lists: Option<BlockSchedule>,
    /// Of a problem that stands in for another: what that one's tiles see.
    pub(super) whole: Option<&'a MaskProgram<'a>>,
    pub(super) at: ScratchAt,
    /// The keys are split, and each part's results merged.
    pub(super) segments: Option<SplitKv>,
    /// What a workgroup should take at most.
    pub(super) workgroup_time: Option<Duration>,
    pub(super) passes: Vec<Pass>,
    pub(super) scratch: Vec<Scratch>,
}

impl Attention {
    pub(super) fn dispatches(
        &self,
        taken: &Candidate,
        visibility: &MaskProgram<'_>,
        whole: Option<&MaskProgram<'_>>,
        adapter: &AdapterProfile,
        workgroup_time: Option<Duration>,
    ) -> Result<Dispatches, Error> {
        let limits = &adapter.limits;
        let lists = self.choose_lists(taken, visibility, limits)?;
        let made = self.dispatches_with(lists, taken, visibility, whole, adapter, workgroup_time)?;
        let largest = limits.max_storage_buffer_binding_size;
        // How long the orders of work are shows only when the partitions are cut.
        match made.scratch.iter().find(|scratch| scratch.bytes > largest) {
            None => Ok(made),
            Some(_) if self.blocks.is_none() && self.listed.is_none() => {
                self.dispatches_with(None, taken, visibility, whole, adapter, workgroup_time)
            }
            Some(scratch) => Err(Error::limit(
                "max_storage_buffer_binding_size",
                format!("{} needs {} bytes, the adapter allows {largest}", scratch.name, scratch.bytes),
            )),
        }
    }

    /// What there is to do without keys: rows that see nothing are filled in.
    pub(super) fn dispatches_without_keys(
        &self,
        taken: &Candidate,
        visibility: &MaskProgram<'_>,
        adapter: &AdapterProfile,
    ) -> Result<Dispatches, Error> {
        let mut builder = PlanBuilder {
            spec: self,
            visibility,
            taken,
            adapter,
            lists: None,
            whole: None,
            at: ScratchAt::default(),
            segments: None,
            workgroup_time: None,
            passes: Vec::new(),
            scratch: Vec::new(),
        };
        for partition in self.partitions(taken.tile_rows, &adapter.limits)? {
            builder.fill_padding(None, &partition)?;
        }
        Ok(Dispatches { passes: builder.passes, ..Dispatches::default() })
    }

    fn dispatches_with(
        &self,
        lists: Option<BlockSchedule>,
        taken: &Candidate,
        visibility: &MaskProgram<'_>,
        whole: Option<&MaskProgram<'_>>,
        adapter: &AdapterProfile,
        workgroup_time: Option<Duration>,
    ) -> Result<Dispatches, Error> {
        let mut builder = PlanBuilder {
            spec: self,
            visibility,
            taken,
            adapter,
            lists,
            whole,
            at: ScratchAt::default(),
            segments: None,
            workgroup_time,
            passes: Vec::new(),
            scratch: Vec::new(),
        };
        let partitions = self.partitions(taken.tile_rows, &adapter.limits)?;
        if self.qk_norm.is_some() {
            builder.norms(&partitions)?;
        }
        if builder.lists.is_some() {
            builder.at.lists = Some(builder.scratch.len());
            builder.scratch.push(Scratch { name: "foveal.attention.lists", bytes: 0, contents: None });
        }
        match &self.listed {
            Some(listed) if builder.lists.is_some() => builder.cut_lists(listed)?,
            _ if builder.lists.as_ref().is_some_and(BlockSchedule::made_by_device) => builder.make_lists()?,
            _ => {}
        }
        builder.segments = builder.choose_split_kv()?;
        builder.kernel(&partitions)?;
        turns::check(&builder.passes, adapter)?;
        let mut notes = Vec::new();
        if let Some(segments) = &builder.segments {
            notes.push(("segments of keys".to_owned(), segments.count.to_string()));
        }
        if let (Some(lists), Some(at)) = (builder.lists.take(), builder.at.lists) {
            notes.push(("lists of blocks".to_owned(), lists.describe()));
            builder.scratch[at] = lists.into_scratch();
        }
        Ok(Dispatches { passes: builder.passes, scratch: builder.scratch, notes })
    }

    /// The lists that the kernel's tiles follow, if they follow any.
    pub(super) fn choose_lists(
        &self,
        taken: &Candidate,
        visibility: &MaskProgram<'_>,
        limits: &Limits,
    ) -> Result<Option<BlockSchedule>, Error> {
        let (rows, keys) = (taken.tile_rows, taken.kv_block);
        let lists = match visibility.lists_from() {
            ScheduleFrom::Nowhere => return Ok(None),
            ScheduleFrom::Host => Some(BlockSchedule::on_host(
                &visibility.lists(rows, keys)?,
                self.needs_bits(rows, keys),
                visibility.token_order(),
            )),
            ScheduleFrom::Given => {
                self.listed.as_ref().and_then(|listed| BlockSchedule::given(self, listed, rows, keys))
            }
            ScheduleFrom::Device => {
                // A problem that stands in for another does what that one does.
                let model = BlockSchedule::on_device(self.specialized(), visibility, rows, keys, limits);
                let own = BlockSchedule::on_device(self, visibility, rows, keys, limits);
                own.zip(model).map(|(own, model)| own.with_bits_as(&model))
            }
        };
        let largest = limits.max_storage_buffer_binding_size;
        let Some(lists) = lists.filter(|lists| lists.size_bytes() <= largest) else {
            return if self.blocks.is_none() && self.listed.is_none() {
                // Every element is tested instead.
                Ok(None)
            } else {
                let message = format!("the lists of blocks need more, the adapter allows {largest} bytes");
                Err(Error::limit("max_storage_buffer_binding_size", message))
            };
        };
        let groups = limits.max_compute_workgroups_per_dimension as usize;
        let too_many = lists.layout.kv_blocks > groups || lists.layout.count().div_ceil(groups) > groups;
        let optional = self.blocks.is_none() && self.listed.is_none();
        if lists.made_by_device() && too_many && optional {
            return Ok(None);
        }
        if lists.made_by_device() && lists.layout.count().div_ceil(groups) > groups {
            let message = format!(
                "{} lists of blocks, the adapter allows {groups} workgroups along an axis",
                lists.layout.count()
            );
            return Err(Error::limit("max_compute_workgroups_per_dimension", message));
        }
        let evaluates = self.evaluates(Some(&lists));
        let mut bindings = self.storage_bindings(visibility, evaluates) + 1;
        if optional && lists.made_by_device() {
            // The passes that make lists bind what the mask reads.
            let of_mask = visibility.tables_of(Evaluates { mask: true, score: false });
            bindings = bindings.max(3 + of_mask.len());
        }
        if bindings > limits.max_storage_buffers_per_shader_stage as usize && optional {
            return Ok(None);
        }
        Ok(Some(lists))
    }

    /// Whether tiles need bits beside the caller's lists: a matter of block sizes alone, so that it does not depend on what
    /// the lists hold.
    fn needs_bits(&self, tile_rows: usize, kv_block: usize) -> bool {
        self.blocks.as_ref().is_some_and(|blocks| {
            blocks.bits().is_some()
                || !blocks.q_block().is_multiple_of(tile_rows)
                || !blocks.kv_block().is_multiple_of(kv_block)
        })
    }

    /// Which expressions the kernel itself evaluates.
    pub(super) fn evaluates(&self, lists: Option<&BlockSchedule>) -> Evaluates {
        let in_bits = lists.is_some_and(|lists| lists.made_by_device() && lists.layout.block_words > 0);
        // Bits of the caller's have the last word.
        let decided = self.blocks.as_ref().is_some_and(|blocks| blocks.test() == Test::Bits);
        let mask = self.effective_mask().expression().is_some() && !in_bits && !decided;
        Evaluates { mask, score: self.score.is_some() }
    }

    /// Storage bindings of the kernel without lists.
    fn storage_bindings(&self, visibility: &MaskProgram<'_>, evaluates: Evaluates) -> usize {
        4 + usize::from(self.lse)
            + usize::from(self.head_scale.is_some())
            + usize::from(self.sink_logits.is_some())
            + usize::from(self.qk_norm.is_some())
            + usize::from(self.q_lengths.is_some())
            + usize::from(self.kv_lengths.is_some())
            + visibility.tables_of(evaluates).len()
    }
}

impl PlanBuilder<'_> {
    /// The kernel, partition by partition.
    fn kernel(&mut self, partitions: &[Partition]) -> Result<(), Error> {
        let (spec, taken) = (self.spec, self.taken);
        let evaluates = spec.evaluates(self.lists.as_ref());
        let tables = spec.table_list();
        let bits = self.lists.as_ref().is_some_and(|lists| lists.layout.block_words > 0);
        let request = taken
            .request
            .clone()
            .tunable("LISTS", self.lists.is_some())
            .tunable("ZIGZAG", self.lists.is_none() && self.zigzag())
            .tunable("TOKEN_ORDER", self.lists.as_ref().is_some_and(|lists| lists.layout.reordered))
            .tunable("ELEMENT_BITS", bits)
            .tunable("KV_BLOCK", small(taken.kv_block))
            .tunable("TILE", small(taken.tile_rows))
            .tunable("MASK_MOD", evaluates.mask)
            .tunable("SCORE_MOD", evaluates.score);
        let request = if self.segments.is_some() { spec.with_split_kv(request) } else { request };
        let request = Arc::new(self.visibility.with_hooks(request, &tables, evaluates));
        let count = spec.storage_bindings(self.visibility, evaluates) + usize::from(self.lists.is_some());
        let max = self.adapter.limits.max_compute_workgroups_per_dimension;
        if count > self.adapter.limits.max_storage_buffers_per_shader_stage as usize {
            return Err(Error::limit(
                "max_storage_buffers_per_shader_stage",
                format!(
                    "{count} are needed ({} tables among them), the adapter allows {}",
                    self.visibility.tables_of(evaluates).len(),
                    self.adapter.limits.max_storage_buffers_per_shader_stage
                ),
            ));
        }
        let extent = self.count_workgroups(partitions)?;
        for partition in partitions {
            let pack_gqa = spec.pack_gqa();
            let (batches, heads) = (partition.batch.1 - partition.batch.0, partition.heads.1 - partition.heads.0);
            let Some(lists) = &mut self.lists else {
                let tiles = (partition.rows.1 - partition.rows.0).div_ceil(taken.tile_rows);
                let firsts = (partition.batch.0, partition.heads.0 * pack_gqa, partition.rows.0);
                let first = self.passes.len();
                self.main_passes(&request, partition, evaluates, firsts, None, [tiles, heads, batches])?;
                self.passes[first..].iter_mut().for_each(|pass| pass.indirect = extent);
                self.combine(partition)?;
                if let Some(at) = extent {
                    self.fill_padding(Some(at), partition)?;
                }
                continue;
            };
            let layout = lists.layout;
            // Lists of their own carry the batch entry, the head and the tile; shared ones are counted from the partition's.
            let (first_batch, batches) = if layout.batch > 1 { (0, 1) } else { (partition.batch.0, batches) };
            let (first_head, heads) = if layout.heads > 1 { (0, 1) } else { (partition.heads.0 * pack_gqa, heads) };
            for run in lists.runs(partition, taken.tile_rows, max as usize, TileScheduler::of(self.adapter.kind)) {
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
        let of_lists = |binding: &&mut PassBinding| binding.source == Source::Scratch(at);
        for binding in self.passes.iter_mut().flat_map(|pass| &mut pass.bindings).filter(of_lists) {
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
        let count = self.segments.map_or(1, |segments| segments.count);
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
        let mut bindings = Vec::new();
        let mut params = self.params([first_batch, first_head, first_row])?;
        params.extend(spec.width_params()?);
        self.bind_tensors(partition, &mut bindings, &mut params)?;
        match run {
            Some(run) => set(&mut params, "order_at", run.order_at)?,
            None => set(&mut params, "list_tiles", workgroups[0])?,
        }
        if let Some(at) = self.at.lists {
            bindings.push(self.whole("lists", at));
        }
        if let Some(at) = self.at.norms {
            bindings.push(self.whole("inverse_norms", at));
        }
        if let Some(segments) = &self.segments {
            segments.bind(segment, &mut bindings, &mut params)?;
        }
        // What enters the denominators once is left to merging.
        let sinks = spec.sink_logits.as_ref().filter(|_| self.segments.is_none());
        for (variable, tensor) in [("head_scale", spec.head_scale.as_ref()), ("sink_logits", sinks)] {
            if let Some(tensor) = tensor {
                bindings.push(self.tensor(variable.into(), tensor)?);
            }
        }
        self.bind_lengths(&mut bindings)?;
        self.bind_tables(evaluates, &mut bindings, &mut params)?;
        let turns = self.taken.turns.with_blocks(self.blocks_of_segment());
        self.push(self.taken.variant, request, bindings, params, workgroups, turns)?;
        let zigzag = self.zigzag() && workgroups[0] > 1;
        self.passes.last_mut().into_iter().for_each(|pass| pass.zigzag = zigzag);
        Ok(())
    }

    /// Whether the kernel's tiles take long and short in turn.
    fn zigzag(&self) -> bool {
        let order = TileScheduler::of(self.adapter.kind);
        match &self.lists {
            Some(lists) => order == TileScheduler::Zigzag && !lists.made_by_device(),
            None => order.pairs(self.spec),
        }
    }

    pub(super) fn params(&self, first: [usize; 3]) -> Result<Vec<(Name, ParamValue)>, Error> {
        self.spec.params(self.lists.as_ref().map(|lists| &lists.layout), first)
    }

    pub(super) fn push(
        &mut self,
        name: &str,
        request: &Arc<Request>,
        bindings: Vec<PassBinding>,
        params: Vec<(Name, ParamValue)>,
        workgroups: [usize; 3],
        loop_turns: u64,
    ) -> Result<(), Error> {
        let [x, y, z] = workgroups;
        self.passes.push(Pass {
            label: format!("foveal.attention.{name}"),
            request: Arc::clone(request),
            bindings,
            params,
            indirect: None,
            loop_turns,
            zigzag: false,
            workgroups: [u32_of("row tiles", x)?, u32_of("heads", y)?, u32_of("batch", z)?],
        });
        Ok(())
    }
}
