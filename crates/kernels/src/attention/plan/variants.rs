//! Tiles of variants, and their cost; `tiled` and `naive`.

use foveal_shaders::Request;

use super::{mask_program::MaskProgram, tuning::Tuning};
use crate::{
    AdapterKind, AdapterProfile, Cost,
    attention::{Attention, Mask, layout::Tensor},
    operator,
    plan::{
        cost::{check_workgroup, float, small, tile, timed},
        turns::of_loop,
    },
    spec::storage::storage_module,
};

pub(crate) type Candidate = operator::Candidate<Attention>;

/// The tiles that a variant makes its passes of.
#[derive(Clone, Debug)]
pub(crate) struct Tiles {
    pub(crate) request: Request,
    /// Rows of a workgroup's tile.
    pub(crate) tile_rows: usize,
    /// Keys of the blocks that lists are made of.
    pub(crate) kv_block: usize,
    pub(crate) turns: Turns,
    /// Whether the keys are split in the grid, rather than over dispatches.
    pub(crate) splits_in_grid: bool,
    /// Of a kernel for matrix units, which takes keys and values packed: the side of its matrices.
    pub(crate) matrix_side: Option<usize>,
}

/// Turns that an invocation's loops take at most (see [`crate::turns`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turns {
    /// For each block of keys that is visited.
    pub(crate) of_block: u64,
    /// Beside those.
    pub(crate) other: u64,
}

impl Turns {
    /// With so many blocks.
    pub(crate) fn with_blocks(self, blocks: usize) -> u64 {
        self.of_block.saturating_mul(blocks as u64).saturating_add(self.other)
    }

    /// How many blocks may be visited where loops end after `most` turns: none if even one is too many.
    pub(crate) fn blocks_within(self, max: u64) -> usize {
        let blocks = max.saturating_sub(self.other) / self.of_block.max(1);
        usize::try_from(blocks).unwrap_or(usize::MAX)
    }
}

/// Few queries leave a tile mostly empty: then the heads that share keys are folded into its rows.
const FOLD_BELOW: usize = 33;

impl Attention {
    /// How many heads share a workgroup's rows: 1 or the whole group.
    pub(crate) fn pack_gqa(&self) -> usize {
        // Lists of the caller's are lists of single heads, and lengths count queries.
        let apart = self.is_block_sparse() || self.q_lengths.is_some();
        let q_len = self.specialized().typical_lengths().0;
        if self.group() > 1 && q_len < FOLD_BELOW && !apart { self.group() } else { 1 }
    }

    /// Rows that share a key/value head's workgroups.
    pub(crate) fn rows(&self) -> usize {
        self.entries_of_tiles() * self.q_len * self.pack_gqa()
    }

    /// Batch entries whose rows share tiles.
    fn entries_of_tiles(&self) -> usize {
        if self.over_prefix { self.batch } else { 1 }
    }

    /// Workgroups of tiles of so many rows, without splits.
    pub(crate) fn workgroups(&self, tile_rows: usize) -> usize {
        let entries = if self.over_prefix { 1 } else { self.stored_batch(Tensor::Q) };
        self.tiles_of((0, self.rows()), tile_rows) * entries * self.q_heads / self.pack_gqa()
    }

    /// Rows that tiles are chosen for.
    pub(crate) fn rows_for_tiles(&self) -> usize {
        self.specialized().typical_lengths().0 * self.pack_gqa() * self.entries_of_tiles()
    }

    /// Workgroups that stretches of rows take along x: tiles, or slots of packed sequences.
    pub(crate) fn tiles_of(&self, rows: (usize, usize), tile_rows: usize) -> usize {
        match &self.cu_seqlens_q {
            None => (rows.1 - rows.0).div_ceil(tile_rows),
            // A tile may be begun in each, and in what lies beyond the last.
            Some(_) => self.rows() / tile_rows + self.batch + 1,
        }
    }

    /// Whether every row of every tensor starts on a multiple of four elements.
    pub(crate) fn aligned(&self) -> bool {
        let in_a_byte = self.quantised.as_ref().map_or(1, |quantised| quantised.integers.in_a_byte());
        let four = |tensor| if matches!(tensor, Tensor::K | Tensor::V) { 4 / in_a_byte } else { 4 };
        self.head_dim.is_multiple_of(4)
            && self.value_dim.is_multiple_of(4)
            && Tensor::ALL.into_iter().all(|tensor| self.strides(tensor).aligned_to(four(tensor)))
    }

