//! Cutting a problem into dispatches whose bindings and grids stay within the adapter's limits.

use crate::{
    Error, Limits,
    attention::{Attention, Strides, layout::Tensor},
    plan::partition::{ByteRange, byte_range, ranges},
};

/// The part of a problem that one dispatch computes: ranges of batch entries, of workgroup heads and of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) batch: (usize, usize),
    /// In units of the heads that a workgroup serves: `fold` query heads.
    pub(crate) heads: (usize, usize),
    pub(crate) rows: (usize, usize),
    /// The keys that are bound, of those that are stored.
    pub(crate) keys: (usize, usize),
}

/// A tensor as ranges of it are taken: strides, width and bytes of an element, and whether it follows query heads and rows.
#[derive(Clone, Copy)]
pub(crate) struct TensorExtent {
    pub(crate) name: &'static str,
    pub(crate) strides: Strides,
    pub(crate) dim: usize,
    pub(crate) element_bytes: usize,
    pub(crate) of_queries: bool,
}

impl Attention {
    /// The tensors as the kernel reads them: rows that a pass has turned lie in the order bhtd.
    pub(crate) fn extents(&self) -> Vec<TensorExtent> {
        let mut extents = self.stored_extents();
        for (tensor, extent) in Tensor::ALL.into_iter().zip(&mut extents) {
            if self.turns(tensor) {
                let [heads, len, dim] = self.turned_sizes(tensor);
                let strides = Strides { batch: heads * len * dim, head: len * dim, position: dim };
                *extent = TensorExtent { strides, dim, element_bytes: 4, ..*extent };
            }
        }
        extents
    }

    /// All that some pass binds: as the kernel reads it, and as it is stored where that is not the same.
    fn bound_extents(&self) -> Vec<TensorExtent> {
        let mut extents = self.extents();
        if self.turns(Tensor::Q) {
            extents.extend(self.stored_extents());
        }
        extents
    }

    /// Heads, positions and width of rows that are turned.
    pub(crate) fn turned_sizes(&self, tensor: Tensor) -> [usize; 3] {
        let [heads, len, _] = self.sizes(tensor);
        [heads, len, self.padded_dims().0]
    }

    /// The tensors as they are stored.
    pub(crate) fn stored_extents(&self) -> Vec<TensorExtent> {
        let mut extents: Vec<TensorExtent> = Tensor::ALL
            .into_iter()
            .map(|tensor| TensorExtent {
                name: tensor.name(),
                strides: self.strides(tensor),
                dim: self.sizes(tensor)[2],
                element_bytes: self.dtype_of(tensor).size_bytes(),
                of_queries: matches!(tensor, Tensor::Q | Tensor::O),
            })
            .collect();
        if self.lse {
            extents.push(TensorExtent {
                name: "lse",
                strides: Strides { batch: self.q_heads * self.q_len, head: self.q_len, position: 1 },
                dim: 1,
                element_bytes: 4,
                of_queries: true,
            });
        }
        extents
    }

    /// The byte range of a tensor that a partition touches.
    pub(crate) fn range(&self, extent: &TensorExtent, partition: &Partition, limits: &Limits) -> ByteRange {
        let pack_gqa = self.pack_gqa();
        let (first_head, last_head) = (partition.heads.0 * pack_gqa, partition.heads.1 * pack_gqa - 1);
        let (heads, positions) = if extent.of_queries {
            let rows = if pack_gqa > 1 { (0, self.q_len) } else { partition.rows };
            ((first_head, last_head), (rows.0, rows.1 - 1))
        } else {
            (
                (first_head / self.group(), last_head / self.group()),
                (partition.keys.0, partition.keys.1.max(1) - 1),
            )
        };
        let at = |batch: usize, head: usize, position: usize| {
            batch * extent.strides.batch + head * extent.strides.head + position * extent.strides.position
        };
        let batch = match extent.of_queries {
            true if self.cu_seqlens_q.is_some() => (0, 1),
            true => partition.batch,
            // A page may be anyone's, and packed queries are those of all entries.
            false if self.pages.is_some() || self.cu_seqlens_k.is_some() || self.cu_seqlens_q.is_some() => {
                (0, self.stored_batch(Tensor::K))
            }
            false => partition.batch,
        };
        let first = at(batch.0, heads.0, positions.0);
        let end = at(batch.1.max(1) - 1, heads.1, positions.1) + extent.dim;
        byte_range(first, end, extent.element_bytes, limits)
    }

    /// Keys whose rows are stored.
    pub(crate) fn stored_keys(&self) -> (usize, usize) {
        (0, self.sizes(Tensor::K)[1])
    }

