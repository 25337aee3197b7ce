//! Cutting a problem into dispatches whose bindings and grids stay within the adapter's limits.

use super::{Attention, Strides, layout::Tensor};
use crate::{
    Error, Limits,
    ranges::{ByteRange, byte_range, ranges},
};

/// The part of a problem that one dispatch computes: ranges of batch entries, of workgroup heads and of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) batch: (usize, usize),
    /// In units of the heads that a workgroup serves: `fold` query heads.
    pub(super) heads: (usize, usize),
    pub(super) rows: (usize, usize),
}

/// What a range is taken of: strides, width and bytes of an element, and whether it follows query heads and rows.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) name: &'static str,
    pub(super) strides: Strides,
    pub(super) dim: usize,
    pub(super) element_bytes: usize,
    pub(super) of_queries: bool,
}

impl Attention {
    pub(super) fn extents(&self) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Tensor::ALL
            .into_iter()
            .map(|tensor| Extent {
                name: tensor.name(),
                strides: self.strides(tensor),
                dim: self.sizes(tensor)[2],
                element_bytes: self.dtype.size_bytes(),
                of_queries: matches!(tensor, Tensor::Q | Tensor::O),
            })
            .collect();
        if self.lse {
            extents.push(Extent {
                name: "lse",
                strides: Strides { batch: self.q_heads * self.q_len, head: self.q_len, position: 1 },
                dim: 1,
                element_bytes: 4,
                of_queries: true,
            });
        }
        extents
    }

    /// The byte range of a tensor that a piece touches.
    pub(super) fn range(&self, extent: &Extent, piece: &Piece, limits: &Limits) -> ByteRange {
        let fold = self.fold();
        let (first_head, last_head) = (piece.heads.0 * fold, piece.heads.1 * fold - 1);
        let (heads, positions) = if extent.of_queries {
            let rows = if fold > 1 { (0, self.q_len) } else { piece.rows };
            ((first_head, last_head), (rows.0, rows.1 - 1))
        } else {
            ((first_head / self.group(), last_head / self.group()), (0, self.kv_len.saturating_sub(1)))
        };
        let at = |batch: usize, head: usize, position: usize| {
            batch * extent.strides.batch + head * extent.strides.head + position * extent.strides.position
        };
        let first = at(piece.batch.0, heads.0, positions.0);
        let end = at(piece.batch.1 - 1, heads.1, positions.1) + extent.dim;
        byte_range(first, end, extent.element_bytes, limits)
    }

    /// The pieces of the problem for tiles of `tile_rows`.
    pub(super) fn pieces(&self, tile_rows: usize, limits: &Limits) -> Result<Vec<Piece>, Error> {
        let groups = limits.max_compute_workgroups_per_dimension as usize;
        let tiles = self.rows().div_ceil(tile_rows);
        let heads = self.q_heads / self.fold();
        // Largest piece in batch entries, heads and tiles; halved until every piece fits.
        let mut most = [self.batch.min(groups), heads.min(groups), tiles.min(groups)];
        loop {
            let pieces = self.cut(most, tile_rows)?;
            let excess = self.excess(&pieces, limits);
            let Some((extent, bytes)) = excess.worst else { return Ok(pieces) };
            let mut halved = None;
            for axis in (0..3).filter(|&axis| most[axis] > 1) {
                let mut less = most;
                less[axis] = less[axis].div_ceil(2);
                if self.excess(&self.cut(less, tile_rows)?, limits).total < excess.total {
                    halved = Some(less);
                    break;
                }
            }
            most = halved.ok_or_else(|| {
                Error::limit(
                    "max_storage_buffer_binding_size",
                    format!(
                        "tensor {extent} needs a binding of {bytes} bytes for one batch entry and head, the adapter \
                         allows {}",
                        limits.max_storage_buffer_binding_size
                    ),
                )
            })?;
        }
    }

    /// The problem in pieces of at most so many batch entries, heads and tiles.
    fn cut(&self, most: [usize; 3], tile_rows: usize) -> Result<Vec<Piece>, Error> {
        let heads = self.q_heads / self.fold();
        let tiles = self.rows().div_ceil(tile_rows);
        let count = [(self.batch, most[0]), (heads, most[1]), (tiles, most[2])]
            .into_iter()
            .map(|(all, most)| all.div_ceil(most.max(1)))
            .fold(1usize, usize::saturating_mul);
        if count > MOST_PIECES {
            return Err(Error::limit(
                "max_storage_buffer_binding_size",
                format!(
                    "the problem would have to be cut into {count} dispatches, at most {MOST_PIECES} are made"
                ),
            ));
        }
        let mut pieces = Vec::with_capacity(count);
        for batch in ranges((0, self.batch), most[0]) {
            for heads in ranges((0, heads), most[1]) {
                for (first, last) in ranges((0, tiles), most[2]) {
                    let rows = (first * tile_rows, (last * tile_rows).min(self.rows()));
                    pieces.push(Piece { batch, heads, rows });
                }
            }
        }
        Ok(pieces)
    }

    /// By how much the largest bindings of the pieces exceed the limit, in all and the worst. Pieces of one size differ:
    /// in how their start is aligned, and in how many key/value heads they touch.
    fn excess(&self, pieces: &[Piece], limits: &Limits) -> Excess {
        let mut excess = Excess { total: 0, worst: None };
        for extent in self.extents() {
            let sizes = pieces.iter().map(|piece| self.range(&extent, piece, limits).size_bytes);
            let bytes = sizes.max().unwrap_or(0);
            // Offsets on the device have 32 bits and count elements.
            let addressable = u64::from(u32::MAX) * extent.element_bytes as u64;
            let allowed = limits.max_storage_buffer_binding_size.min(addressable);
            if bytes > allowed {
                excess.total += bytes - allowed;
                if excess.worst.is_none_or(|(_, worst)| bytes > worst) {
                    excess.worst = Some((extent.name, bytes));
                }
            }
        }
        excess
    }
}

/// More dispatches than this take longer to record than anything they compute is worth.
const MOST_PIECES: usize = 1 << 16;

struct Excess {
    total: u64,
    worst: Option<(&'static str, u64)>,
}