    pub(crate) fn padded_dims(&self) -> (usize, usize) {
        (self.head_dim.next_multiple_of(4), self.value_dim.next_multiple_of(4))
    }

    /// The part that all variants' requests share.
    pub(crate) fn request(&self, module: &str) -> Request {
        let (head_dim, value_dim) = self.padded_dims();
        let request = Request::new(module)
            .replace("shared/inputs", self.inputs_module())
            .replace("shared/kv", self.kv_module())
            .replace("shared/output", storage_module("output", self.dtype, self.aligned()))
            .tunable("HEAD_DIM", small(head_dim))
            .tunable("VALUE_DIM", small(value_dim))
            .tunable("PACK_GQA", self.pack_gqa() > 1)
            .tunable("WRITE_LSE", self.lse)
            .tunable("HEAD_SCALE", self.head_scale().is_some())
            .tunable("NORMALISE", self.qk_norm.is_some())
            .tunable("SINKS", self.sink_logits.is_some())
            .tunable("NATURAL", self.natural_scores())
            .tunable("HIDES", self.may_hide())
            .tunable("Q_LENGTHS", self.own_lengths().queries)
            .tunable("KV_LENGTHS", self.own_lengths().keys)
            .tunable("PACKED_Q", self.cu_seqlens_q.is_some());
        let request = match [Tensor::Q, Tensor::K].map(|tensor| self.turns(tensor)) {
            [false, false] => request,
            [q, k] => request.tunable("Q_TURNED", q).tunable("K_TURNED", k),
        };
        let request = if self.quantised.is_none() {
            request.tunable("PACKED_K", self.cu_seqlens_k.is_some())
        } else {
            request
        };
        let request = if self.q_scale().is_some() { request.tunable("QUANTISED_Q", true) } else { request };
        self.with_keys(request)
    }