    /// How many keys of a head a binding holds, where it does not hold all of them: whole blocks. They are then visited in segments.
    pub(crate) fn keys_of_binding(&self, limits: &Limits) -> Option<usize> {
        if self.pages.is_some() || self.cu_seqlens_k.is_some() || self.kv_len == 0 {
            return None;
        }
        // Room for the rounding of a binding's offset, and for the last row's end.
        let room = limits.max_storage_buffer_binding_size.saturating_sub(UNALIGNED);
        let held = self.bound_extents().into_iter().filter(|extent| !extent.of_queries).map(|extent| {
            let row = extent.strides.position.max(1) * extent.element_bytes;
            let all = (row as u64).saturating_mul(self.kv_len as u64);
            let held = usize::try_from(room).unwrap_or(usize::MAX) / row;
            if all > limits.max_storage_buffer_binding_size { held } else { usize::MAX }
        });
        let keys = held.min()?;
        (keys < self.kv_len).then_some(keys / SEGMENT_UNIT * SEGMENT_UNIT).filter(|&keys| keys > 0)
    }

    /// The partitions of the problem for tiles of `tile_rows`.
    pub(crate) fn partitions(&self, tile_rows: usize, limits: &Limits) -> Result<Vec<Partition>, Error> {
        let groups = limits.max_compute_workgroups_per_dimension as usize;
        let tiles = self.rows().div_ceil(tile_rows);
        let heads = self.q_heads / self.pack_gqa();
        // Largest partition in batch entries, heads and tiles; halved until every partition fits.
        let mut max = [self.stored_batch(Tensor::Q).min(groups), heads.min(groups), tiles.min(groups)];
        if self.cu_seqlens_q.is_some() {
            // Only the device knows which rows a tile has.
            max[2] = tiles;
        }
        loop {
            let partitions = self.cut(max, tile_rows)?;
            let excess = self.excess(&partitions, limits);
            let Some((extent, bytes)) = excess.worst else { return Ok(partitions) };
            let mut halved = None;
            let axes = if self.cu_seqlens_q.is_some() { 0..2 } else { 0..3 };
            for axis in axes.filter(|&axis| max[axis] > 1) {
                let mut less = max;
                less[axis] = less[axis].div_ceil(2);
                if self.excess(&self.cut(less, tile_rows)?, limits).total < excess.total {
                    halved = Some(less);
                    break;
                }
            }
            max = halved.ok_or_else(|| {
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

    /// The problem in partitions of at most so many batch entries, heads and tiles.
    fn cut(&self, max: [usize; 3], tile_rows: usize) -> Result<Vec<Partition>, Error> {
        let heads = self.q_heads / self.pack_gqa();
        let tiles = self.rows().div_ceil(tile_rows);
        let count = [(self.stored_batch(Tensor::Q), max[0]), (heads, max[1]), (tiles, max[2])]
            .into_iter()
            .map(|(all, max)| all.div_ceil(max.max(1)))
            .fold(1usize, usize::saturating_mul);
        if count > MAX_PARTITIONS {
            return Err(Error::limit(
                "max_storage_buffer_binding_size",
                format!(
                    "the problem would have to be cut into {count} dispatches, at most {MAX_PARTITIONS} are made"
                ),
            ));
        }
        let mut partitions = Vec::with_capacity(count);
        for batch in ranges((0, self.stored_batch(Tensor::Q)), max[0]) {
            for heads in ranges((0, heads), max[1]) {
                for (first, last) in ranges((0, tiles), max[2]) {
                    let rows = (first * tile_rows, (last * tile_rows).min(self.rows()));
                    partitions.push(Partition { batch, heads, rows, keys: self.stored_keys() });
                }
            }
        }
        Ok(partitions)
    }

    /// By how much the largest bindings of the partitions exceed the limit, in all and the worst. Pieces of one size differ:
    /// in how their start is aligned, and in how many key/value heads they touch.
    fn excess(&self, partitions: &[Partition], limits: &Limits) -> Excess {
        let mut excess = Excess { total: 0, worst: None };
        for extent in self.bound_extents() {
            let keys: Vec<(usize, usize)> = match self.keys_of_binding(limits) {
                Some(keys) if !extent.of_queries => ranges(self.stored_keys(), keys).collect(),
                _ => vec![self.stored_keys()],
            };
            let parts = partitions
                .iter()
                .flat_map(|partition| keys.iter().map(|&keys| Partition { keys, ..*partition }));
            let bytes = parts.map(|part| self.range(&extent, &part, limits).size_bytes).max().unwrap_or(0);
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

/// Bytes that a binding may need beside its rows: its offset is aligned, and the last row is one more.
const UNALIGNED: u64 = 4096;

/// Keys of a segment are whole blocks of every variant.
const SEGMENT_UNIT: usize = 256;

/// More dispatches than this take longer to record than anything they compute is worth.
const MAX_PARTITIONS: usize = 1 << 16;

struct Excess {
    total: u64,
    worst: Option<(&'static str, u64)>,
}
