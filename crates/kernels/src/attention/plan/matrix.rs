//! `matrix`: products by the adapter's matrix units. Keys and values are packed first, as `shaders/attention/matrix_tiles.wgsl` says.

use std::sync::Arc;

use foveal_shaders::Request;

use super::{
    mask_program::MaskProgram,
    partition::Partition,
    passes::Passes,
    variants::{Candidate, KV_BLOCK, Tiles, Turns, occupancy},
};
use crate::{
    AdapterProfile, Cost, Error, MatrixUnit, PassBinding,
    attention::{Attention, layout::Tensor},
    plan::{
        builder::Params,
        cost::{check_workgroup, float, small, tile, timed},
        partition::ranges,
        turns::of_loop,
    },
};

/// Keys of a packed tile, and of a step.
const KEYS: usize = 32;
/// Threads of the pass that packs.
const PACK_THREADS: usize = 64;
/// Elements behind a packed tile, of which the first is a flag.
const FLAG_WIDTH: usize = 16;
/// The widest rows: more of q and o do not stay in registers.
const MAX_WIDTH: usize = 256;

/// The sizes that everything here follows from.
#[derive(Clone, Copy)]
struct Widths {
    key: usize,
    value: usize,
}

impl Widths {
    fn of(spec: &Attention, side: usize) -> Self {
        let padded = |dim: usize| dim.next_multiple_of(side);
        Self { key: padded(spec.head_dim), value: padded(spec.value_dim) }
    }

    /// Elements of a packed tile.
    fn packed_tile(self) -> usize {
        KEYS * (self.key + self.value) + FLAG_WIDTH
    }
}

impl Attention {
    /// Tiles of keys of a batch entry, or slots of all packed sequences together.
    fn key_tiles(&self) -> usize {
        match &self.cu_seqlens_k {
            None => self.kv_len.div_ceil(KEYS),
            Some(_) => self.kv_len / KEYS + self.batch + 1,
        }
    }

    /// Batch entries whose keys are packed apart.
    fn packed_entries(&self) -> usize {
        if self.cu_seqlens_k.is_some() { 1 } else { self.batch }
    }

    /// Bytes of all keys and values, packed.
    fn packed_bytes(&self, widths: Widths) -> u64 {
        let tiles = self.packed_entries().saturating_mul(self.kv_heads).saturating_mul(self.key_tiles());
        (tiles as u64).saturating_mul(2 * widths.packed_tile() as u64)
    }
}

pub(crate) fn propose(
    spec: &Attention,
    visibility: &MaskProgram<'_>,
    adapter: &AdapterProfile,
) -> Result<Candidate, String> {
    let unit = unit_of(adapter)?;
    check_problem(spec, adapter)?;
    let (side, lanes) = (unit.side as usize, unit.lanes as usize);
    let widths = Widths::of(spec, side);
    // A binding's offsets count elements, in 32 bits; and the pass that packs binds k and v whole.
    let max = adapter.limits.max_storage_buffer_binding_size.min(u64::from(u32::MAX));
    let sizes = [Tensor::K, Tensor::V].map(|tensor| {
        let bytes = spec.span(tensor).unwrap_or(usize::MAX) as u64;
        (tensor.name(), bytes.saturating_mul(spec.dtype_of(tensor).size_bytes() as u64))
    });
    let packed = spec.packed_bytes(widths);
    for (name, bytes) in sizes.into_iter().chain([("packed keys and values", packed)]) {
        if bytes > max {
            return Err(format!("{name} need {bytes} bytes in one binding, the adapter allows {max}"));
        }
    }
    let rows = tile_rows(spec, unit)?;
    let workgroup_bytes = workgroup_bytes(rows, lanes);
    check_workgroup(adapter, lanes.max(PACK_THREADS), workgroup_bytes)?;
    let (visited_rows, pairs) = spec.visited(visibility, rows, KEYS, KV_BLOCK);
    let width = float(widths.key + widths.value);
    let cost = Cost {
        matrix: pairs * width,
        // Work of ordinary lanes: masks, maxima, exponents and conversions of every score.
        fma: pairs * 14.0,
        // Two elements a load, once for all rows of a tile; then what is packed.
        storage_loads: pairs * width / float(2 * rows)
            + float(spec.kv_len * spec.batch * spec.kv_heads) * width,
        workgroup_loads: pairs * 3.0,
        exp2: pairs + visited_rows,
        occupancy: occupancy(spec, adapter, rows),
        ..Cost::default()
    };
    let parts = |width: usize| width.div_ceil(KEYS);
    let rescaling = parts(widths.value) as u64 * of_loop((rows * KEYS).div_ceil(lanes), of_loop(KEYS, 0));
    let moving =
        (parts(widths.key) + parts(widths.value)) as u64 * of_loop((rows * KEYS / 4).div_ceil(lanes), 0);
    let over_lanes = of_loop(lanes.ilog2() as usize, 0) * (rows.div_ceil(lanes)) as u64;
    Ok(Candidate {
        variant: "matrix",
        threads: unit.lanes,
        workgroup_bytes,
        tiles: vec![tile("rows", rows), tile("keys", KEYS), tile("matrices of", side), tile("lanes", lanes)],
        cost: timed(cost, adapter),
        schedule: Tiles {
            request: spec
                .request("attention/matrix")
                .without(&["shared/kv"])
                .replace("shared/matrix", format!("shared/matrix_{side}"))
                .tunable("LANES", unit.lanes)
                .tunable("ROW_TILES", small(rows / side)),
            tile_rows: rows,
            kv_block: KV_BLOCK,
            turns: Turns {
                of_block: (KV_BLOCK / KEYS) as u64 * (1 + rescaling + over_lanes),
                other: 2 + moving + over_lanes + of_loop(32, 0),
            },
            splits_in_grid: false,
            matrix_side: Some(side),
        },
    })
}