    /// The shaders' variable of a tensor.
    pub(crate) fn variable(&self, tensor: &'static str) -> &'static str {
        match tensor {
            "k" if self.quantised.is_some() => "k_integers",
            "v" if self.quantised.is_some() => "v_integers",
            other => other,
        }
    }

    /// The module that reads rows of k and v.
    fn kv_module(&self) -> String {
        let vectors = if self.aligned() { "x4" } else { "" };
        match &self.quantised {
            None => "shared/kv_like_q".to_owned(),
            Some(quantised) => format!("shared/kv_{}{vectors}", quantised.integers),
        }
    }

    /// The tunables that say where keys lie and how they are stored.
    pub(super) fn with_keys(&self, request: Request) -> Request {
        let request = match &self.pages {
            None => request,
            Some(pages) => request.tunable("PAGED", true).tunable("PAGE", small(pages.page)),
        };
        match &self.quantised {
            None => request,
            // More keys than there can be have one scale.
            Some(of) => request
                .tunable("QUANTISED", true)
                .tunable("QUANT_BLOCK", small(of.block.min(1 << 30)))
                .tunable("PACKED_K", self.cu_seqlens_k.is_some()),
        }
    }

    /// With the tunables that say what integers in queries stand for, in a request that knows of no keys.
    fn with_queries(&self, request: Request) -> Request {
        match (&self.quantised, self.q_scale()) {
            (Some(of), Some(_)) => request
                .tunable("QUANTISED_Q", true)
                .tunable("QUANT_BLOCK", small(of.block.min(1 << 30)))
                .tunable("PACKED_Q", self.cu_seqlens_q.is_some()),
            _ => request,
        }
    }

    /// Whether some keys may be hidden from some queries.
    pub(crate) fn may_hide(&self) -> bool {
        let own = self.own_lengths();
        let lengths = own.queries || own.keys;
        let blocks = self.is_block_sparse();
        self.mask != Mask::None || self.score.is_some() || lengths || blocks || self.pages.is_some()
    }

    /// The request of the pass that computes norms.
    pub(crate) fn norms_request(&self, of_keys: bool) -> Request {
        let request = self.rows_request("attention/norms").tunable("OF_KEYS", of_keys);
        if of_keys { self.with_keys(request) } else { self.with_queries(request) }
    }

    /// The request of a pass over rows of q or k.
    pub(crate) fn rows_request(&self, module: &str) -> Request {
        Request::new(module)
            .replace("shared/inputs", self.inputs_module())
            .replace("shared/kv", self.kv_module())
            .tunable("HEAD_DIM", small(self.padded_dims().0))
    }

    /// Rows and (row, key) pairs that tiles of `rows` x `keys` visit, over the whole problem, if they can follow lists of
    /// blocks of `kv_block` keys.
    pub(crate) fn visited(
        &self,
        visibility: &MaskProgram<'_>,
        rows: usize,
        keys: usize,
        kv_block: usize,
    ) -> (f64, f64) {
        let (tile_rows, pairs) = self.visited_by_structure(rows, keys);
        (tile_rows, pairs * visibility.visited_share(rows, kv_block))
    }

    pub(crate) fn visited_by_structure(&self, rows: usize, keys: usize) -> (f64, f64) {
        let (q_len, kv_len) = self.typical_lengths();
        let together = self.entries_of_tiles();
        let tiles = (together * q_len * self.pack_gqa()).div_ceil(rows);
        let heads = float(self.batch / together * self.q_heads / self.pack_gqa());
        let pairs: f64 = (0..tiles)
            .map(|tile| {
                // The last query of the tile bounds its keys; with heads folded that is the last of all.
                let last = if self.pack_gqa() > 1 || self.over_prefix {
                    q_len
                } else {
                    ((tile + 1) * rows).min(q_len)
                };
                let seen = self.num_visible_keys_of(last.saturating_sub(1), q_len, kv_len);
                float(rows * seen.next_multiple_of(keys))
            })
            .sum();
        (heads * float(tiles * rows), heads * pairs)
    }
}

/// The share of an adapter that tiles of so many rows occupy.
pub(crate) fn occupancy(spec: &Attention, adapter: &AdapterProfile, tile_rows: usize) -> f64 {
    let groups = float(spec.workgroups(tile_rows));
    crate::plan::cost::occupancy(groups, adapter)
}

/// Keys of a block where the kernel's own steps are shorter.
pub(crate) const KV_BLOCK: usize = 64;

pub(crate) fn naive(
    spec: &Attention,
    visibility: &MaskProgram<'_>,
    adapter: &AdapterProfile,
) -> Result<Candidate, String> {
    let threads = if adapter.kind == AdapterKind::Cpu { 8 } else { 64 };
    check_workgroup(adapter, threads, 0)?;
    let (head_dim, value_dim) = spec.padded_dims();
    let (rows, pairs) = spec.visited(visibility, threads, 1, KV_BLOCK);
    let cost = Cost {
        fma: pairs * float(head_dim + value_dim),
        // q again for every key: nothing is kept.
        storage_loads: pairs * float(2 * head_dim + value_dim),
        exp2: 2.0 * pairs + rows,
        occupancy: occupancy(spec, adapter, threads),
        ..Cost::default()
    };
    Ok(Candidate {
        variant: "naive",
        threads: small(threads),
        workgroup_bytes: 0,
        tiles: vec![tile("rows", threads)],
        cost: timed(cost, adapter),
        schedule: Tiles {
            request: spec.request("attention/naive").tunable("THREADS", small(threads)),
            tile_rows: threads,
            kv_block: KV_BLOCK,
            turns: Turns { of_block: KV_BLOCK as u64 * (1 + of_loop(head_dim / 4, 0)), other: 1 },
            splits_in_grid: false,
            matrix_side: None,
        },
    })
}

/// Bytes of workgroup memory `tiled` keeps to: the floor's limit, and what lets four waves live on a SIMD of 64 KiB.
const STAGE_VECTORS: usize = (16 << 10) / 16;

pub(crate) fn tiled(
    spec: &Attention,
    visibility: &MaskProgram<'_>,
    adapter: &AdapterProfile,
) -> Result<Candidate, String> {
    let (head_dim, value_dim) = spec.padded_dims();
    let widest = head_dim.max(value_dim);
    // A CPU gains nothing from long unrolled stages and pays for compiling them.
    let longest = if adapter.kind == AdapterKind::Cpu { 8 } else { 32 };
    let tuning = Tuning::of(spec, adapter, widest, longest);
    let (lanes, row_lanes) = match widest {
        0..=64 => (16, 16),
        65..=128 if !tuning.few_registers => (16, 16),
        65..=256 => (32, 8),
        _ => (64, 4),
    };
    let threads = lanes * row_lanes;
    let (block_q, block_k) = (4 * row_lanes, 4 * lanes);
    if let Some(listed) = spec.device_blocks().filter(|listed| !listed.kv_block.is_multiple_of(block_k)) {
        return Err(format!("visits {block_k} keys at a time, the lists have blocks of {}", listed.kv_block));
    }
    let slice = best_slice(head_dim, (STAGE_VECTORS / (row_lanes + lanes)).min(longest));
    let value_lanes = value_dim.div_ceil(block_k) * lanes;
    let key_slice = (0..=tuning.key_slice.ilog2())
        .rev()
        .map(|power| 1usize << power)
        .find(|keys| block_k % keys == 0 && keys * (row_lanes + value_lanes) <= STAGE_VECTORS)
        .filter(|keys| *keys >= 4)
        .ok_or("no slice of the values fits in 16 KiB of workgroup memory")?;
    let vectors = (slice * (row_lanes + lanes)).max(key_slice * (row_lanes + value_lanes)).max(threads + 1);
    let workgroup_bytes = small(vectors * 16);
    check_workgroup(adapter, threads, workgroup_bytes)?;
    let (rows, pairs) = spec.visited(visibility, block_q, block_k, block_k);
    let padded_head = head_dim.next_multiple_of(slice);
    let staged_per_pair = float(padded_head) * (1.0 / float(block_q) + 1.0 / float(block_k))
        + float(value_dim) / float(block_q);
    let cost = Cost {
        fma: pairs * float(padded_head + value_lanes * 4),
        storage_loads: pairs * staged_per_pair,
        // Two vectors of four feed sixteen FMAs; staging writes cost as much as reads.
        workgroup_loads: pairs * (float(padded_head + value_lanes * 4) / 2.0 + staged_per_pair),
        exp2: pairs + rows,
        occupancy: occupancy(spec, adapter, block_q),
        ..Cost::default()
    };
    // Where elements may be hidden, values are tested, and those that are not finite are met one by one.
    let of_odd_values = if spec.may_hide() {
        of_loop((block_k * value_lanes).div_ceil(threads), 0) + of_loop(block_k, 0)
    } else {
        0
    };
    let mut tiles = vec![
        tile("rows", block_q),
        tile("keys", block_k),
        tile("slice of d", slice),
        tile("slice of keys", key_slice),
    ];
    tiles.extend(tuning.why.map(|(maker, why)| (format!("on {maker}'s GPUs"), why.to_owned())));
    let request = spec
        .request("attention/tiled")
        .tunable("LANES", small(lanes))
        .tunable("ROW_LANES", small(row_lanes))
        .tunable("SLICE", small(slice))
        .tunable("KEY_SLICE", small(key_slice));
    let request = match tuning.batch {
        Some(batch) => request.tunable("BATCH", batch),
        None => request,
    };
    Ok(Candidate {
        variant: "tiled",
        threads: small(threads),
        workgroup_bytes,
        tiles,
        cost: timed(cost, adapter),
        schedule: Tiles {
            request,
            tile_rows: block_q,
            kv_block: block_k,
            turns: Turns {
                of_block: 1
                    + of_loop(head_dim.div_ceil(slice), 0)
                    + of_loop(lanes, 0)
                    + of_loop(block_k / key_slice, 0)
                    + of_odd_values,
                other: 1 + of_loop(lanes, 0),
            },
            splits_in_grid: false,
            matrix_side: None,
        },
    })
}

/// The multiple of four up to `longest` that covers `dim` with the least padding; the longest of those.
fn best_slice(dim: usize, longest: usize) -> usize {
    (1..=longest / 4)
        .map(|quads| quads * 4)
        .min_by_key(|&slice| (dim.next_multiple_of(slice) - dim, usize::MAX - slice))
        .unwrap_or(4)
}
