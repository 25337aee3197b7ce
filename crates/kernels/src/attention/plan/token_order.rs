//! An order of positions in which those of a raster that see each other lie close together.
//!
//! A tile takes consecutive places, and a mask on a raster shows a neighbourhood: were places positions, a tile would be a
//! stretch of raster rows and see as many whole rows. In patches of 8 x 8 it sees the patches around it. Softmax does not mind
//! the order of keys.

use crate::{
    attention::Attention,
    block_mask::{BlockClass, Classify},
    expr::{Op, Program, Shape, Variable},
};
use std::ops::Range;

/// Columns and rows of a patch: a block of 64 places.
const PATCH: usize = 8;

/// Queries times keys up to which a rectangle of places is classified run by run, rather than by the positions between its
/// first and last.
const RUN_BY_RUN: usize = 128 * 256;

/// Which position is taken in which place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenOrder {
    pub(crate) width: usize,
    pub(crate) positions: Vec<u32>,
}

impl TokenOrder {
    /// Patches of a raster of that width.
    pub(crate) fn of_raster(width: usize, len: usize) -> Self {
        let mut positions: Vec<u32> = (0..u32::try_from(len).unwrap_or(u32::MAX)).collect();
        let patch = |position: usize| {
            let (x, y) = (position % width, position / width);
            (y / PATCH, x / PATCH, y % PATCH, x % PATCH)
        };
        positions.sort_by_key(|&position| patch(position as usize));
        Self { width, positions }
    }

    /// Positions of these places as runs of consecutive ones.
    fn runs(&self, places: Range<usize>) -> Vec<Range<usize>> {
        let mut positions: Vec<usize> =
            self.positions[places].iter().map(|&position| position as usize).collect();
        positions.sort_unstable();
        let runs = positions.chunk_by(|a, b| a + 1 == *b);
        runs.map(|run| run[0]..run[run.len() - 1] + 1).collect()
    }

    /// The least range that holds the positions of these places.
    fn hull(&self, places: Range<usize>) -> Range<usize> {
        let positions = &self.positions[places];
        let first = positions.iter().min().map_or(0, |&first| first as usize);
        let last = positions.iter().max().map_or(0, |&last| last as usize);
        first..last + 1
    }
}

impl Attention {
    /// The token_order that might suit the mask's rasters.
    pub(crate) fn token_order(&self, mask: &Program) -> Vec<TokenOrder> {
        // Places are those of queries and of keys alike.
        if self.q_len != self.kv_len {
            return Vec::new();
        }
        let mut widths: Vec<usize> = mask
            .steps
            .iter()
            .filter_map(|step| raster_width(mask, &step.op))
            .filter(|&width| width >= 2 * PATCH && width * PATCH <= self.q_len)
            .collect();
        widths.sort_unstable();
        widths.dedup();
        widths.into_iter().take(MAX_WIDTHS).map(|width| TokenOrder::of_raster(width, self.q_len)).collect()
    }
}

/// Masks on more rasters at once are not worth comparing.
const MAX_WIDTHS: usize = 3;

/// The width of the raster that a step speaks of, if it does.
fn raster_width(program: &Program, op: &Op) -> Option<usize> {
    let int = |step: usize| match program.steps[step].op {
        Op::Int(n) => usize::try_from(n).ok(),
        _ => None,
    };
    let position =
        |step: usize| matches!(program.steps[step].op, Op::Variable(Variable::Query | Variable::Key));
    match *op {
        Op::Shape {
            shape: Shape::Disc { w, .. } | Shape::Local { w, .. } | Shape::Window2d { w, .. },
            ..
        } => usize::try_from(w).ok(),
        Op::Remainder(a, b) if position(a) => int(b),
        _ => None,
    }
}

/// Classes of places, given those of positions.
pub(crate) struct InTokenOrder<'a, C> {
    pub(crate) token_order: &'a TokenOrder,
    pub(crate) classes: C,
}

impl<C: Classify> Classify for InTokenOrder<'_, C> {
    fn class(
        &self,
        batch: Range<usize>,
        heads: Range<usize>,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> BlockClass {
        let area = queries.len() * keys.len();
        let (q_hull, k_hull) = (self.token_order.hull(queries.clone()), self.token_order.hull(keys.clone()));
        let whole = self.classes.class(batch.clone(), heads.clone(), q_hull, k_hull);
        if whole != BlockClass::Partial || area > RUN_BY_RUN {
            return whole;
        }
        let (q_runs, k_runs) = (self.token_order.runs(queries), self.token_order.runs(keys));
        let mut all: Option<BlockClass> = None;
        for queries in &q_runs {
            for keys in &k_runs {
                let class = self.classes.class(batch.clone(), heads.clone(), queries.clone(), keys.clone());
                if class == BlockClass::Partial || all.is_some_and(|all| all != class) {
                    return BlockClass::Partial;
                }
                all = Some(class);
            }
        }
        all.unwrap_or(BlockClass::Empty)
    }
}