/// The adapter's matrix units, or why they cannot be used.
fn unit_of(adapter: &AdapterProfile) -> Result<MatrixUnit, String> {
    if let Some(reason) = adapter.matrix_denied() {
        return Err(reason);
    }
    let Some(unit) = adapter.matrix else {
        return Err(
            "needs matrix units, of f16 added in f32, which the adapter lacks (or the device was opened without)"
                .into());
    };
    if !adapter.features.f16 {
        return Err("needs shader-f16, which the adapter lacks (or the device was opened without)".into());
    }
    let Some((min, max)) = adapter.features.subgroups else {
        return Err("needs subgroups, which the adapter lacks (or the device was opened without)".into());
    };
    let MatrixUnit { side, lanes } = unit;
    if ![8, 16].contains(&side) || !lanes.is_power_of_two() || !(min..=max).contains(&lanes) || lanes < 4 {
        return Err(format!(
            "the adapter's matrices are {side} x {side} in subgroups of {lanes} lanes, of {min} to {max}: not served"
        ));
    }
    Ok(unit)
}

/// Why a problem is not served, if so.
fn check_problem(spec: &Attention, adapter: &AdapterProfile) -> Result<(), String> {
    if spec.quantised.is_some() {
        return Err("takes keys and values of f16, not integers".into());
    }
    if [Tensor::Q, Tensor::K].into_iter().any(|tensor| spec.turns(tensor)) {
        return Err("takes rows as they are stored, not turned by their positions".into());
    }
    if spec.shared_prefix > 0 {
        return Err("visits the keys of each batch entry for itself, not a shared prefix".into());
    }
    if !spec.multiplies_f16() {
        return Err(format!("rounds to f16, and q, k and v are {}: only with `precision` f16", spec.dtype));
    }
    let widest = spec.head_dim.max(spec.value_dim);
    if widest > MAX_WIDTH {
        return Err(format!("serves rows of up to {MAX_WIDTH} elements, these have {widest}"));
    }
    let groups = adapter.limits.max_compute_workgroups_per_dimension as usize;
    if spec.kv_heads.max(spec.batch) > groups {
        return Err(format!("packs at most {groups} batch entries and key/value heads"));
    }
    Ok(())
}

