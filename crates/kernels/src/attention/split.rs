//! Cutting a problem into dispatches whose bindings and grids stay within the adapter's limits.

use super::{
    Attention,
    spec::{Strides, Tensor},
};
use crate::{Error, Limits};

/// The part of a problem that one dispatch computes: ranges of batch entries, of workgroup heads and of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) batch: (usize, usize),
    /// In units of the heads that a workgroup serves: `fold` query heads.
    pub(super) heads: (usize, usize),
    pub(super) rows: (usize, usize),
}

/// A tensor's byte range within its buffer, and where element `[0, 0, 0, 0]` of the *whole* tensor lies relative to it
/// (modulo 2^32: a piece's own elements come out in range).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) offset_bytes: u64,
    pub(super) size_bytes: u64,
    pub(super) base: u32,
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
    pub(super) fn range(&self, extent: &Extent, piece: &Piece, limits: &Limits) -> Range {
        let fold = self.fold();
        let (first_head, last_head) = (piece.heads.0 * fold, piece.heads.1 * fold - 1);
        let (heads, positions) = if extent.of_queries {
            let rows = if fold > 1 { (0, self.q_len) } else { piece.rows };
            ((first_head, last_head), (rows.0, rows.1 - 1))
        } else {
            ((first_head / self.group(), last_head / self.group()), (0, self.kv_len - 1))
        };
        let at = |batch: usize, head: usize, position: usize| {
            batch * extent.strides.batch + head * extent.strides.head + position * extent.strides.position
        };
        let first = at(piece.batch.0, heads.0, positions.0);
        let end = at(piece.batch.1 - 1, heads.1, positions.1) + extent.dim;
        let alignment = limits.min_storage_buffer_offset_alignment.max(16) as usize;
        let offset = first * extent.element_bytes / alignment * alignment;
        let size = (end * extent.element_bytes).next_multiple_of(4) - offset;
        // The device counts batch entries, heads and rows from the whole problem's first, and offsets modulo 2^32: what a
        // piece touches comes out in range.
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 on purpose")]
        let base = ((offset / extent.element_bytes) as u32).wrapping_neg();
        Range { offset_bytes: offset as u64, size_bytes: size as u64, base }
    }

    /// The pieces of the problem for tiles of `tile_rows`.
    pub(super) fn pieces(&self, tile_rows: usize, limits: &Limits) -> Result<Vec<Piece>, Error> {
        let groups = limits.max_compute_workgroups_per_dimension as usize;
        let tiles = self.rows().div_ceil(tile_rows);
        let heads = self.q_heads / self.fold();
        // Largest piece in batch entries, heads and tiles; halved until everything fits.
        let mut most = [self.batch.min(groups), heads.min(groups), tiles.min(groups)];
        loop {
            let excess = self.excess(most, tile_rows, limits);
            let Some((extent, bytes)) = excess.worst else { break };
            let halved = (0..3).filter(|&axis| most[axis] > 1).find_map(|axis| {
                let mut less = most;
                less[axis] = less[axis].div_ceil(2);
                (self.excess(less, tile_rows, limits).total < excess.total).then_some(less)
            });
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
        let mut pieces = Vec::new();
        for batch in ranges(self.batch, most[0]) {
            for heads in ranges(heads, most[1]) {
                for (first, last) in ranges(tiles, most[2]) {
                    let rows = (first * tile_rows, (last * tile_rows).min(self.rows()));
                    pieces.push(Piece { batch, heads, rows });
                }
            }
        }
        Ok(pieces)
    }

    /// By how much the bindings of the largest piece exceed the limit, in all and the worst.
    fn excess(&self, most: [usize; 3], tile_rows: usize, limits: &Limits) -> Excess {
        let rows = (most[2] * tile_rows).min(self.rows());
        // The last piece of that size is the one whose start is least aligned: allow for it.
        let piece = Piece { batch: (0, most[0]), heads: (0, most[1]), rows: (0, rows) };
        let slack = u64::from(limits.min_storage_buffer_offset_alignment);
        let mut excess = Excess { total: 0, worst: None };
        for extent in self.extents() {
            let range = self.range(&extent, &piece, limits);
            let needs_slack =
                range.size_bytes > limits.max_storage_buffer_binding_size / 2 && most[0] < self.batch;
            let bytes = range.size_bytes + if needs_slack { slack } else { 0 };
            let elements = bytes / extent.element_bytes as u64;
            let allowed =
                limits.max_storage_buffer_binding_size.min(u64::from(u32::MAX) * extent.element_bytes as u64);
            if bytes > allowed || elements > u64::from(u32::MAX) {
                let over = bytes.saturating_sub(allowed).max(1);
                excess.total += over;
                if excess.worst.is_none_or(|(_, worst)| bytes > worst) {
                    excess.worst = Some((extent.name, bytes));
                }
            }
        }
        excess
    }
}

struct Excess {
    total: u64,
    worst: Option<(&'static str, u64)>,
}

/// `0..count` in runs of at most `most`.
fn ranges(count: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).step_by(most.max(1)).map(move |first| (first, (first + most).min(count)))
}
