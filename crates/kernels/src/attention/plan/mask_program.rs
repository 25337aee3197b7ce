//! Mask and score of a problem with their tables known, and which blocks of keys tiles have to visit.

use std::{
    cell::OnceCell,
    ops::{Deref, Range},
};

use super::token_order::{InTokenOrder, TokenOrder};
use crate::{
    Error,
    attention::{Attention, programs::Programs},
    block_mask::{BlockClass, BlockMask, Classify},
    expr::{self, Classifier, Program, Sizes, Variable},
};

/// Mask and score of a problem, and the order and the blocks in which they are evaluated.
#[derive(Debug)]
pub(crate) struct MaskProgram<'a> {
    spec: &'a Attention,
    /// The order in which positions are taken, once it is known whether it is one of their own.
    token_order: OnceCell<Option<TokenOrder>>,
    programs: Programs,
}

impl Deref for MaskProgram<'_> {
    type Target = Programs;

    fn deref(&self) -> &Programs {
        &self.programs
    }
}

/// How a tile learns which blocks of keys it has to visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScheduleFrom {
    /// It does not: it visits all up to the last key that the mask's structure shows.
    Nowhere,
    /// From lists made with the plan.
    Host,
    /// From lists that the device makes, since only tables or lengths know.
    Device,
    /// From lists of the caller's, on the device.
    Given,
}

/// From so many (query, key) pairs of a head on it pays to make lists on the device.
const WORTH_DEVICE_LISTS: usize = 1 << 18;

/// An order of its own costs loads; it has to save a good part of the blocks.
const WORTH_ARRANGING: f64 = 0.8;

/// Blocks along a side of the coarse picture that costs are estimated from.
const COARSE_BLOCKS: usize = 256;

/// Elements of partly visible blocks that are looked at to estimate how many are visible.
const SAMPLES: usize = 4096;

impl<'a> MaskProgram<'a> {
    /// Of a problem.
    ///
    /// # Errors
    /// As [`Attention::programs`].
    pub(crate) fn new(spec: &'a Attention) -> Result<Self, Error> {
        Ok(Self { spec, token_order: OnceCell::new(), programs: spec.programs()? })
    }

    /// Whether what the mask shows depends on the contents of tables.
    pub(crate) fn mask_reads_tables(&self) -> bool {
        self.mask.as_ref().is_some_and(|program| !program.tables_read().is_empty())
    }

    /// Whether what the mask shows is known only when it runs: it depends on tables, or on lengths of batch entries.
    pub(crate) fn mask_waits(&self) -> bool {
        self.mask_reads_tables()
            || self.mask.as_ref().is_some_and(|program| program.depends_on_lengths(self.own))
    }

    /// Whether the mask depends on this.
    pub(crate) fn mask_depends_on(&self, variable: Variable) -> bool {
        self.mask.as_ref().is_some_and(|program| program.depends_on(variable))
    }

    /// How tiles learn what to visit.
    pub(crate) fn lists_from(&self) -> ScheduleFrom {
        let specialized = self.spec.specialized();
        if specialized.device_blocks().is_some() {
            return ScheduleFrom::Given;
        }
        if specialized.host_blocks().is_some() {
            return ScheduleFrom::Host;
        }
        // Of packed sequences only the device knows which rows a tile has.
        let packed = specialized.cu_seqlens_q.is_some() || specialized.cu_seqlens_k.is_some();
        if self.mask.is_none() || packed {
            return ScheduleFrom::Nowhere;
        }
        if !self.mask_waits() {
            return ScheduleFrom::Host;
        }
        if specialized.pack_gqa() == 1
            && specialized.q_len.saturating_mul(specialized.kv_len) >= WORTH_DEVICE_LISTS
        {
            ScheduleFrom::Device
        } else {
            ScheduleFrom::Nowhere
        }
    }

    /// Which blocks tiles of so many rows have to visit. With folded heads lists are those of key/value heads, and rows are
    /// (head, query) pairs.
    pub(crate) fn lists(&self, tile_rows: usize, kv_block: usize) -> Result<BlockMask, Error> {
        let spec = self.spec;
        if let Some(blocks) = spec.host_blocks() {
            let blocks = match &self.mask {
                // The expression may settle whole blocks beforehand.
                Some(mask) if !self.mask_waits() => {
                    &blocks.settle(spec.expr_sizes(), &ByIntervals::new(mask, spec, 1))?
                }
                _ => &**blocks,
            };
            if blocks.q_block().is_multiple_of(tile_rows) && blocks.kv_block().is_multiple_of(kv_block)
                || self.mask.is_some()
            {
                return blocks.re_block(tile_rows, kv_block, None);
            }
            return blocks.re_block(tile_rows, kv_block, Some(&|_, _, _, _| true));
        }
        let pack_gqa = spec.pack_gqa();
        let Some(mask) = &self.mask else {
            return Err(Error::internal("lists", "there is no mask that lists could be made from"));
        };
        let sizes = Sizes { q_heads: spec.q_heads / pack_gqa, q_len: spec.rows(), ..spec.expr_sizes() };
        let of_classes = |classes: &dyn Classify| {
            BlockMask::from_classes(
                sizes,
                tile_rows,
                kv_block,
                mask.depends_on(Variable::Batch),
                mask.depends_on(Variable::Head) || mask.depends_on(Variable::KvHead),
                classes,
            )
        };
        let classes = ByIntervals::new(mask, spec, pack_gqa);
        match self.token_order() {
            Some(token_order) => of_classes(&InTokenOrder { token_order, classes }),
            None => of_classes(&classes),
        }
    }