/// Rows of a tile: as many as q and o leave registers for, by what compilers make of the kernel for AMD's and NVIDIA's GPUs.
fn tile_rows(spec: &Attention, unit: MatrixUnit) -> Result<usize, String> {
    let (side, lanes) = (unit.side as usize, unit.lanes as usize);
    let widest = spec.head_dim.max(spec.value_dim);
    let wide = if lanes >= 64 { 128 } else { 64 };
    let rows = match lanes {
        // A driver on a CPU: its text grows with the rows.
        ..16 => side,
        _ if widest <= wide => 32,
        _ => 16,
    };
    let rows = rows.max(side).max(lanes / 8);
    match spec.device_blocks() {
        Some(listed) if !listed.q_block.is_multiple_of(rows) || !listed.kv_block.is_multiple_of(KV_BLOCK) => {
            Err(format!(
                "blocks of {} x {} are not made of whole tiles of {rows} x {KV_BLOCK}",
                listed.q_block, listed.kv_block
            ))
        }
        _ => Ok(rows),
    }
}

/// Workgroup memory of the kernel: scores, weights, factors, bits of seen keys, and a flag.
fn workgroup_bytes(rows: usize, lanes: usize) -> u32 {
    let arrays = [4 * rows * (KEYS + 4), 2 * rows * (KEYS + 8), 4 * rows, 4 * lanes.max(rows), 4];
    small(arrays.into_iter().map(|bytes| bytes.next_multiple_of(16)).sum())
}

impl Passes<'_> {
    /// The pass that packs keys and values, if the kernel takes them so.
    pub(crate) fn pack(&mut self) -> Result<(), Error> {
        let Some(side) = self.taken.schedule.matrix_side else { return Ok(()) };
        let spec = self.spec;
        let widths = Widths::of(spec, side);
        let at = self.plan.add_scratch("foveal.attention.packed", spec.packed_bytes(widths))?;
        self.at.packed = Some(at);
        let reordered = self.lists.as_ref().is_some_and(|lists| lists.layout.reordered);
        let request = Arc::new(spec.pack_request(side).tunable("TOKEN_ORDER", reordered));
        let whole = Partition {
            batch: (0, spec.stored_batch(Tensor::K)),
            heads: (0, spec.q_heads / spec.pack_gqa()),
            rows: (0, spec.q_len),
            keys: spec.stored_keys(),
        };
        let turns = of_loop((KEYS * widths.key / 4).div_ceil(PACK_THREADS), 0)
            + of_loop((KEYS * widths.value / 16).div_ceil(PACK_THREADS), 0)
            + of_loop(32, 0);
        let max = self.plan.adapter.limits.max_compute_workgroups_per_dimension as usize;
        for tiles in ranges((0, spec.key_tiles()), max) {
            let mut bindings = Vec::new();
            let mut params: Params = self.params([0, 0, tiles.0])?;
            params.extend(spec.width_params()?);
            self.bind_tensors(&whole, &mut bindings, &mut params)?;
            bindings.retain(|binding| ["k", "v"].contains(&&*binding.name));
            for (variable, _, name, _) in spec.entry_tables() {
                if ["kv_lengths", "block_table"].contains(&variable) {
                    bindings.push(self.plan.tensor(variable, name)?);
                }
            }
            if let Some(lists) = self.at.lists.filter(|_| reordered) {
                bindings.push(self.plan.scratch("lists", lists));
            }
            bindings.push(self.plan.scratch("packed", at));
            let workgroups = [tiles.1 - tiles.0, spec.kv_heads, spec.packed_entries()];
            self.plan.push("pack", &request, bindings, params, workgroups, turns)?;
        }
        Ok(())
    }

    /// Binds the packed keys and values in place of k and v, if there are any.
    pub(crate) fn bind_packed(&self, bindings: &mut Vec<PassBinding>) {
        if let Some(at) = self.at.packed {
            bindings.retain(|binding| !["k", "v"].contains(&&*binding.name));
            bindings.push(self.plan.scratch("packed", at));
        }
    }
}

impl Attention {
    fn pack_request(&self, side: usize) -> Request {
        let (head_dim, value_dim) = self.padded_dims();
        let request = Request::new("attention/matrix_pack")
            .replace("shared/inputs", self.inputs_module())
            .replace("shared/kv", "shared/kv_like_q")
            .replace("shared/matrix", format!("shared/matrix_{side}"))
            .tunable("HEAD_DIM", small(head_dim))
            .tunable("VALUE_DIM", small(value_dim))
            .tunable("KV_LENGTHS", self.own_lengths().keys)
            .tunable("PACKED_K", self.cu_seqlens_k.is_some());
        self.with_keys(request)
    }
}
