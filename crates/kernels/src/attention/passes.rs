//! The passes of a plan: norms and lists where they are needed, then the kernel, over as many dispatches as limits ask for.

use std::{sync::Arc, time::Duration};

use foveal_shaders::Request;

use super::{
    Attention,
    hooks::Evaluates,
    lists::{Lists, Run},
    order::Order,
    params::set,
    segments::Segments,
    split::Piece,
    variants::Candidate,
    visibility::{ListsFrom, Visibility},
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
pub(super) struct Maker<'a> {
    pub(super) spec: &'a Attention,
    pub(super) visibility: &'a Visibility<'a>,
    pub(super) taken: &'a Candidate,
    pub(super) adapter: &'a AdapterProfile,
    pub(super) lists: Option<Lists>,
    /// Of a problem that stands in for another: what that one's tiles see.
    pub(super) whole: Option<&'a Visibility<'a>>,
    pub(super) at: ScratchAt,
    /// The keys are split, and each part's results merged.
    pub(super) segments: Option<Segments>,
    /// What a workgroup should take at most.
    pub(super) workgroup_time: Option<Duration>,
    pub(super) passes: Vec<Pass>,
    pub(super) scratch: Vec<Scratch>,
}

impl Attention {
    pub(super) fn dispatches(
        &self,
        taken: &Candidate,
        visibility: &Visibility<'_>,
        whole: Option<&Visibility<'_>>,
        adapter: &AdapterProfile,
        workgroup_time: Option<Duration>,
    ) -> Result<Dispatches, Error> {
        let limits = &adapter.limits;
        let lists = self.choose_lists(taken, visibility, limits)?;
        let made = self.dispatches_with(lists, taken, visibility, whole, adapter, workgroup_time)?;
        let largest = limits.max_storage_buffer_binding_size;
        // How long the orders of work are shows only when the pieces are cut.
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
        visibility: &Visibility<'_>,
        adapter: &AdapterProfile,
    ) -> Result<Dispatches, Error> {
        let mut maker = Maker {
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
        for piece in self.pieces(taken.tile_rows, &adapter.limits)? {
            maker.fill_absent(None, &piece)?;
        }
        Ok(Dispatches { passes: maker.passes, ..Dispatches::default() })
    }

    fn dispatches_with(
        &self,
        lists: Option<Lists>,
        taken: &Candidate,
        visibility: &Visibility<'_>,
        whole: Option<&Visibility<'_>>,
        adapter: &AdapterProfile,
        workgroup_time: Option<Duration>,
    ) -> Result<Dispatches, Error> {
        let mut maker = Maker {
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
        let pieces = self.pieces(taken.tile_rows, &adapter.limits)?;
        if self.qk_norm.is_some() {
            maker.norms(&pieces)?;
        }
        if maker.lists.is_some() {
            maker.at.lists = Some(maker.scratch.len());
            maker.scratch.push(Scratch { name: "foveal.attention.lists", bytes: 0, contents: None });
        }
        match &self.listed {
            Some(listed) if maker.lists.is_some() => maker.cut_lists(listed)?,
            _ if maker.lists.as_ref().is_some_and(Lists::made_by_device) => maker.make_lists()?,
            _ => {}
        }
        maker.segments = maker.choose_segments()?;
        maker.kernel(&pieces)?;
        turns::check(&maker.passes, adapter)?;
        let mut notes = Vec::new();
        if let Some(segments) = &maker.segments {
            notes.push(("segments of keys".to_owned(), segments.count.to_string()));
        }
        if let (Some(lists), Some(at)) = (maker.lists.take(), maker.at.lists) {
            notes.push(("lists of blocks".to_owned(), lists.describe()));
            maker.scratch[at] = lists.into_scratch();
        }
        Ok(Dispatches { passes: maker.passes, scratch: maker.scratch, notes })
    }

    /// The lists that the kernel's tiles follow, if they follow any.
    pub(super) fn choose_lists(
        &self,
        taken: &Candidate,
        visibility: &Visibility<'_>,
        limits: &Limits,
    ) -> Result<Option<Lists>, Error> {
        let (rows, keys) = (taken.tile_rows, taken.kv_block);
        let lists = match visibility.lists_from() {
            ListsFrom::Nowhere => return Ok(None),
            ListsFrom::Host => Some(Lists::on_host(
                &visibility.lists(rows, keys)?,
                self.needs_bits(rows, keys),
                visibility.arrangement(),
            )),
            ListsFrom::Given => {
                self.listed.as_ref().and_then(|listed| Lists::given(self, listed, rows, keys))
            }
            ListsFrom::Device => {
                // A problem that stands in for another does what that one does.
                let model = Lists::on_device(self.sized(), visibility, rows, keys, limits);
                let own = Lists::on_device(self, visibility, rows, keys, limits);
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
    pub(super) fn evaluates(&self, lists: Option<&Lists>) -> Evaluates {
        let in_bits = lists.is_some_and(|lists| lists.made_by_device() && lists.layout.block_words > 0);
        // Bits of the caller's have the last word.
        let decided = self.blocks.as_ref().is_some_and(|blocks| blocks.test() == Test::Bits);
        let mask = self.effective_mask().expression().is_some() && !in_bits && !decided;
        Evaluates { mask, score: self.score.is_some() }
    }

    /// Storage bindings of the kernel without lists.
    fn storage_bindings(&self, visibility: &Visibility<'_>, evaluates: Evaluates) -> usize {
        4 + usize::from(self.lse)
            + usize::from(self.head_scale.is_some())
            + usize::from(self.sink_logits.is_some())
            + usize::from(self.qk_norm.is_some())
            + usize::from(self.q_lengths.is_some())
            + usize::from(self.kv_lengths.is_some())
            + visibility.tables_of(evaluates).len()
    }
}

impl Maker<'_> {
    /// The kernel, piece by piece.
    fn kernel(&mut self, pieces: &[Piece]) -> Result<(), Error> {
        let (spec, taken) = (self.spec, self.taken);
        let evaluates = spec.evaluates(self.lists.as_ref());
        let tables = spec.table_list();
        let bits = self.lists.as_ref().is_some_and(|lists| lists.layout.block_words > 0);
        let request = taken
            .request
            .clone()
            .tunable("LISTS", self.lists.is_some())
            .tunable("PAIRED", self.lists.is_none() && self.alternating())
            .tunable("ARRANGED", self.lists.as_ref().is_some_and(|lists| lists.layout.arranged))
            .tunable("ELEMENT_BITS", bits)
            .tunable("KV_BLOCK", small(taken.kv_block))
            .tunable("TILE", small(taken.tile_rows))
            .tunable("MASK_HOOK", evaluates.mask)
            .tunable("SCORE_HOOK", evaluates.score);
        let request = if self.segments.is_some() { spec.of_segments(request) } else { request };
        let request = Arc::new(self.visibility.with_hooks(request, &tables, evaluates));
        let count = spec.storage_bindings(self.visibility, evaluates) + usize::from(self.lists.is_some());
        let most = self.adapter.limits.max_compute_workgroups_per_dimension;
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
        let extent = self.count_workgroups(pieces)?;
        for piece in pieces {
            let fold = spec.fold();
            let (batches, heads) = (piece.batch.1 - piece.batch.0, piece.heads.1 - piece.heads.0);
            let Some(lists) = &mut self.lists else {
                let tiles = (piece.rows.1 - piece.rows.0).div_ceil(taken.tile_rows);
                let firsts = (piece.batch.0, piece.heads.0 * fold, piece.rows.0);
                let first = self.passes.len();
                self.main_passes(&request, piece, evaluates, firsts, None, [tiles, heads, batches])?;
                self.passes[first..].iter_mut().for_each(|pass| pass.indirect = extent);
                self.merge(piece)?;
                if let Some(at) = extent {
                    self.fill_absent(Some(at), piece)?;
                }
                continue;
            };
            let layout = lists.layout;
            // Lists of their own carry the batch entry, the head and the tile; shared ones are counted from the piece's.
            let (first_batch, batches) = if layout.batch > 1 { (0, 1) } else { (piece.batch.0, batches) };
            let (first_head, heads) = if layout.heads > 1 { (0, 1) } else { (piece.heads.0 * fold, heads) };
            for run in lists.runs(piece, taken.tile_rows, most as usize, Order::of(self.adapter.kind)) {
                let workgroups = [run.count, heads, batches];
                self.main_passes(
                    &request,
                    piece,
                    evaluates,
                    (first_batch, first_head, 0),
                    Some(run),
                    workgroups,
                )?;
            }
            self.merge(piece)?;
        }
        let Some(at) = self.at.lists else { return Ok(()) };
        // Only now is it known how long the orders of work are.
        let bytes = self.lists.as_ref().map_or(0, Lists::size_bytes);
        let of_lists = |binding: &&mut PassBinding| binding.source == Source::Scratch(at);
        for binding in self.passes.iter_mut().flat_map(|pass| &mut pass.bindings).filter(of_lists) {
            binding.size_bytes = bytes;
        }
        Ok(())
    }

    /// The kernel over a piece: at once, or a dispatch for each segment of the keys.
    fn main_passes(
        &mut self,
        request: &Arc<Request>,
        piece: &Piece,
        evaluates: Evaluates,
        firsts: (usize, usize, usize),
        run: Option<Run>,
        workgroups: [usize; 3],
    ) -> Result<(), Error> {
        let count = self.segments.map_or(1, |segments| segments.count);
        (0..count).try_for_each(|segment| {
            self.main_pass(request, piece, evaluates, firsts, run, segment, workgroups)
        })
    }

    #[expect(clippy::too_many_arguments, reason = "what a dispatch is made of")]
    fn main_pass(
        &mut self,
        request: &Arc<Request>,
        piece: &Piece,
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
        self.bind_tensors(piece, &mut bindings, &mut params)?;
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
                bindings.push(self.port(variable.into(), tensor)?);
            }
        }
        self.bind_lengths(&mut bindings)?;
        self.bind_tables(evaluates, &mut bindings, &mut params)?;
        let turns = self.taken.turns.with_blocks(self.blocks_of_segment());
        self.push(self.taken.variant, request, bindings, params, workgroups, turns)?;
        let alternating = self.alternating() && workgroups[0] > 1;
        self.passes.last_mut().into_iter().for_each(|pass| pass.alternating = alternating);
        Ok(())
    }

    /// Whether the kernel's tiles take long and short in turn.
    fn alternating(&self) -> bool {
        let order = Order::of(self.adapter.kind);
        match &self.lists {
            Some(lists) => order == Order::Even && !lists.made_by_device(),
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
            alternating: false,
            workgroups: [u32_of("row tiles", x)?, u32_of("heads", y)?, u32_of("batch", z)?],
        });
        Ok(())
    }
}