    /// The order in which positions are taken, if it is not theirs: for masks on rasters, where patches see fewer blocks than
    /// stretches of rows do.
    pub(crate) fn token_order(&self) -> Option<&TokenOrder> {
        self.token_order.get_or_init(|| self.best_arrangement()).as_ref()
    }

    fn best_arrangement(&self) -> Option<TokenOrder> {
        let spec = self.spec;
        let mask = self.mask.as_ref().filter(|_| spec.kv_len > 0)?;
        if let Some(other) = &spec.specialized_for {
            // A problem that stands in for another takes positions as that one does.
            let other = MaskProgram::new(other).ok()?;
            let width = other.token_order()?.width;
            return Some(TokenOrder::of_raster(width, spec.q_len));
        }
        if self.lists_from() != ScheduleFrom::Host || spec.host_blocks().is_some() || spec.pack_gqa() > 1 {
            return None;
        }
        // Lengths count positions, not places.
        if self.own.queries || self.own.keys {
            return None;
        }
        let share = |token_order: Option<&TokenOrder>| {
            self.coarse(64, 64, token_order).map_or(1.0, |coarse| coarse.density())
        };
        let as_it_is = share(None);
        let reordered =
            spec.token_order(mask).into_iter().map(|token_order| (share(Some(&token_order)), token_order));
        let (min, best) = reordered.min_by(|a, b| a.0.total_cmp(&b.0))?;
        (min < WORTH_ARRANGING * as_it_is).then_some(best)
    }

    /// The share of all pairs that lies in the blocks which tiles of so many rows visit; an estimate for large problems.
    pub(crate) fn visited_share(&self, tile_rows: usize, kv_block: usize) -> f64 {
        let spec = self.spec;
        if spec.kv_len == 0 {
            return 0.0;
        }
        if let Some(blocks) = spec.host_blocks() {
            return blocks.visited_by(tile_rows, kv_block);
        }
        if let Some(listed) = spec.device_blocks() {
            // The lists' lengths are known on the device only.
            let max = crate::plan::cost::float(listed.max_blocks * listed.kv_block)
                / crate::plan::cost::float(spec.kv_len);
            return max.min(1.0);
        }
        let unknown = self.mask_reads_tables() || self.lists_from() == ScheduleFrom::Nowhere;
        if self.mask.is_none() || unknown || spec.q_len == 0 {
            return 1.0;
        }
        self.coarse(tile_rows, kv_block, self.token_order()).map_or(1.0, |coarse| coarse.density())
    }

    /// A picture of the mask in blocks of at least this size, few enough to cost little.
    fn coarse(
        &self,
        tile_rows: usize,
        kv_block: usize,
        token_order: Option<&TokenOrder>,
    ) -> Result<BlockMask, Error> {
        let spec = self.spec;
        let Some(mask) = &self.mask else { return Err(Error::internal("lists", "there is no mask")) };
        let sizes = spec.expr_sizes();
        let at_least = |block: usize, len: usize| block.max(len.div_ceil(COARSE_BLOCKS)).max(1);
        let per_head = mask.depends_on(Variable::Head) || mask.depends_on(Variable::KvHead);
        let of_classes = |classes: &dyn Classify| {
            BlockMask::from_classes(
                sizes,
                at_least(tile_rows, spec.q_len),
                at_least(kv_block, spec.kv_len),
                false,
                per_head && spec.q_heads <= 64,
                classes,
            )
        };
        let classes = ByIntervals::new(mask, spec, 1);
        match token_order {
            Some(token_order) => of_classes(&InTokenOrder { token_order, classes }),
            None => of_classes(&classes),
        }
    }

    /// The share of all pairs that is visible, as far as it can be told without the contents of tables.
    pub(crate) fn visible_density(&self) -> f64 {
        let spec = self.spec;
        if spec.kv_len == 0 {
            return 0.0;
        }
        if spec.q_len == 0 || (self.mask.is_none() && spec.host_blocks().is_none()) {
            return if spec.device_blocks().is_some() { self.visited_share(1, 1) } else { 1.0 };
        }
        let reads_tables = self.mask_reads_tables();
        let lists = match spec.host_blocks() {
            Some(blocks) => (**blocks).clone(),
            None if reads_tables => return 1.0,
            None => match self.coarse(32, 32, None) {
                Ok(coarse) => coarse,
                Err(_) => return 1.0,
            },
        };
        let evaluator = self
            .mask
            .as_ref()
            .filter(|_| !reads_tables)
            .and_then(|mask| expr::Evaluator::new(mask, spec.expr_sizes(), &[]).ok());
        let mut scratch = evaluator.as_ref().map(expr::Evaluator::scratch);
        let mut element = |b, h, q, k| match (&evaluator, &mut scratch) {
            (Some(evaluator), Some(scratch)) => evaluator.visible(scratch, b, h, q, k).unwrap_or(true),
            _ => true,
        };
        lists.visible_density(SAMPLES, &mut element)
    }
}

/// Classes by interval evaluation, of heads and rows that may be folded.
struct ByIntervals {
    classifier: Classifier,
    pack_gqa: usize,
    q_len: usize,
}

impl ByIntervals {
    fn new(mask: &Program, spec: &Attention, pack_gqa: usize) -> Self {
        Self { classifier: Classifier::new(mask, spec.expr_sizes()), pack_gqa, q_len: spec.q_len }
    }
}

impl Classify for ByIntervals {
    fn class(
        &self,
        batch: Range<usize>,
        heads: Range<usize>,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> BlockClass {
        // Rows of folded heads are in no order that a range of queries could follow.
        let queries = if self.pack_gqa > 1 { 0..self.q_len } else { queries };
        let heads = heads.start * self.pack_gqa..heads.end * self.pack_gqa;
        Classify::class(&self.classifier, batch, heads, queries, keys)
    }
}
