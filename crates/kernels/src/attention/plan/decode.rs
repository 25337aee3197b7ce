//! Proposals of `decode`.

use super::{
    mask_program::MaskProgram,
    variants::{Candidate, KV_BLOCK, Tiles, Turns},
};
use crate::{
    AdapterKind, AdapterProfile, Cost,
    attention::{Attention, DeviceBlockMask},
    plan::{
        cost::{check_workgroup, float, occupancy, small, tile, timed},
        turns::of_loop,
    },
};

/// Rows that share keys, at most: more of them are a tile that others serve better.
pub(crate) const MAX_ROWS: usize = 16;

/// Keys that a split has at least on a GPU, where the plan decides how many there are: fewer are merged for longer than they save.
pub(crate) const MIN_KEYS_OF_SPLIT: usize = 256;

/// Keys of a part where parts have a size, and how many there are at most: each is a workgroup, if only to find nothing to do.
const KEYS_OF_SPLIT: usize = 512;
const MAX_SPLITS_BY_SIZE: usize = 64;

/// Threads of a workgroup on a GPU: a few subgroups, which wait for memory in turn.
const GPU_THREADS: usize = 256;

/// Registers of a GPU's thread that may hold q and o, and those that loads are under way to; f32s. What else there is takes as
/// many again, and compilers have 128 for all of it where several subgroups are to wait for memory in turn.
const REGISTERS: usize = 64;
const LOADS: usize = 32;

/// Products that may be made in excess, in percent.
const EXCESS: usize = 25;

/// Bytes of workgroup memory that partial sums may take, half of what every adapter has.
const SUMS_BYTES: usize = 8 << 10;

/// How threads meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A workgroup is one subgroup of a CPU's driver.
    OneSubgroup,
    /// A group lies in a subgroup.
    Subgroups,
    /// A group meets in workgroup memory; of a single lane it does not have to.
    Memory,
}

/// How a workgroup divides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DecodeTiles {
    form: Form,
    threads: usize,
    rows: usize,
    lanes: usize,
    keys: usize,
    /// Vectors of four of a row of k, and of v, that a thread has.
    vectors: [usize; 2],
    merged: usize,
}

/// The powers of two from `from` to `to`.
fn powers(from: usize, to: usize) -> impl DoubleEndedIterator<Item = usize> {
    (0..usize::BITS - 1).map(|power| 1usize << power).filter(move |power| (from..=to).contains(power))
}

/// The largest power of two up to x, which is at least 1.
fn power_below(x: usize) -> usize {
    1 << x.max(1).ilog2()
}

fn vectors(dims: (usize, usize), lanes: usize) -> [usize; 2] {
    [dims.0, dims.1].map(|dim| (dim / 4).div_ceil(lanes))
}

/// Numbers of lanes up to `max` whose threads make at most `excess` percent more products than the rows need: each lane takes whole
/// vectors, and together they may reach beyond a row's end.
fn fitting_lanes(dims: (usize, usize), max: usize, excess: usize) -> Vec<usize> {
    let made = |lanes: usize| vectors(dims, lanes).iter().sum::<usize>() * lanes;
    let exact = dims.0 / 4 + dims.1 / 4;
    powers(1, max).filter(|&lanes| 100 * made(lanes) <= (100 + excess) * exact).collect()
}

/// Rows of a tile where at most `max` fit: the others are other workgroups', evenly. The device's lists are for whole tiles.
fn of_tile(spec: &Attention, rows: usize, max: usize) -> usize {
    let rows = rows.div_ceil(rows.div_ceil(max));
    if spec.specialized().device_blocks().is_some() { power_below(rows) } else { rows }
}

impl DecodeTiles {
    fn of(spec: &Attention, adapter: &AdapterProfile) -> Self {
        let rows = spec.rows_for_tiles().max(1);
        let subgroups = adapter.features.subgroups.filter(|(min, max)| min.is_power_of_two() && max >= min);
        match (adapter.kind, subgroups) {
            (AdapterKind::Cpu, Some((min, max))) if min == max && (2..=64).contains(&min) => {
                Self::on_cpu(spec, Form::OneSubgroup, rows, min as usize)
            }
            (AdapterKind::Cpu, _) => Self::on_cpu(spec, Form::Memory, rows, CPU_THREADS),
            (_, subgroups) => Self::on_gpu(spec, rows, subgroups.map_or(1, |(min, _)| min as usize)),
        }
    }

    /// On a CPU, where registers are cache, loads cost most, and compile time grows with the text.
    fn on_cpu(spec: &Attention, form: Form, rows: usize, subgroup: usize) -> Self {
        let dims = spec.padded_dims();
        let lanes = fitting_lanes(dims, subgroup, EXCESS).into_iter().next_back().unwrap_or(1);
        let vectors = vectors(dims, lanes);
        let loads = vectors[0] + vectors[1];
        // Best by trial, for eight lanes and for four: a text of more keys no longer fits the instruction cache.
        let most = if subgroup >= 8 { 2 } else { 4 };
        let keys = power_below((MAX_LOADS_OF_TEXT / loads).clamp(1, most.min(lanes)));
        let (form, threads) = if lanes == 1 { (Form::Memory, CPU_THREADS) } else { (form, subgroup) };
        let rows = of_tile(spec, rows, (MAX_VECTORS_OF_TEXT / loads).max(1));
        Self { form, threads, rows, lanes, keys, vectors, merged: 1 }
    }

    /// On a GPU: as few lanes a key as registers allow, since what lanes tell each other is no work; but enough that their loads lie
    /// side by side.
    fn on_gpu(spec: &Attention, rows: usize, subgroup: usize) -> Self {
        let dims = spec.padded_dims();
        let registers = |lanes: usize, rows: usize| rows * 4 * vectors(dims, lanes).iter().sum::<usize>();
        // Rows are streamed for once, if registers allow; at worst with idle lanes.
        let within = |max: usize| {
            [EXCESS, 100].into_iter().find_map(|excess| {
                let mut lanes = fitting_lanes(dims, max, excess).into_iter().filter(|&lanes| lanes >= 8);
                lanes.find(|&lanes| registers(lanes, rows) <= REGISTERS)
            })
        };
        let widest = fitting_lanes(dims, 64, EXCESS).into_iter().next_back().unwrap_or(1);
        let (form, lanes) = match within(subgroup.min(32)) {
            Some(lanes) => (Form::Subgroups, lanes),
            None if subgroup >= widest => (Form::Subgroups, widest),
            None => (Form::Memory, within(64).unwrap_or(widest)),
        };
        let form = if lanes == 1 { Form::Memory } else { form };
        let of_registers = (1..=rows).rev().find(|&rows| registers(lanes, rows) <= REGISTERS).unwrap_or(1);
        let rows = of_tile(spec, rows, of_registers);
        let vectors = vectors(dims, lanes);
        let mut threads = GPU_THREADS;
        // Many rows have maxima, sums and scores of their own.
        let loads = if rows > 4 { LOADS / 2 } else { LOADS };
        let mut keys = power_below(loads / (4 * (vectors[0] + vectors[1]))).min(8).min(lanes);
        if form == Form::Memory && lanes > 1 {
            while 4 * threads * keys * rows > SUMS_BYTES && keys > 1 {
                keys /= 2;
            }
            while 4 * threads * keys * rows > SUMS_BYTES && threads > lanes {
                threads /= 2;
            }
        }
        let merged = (rows * vectors[1]).min(if form == Form::Memory { 1 } else { 2 });
        Self { form, threads, rows, lanes, keys, vectors, merged }
    }

    fn groups(self) -> usize {
        self.threads / self.lanes
    }

    /// Keys of a step.
    fn chunk(self) -> usize {
        self.groups() * self.keys
    }

    /// Keys of the blocks that lists are made of.
    fn kv_block(self) -> usize {
        KV_BLOCK.max(self.chunk())
    }

    fn is_one_subgroup(self) -> bool {
        self.form == Form::OneSubgroup
    }

    /// Whether groups meet in workgroup memory for every step.
    fn meets_in_memory(self) -> bool {
        self.form == Form::Memory && self.lanes > 1
    }

    /// As the shader declares it.
    fn workgroup_bytes(self, spec: &Attention) -> u32 {
        let aligned = |words: usize| (4 * words).next_multiple_of(16);
        let pairs = self.groups() * self.keys * self.rows;
        let mut bytes = 0;
        if self.meets_in_memory() {
            bytes += aligned(self.lanes * pairs) + aligned(pairs);
            if spec.may_hide() {
                bytes += aligned(self.threads) + 16;
            }
        }
        if self.groups() > 1 && !self.is_one_subgroup() {
            bytes +=
                16 * self.merged * self.threads + 2 * aligned(self.groups() * self.rows) + aligned(self.rows);
        }
        small(bytes)
    }
}

/// Vectors of q and o that a thread holds: a driver that runs on the CPU compiles more of them for minutes (272 on SwiftShader).
const MAX_VECTORS_OF_TEXT: usize = 160;

/// Loads of vectors in the text of a step: drivers that run on the CPU compile each for milliseconds.
const MAX_LOADS_OF_TEXT: usize = 64;

/// Threads of a workgroup on a CPU without subgroups.
const CPU_THREADS: usize = 8;

/// How a problem is divided.
///
/// # Errors
/// The reason why it is not served.
fn tiles(spec: &Attention, adapter: &AdapterProfile) -> Result<DecodeTiles, String> {
    let all_rows = spec.rows_for_tiles();
    if all_rows > MAX_ROWS {
        return Err(format!("for up to {MAX_ROWS} rows that share keys, here {all_rows} do"));
    }
    let tiles = DecodeTiles::of(spec, adapter);
    let (row, kv_block) = (tiles.vectors[0] + tiles.vectors[1], tiles.kv_block());
    if adapter.kind == AdapterKind::Cpu && row > MAX_VECTORS_OF_TEXT {
        return Err(format!(
            "a thread would hold {row} vectors of q and o, drivers that run on the CPU compile {MAX_VECTORS_OF_TEXT} at most in time"
        ));
    }
    let whole = |listed: &DeviceBlockMask| {
        listed.kv_block.is_multiple_of(kv_block) && listed.q_block.is_multiple_of(tiles.rows)
    };
    if let Some(listed) = spec.device_blocks().filter(|listed| !whole(listed)) {
        return Err(format!(
            "takes blocks of {} rows and {kv_block} keys, the lists have blocks of {} and {}",
            tiles.rows, listed.q_block, listed.kv_block
        ));
    }
    check_workgroup(adapter, tiles.threads, tiles.workgroup_bytes(spec))?;
    Ok(tiles)
}

/// Whether a problem is served.
pub(crate) fn serves(spec: &Attention, adapter: &AdapterProfile) -> bool {
    tiles(spec, adapter).is_ok()
}

pub(crate) fn propose(
    spec: &Attention,
    visibility: &MaskProgram<'_>,
    adapter: &AdapterProfile,
) -> Result<Candidate, String> {
    let sizes = tiles(spec, adapter)?;
    let DecodeTiles { threads, rows: tile_rows, lanes, keys, .. } = sizes;
    let kv_block = sizes.kv_block();
    let (head_dim, value_dim) = spec.padded_dims();
    let (rows, pairs) = spec.visited(visibility, tile_rows, sizes.chunk(), kv_block);
    let width = float(head_dim + value_dim);
    let of_lanes = pairs * float(lanes);
    let exchanges = float(2 * keys - 1) + float(lanes).log2();
    let in_memory = sizes.meets_in_memory();
    let groups = spec.workgroups(tile_rows);
    let splits = spec.splits_of(adapter, spec.kv_len, tile_rows);
    let cost = Cost {
        fma: of_lanes * float(4 * (sizes.vectors[0] + sizes.vectors[1])),
        storage_loads: pairs / float(tile_rows) * width + rows * width,
        workgroup_loads: if in_memory { 3.0 * of_lanes } else { 0.0 },
        broadcasts: if in_memory || lanes == 1 { 0.0 } else { of_lanes / float(keys) * exchanges },
        exp2: if in_memory { of_lanes * (1.0 + 1.0 / float(keys)) } else { 2.0 * of_lanes / float(keys) },
        occupancy: occupancy(float(groups * splits), adapter),
        ..Cost::default()
    };
    // Where elements may be hidden, values that are not finite make the kernel begin again, twice.
    let attempts = if spec.may_hide() { 3 } else { 1 };
    let pairs_of_step = sizes.groups() * keys * tile_rows;
    let in_step = if in_memory { of_loop(pairs_of_step.div_ceil(threads), of_loop(lanes, 0)) } else { 0 };
    let steps = (kv_block / sizes.chunk()) as u64;
    let merging = if sizes.groups() > 1 {
        let rounds = (tile_rows * sizes.vectors[1]).div_ceil(sizes.merged);
        3 * of_loop(tile_rows.max(rounds), of_loop(sizes.groups() * sizes.merged * lanes, 0))
    } else {
        0
    };
    Ok(Candidate {
        variant: "decode",
        threads: small(threads),
        workgroup_bytes: sizes.workgroup_bytes(spec),
        tiles: vec![tile("rows", tile_rows), tile("keys", sizes.chunk()), tile("threads a key", lanes)],
        cost: timed(cost, adapter),
        schedule: Tiles {
            request: spec
                .request("attention/decode")
                .tunable("THREADS", small(threads))
                .tunable("ROWS", small(tile_rows))
                .tunable("LANES", small(lanes))
                .tunable("KEYS", small(keys))
                .tunable("SUBGROUPS", sizes.form != Form::Memory)
                .tunable("ONE_SUBGROUP", sizes.is_one_subgroup())
                .tunable("MERGED", small(sizes.merged)),
            tile_rows,
            kv_block,
            turns: Turns {
                of_block: attempts * steps * (1 + in_step),
                other: 8 + 2 * of_loop(tile_rows, 0) + attempts * (2 + of_loop(threads, 0)) + merging,
            },
            splits_in_grid: true,
            matrix_side: None,
        },
    })
}

impl Attention {
    /// Whether splits have a size instead of a number: where batch entries have lengths of their own, long ones then have more
    /// workgroups than short ones, and none takes longer than others. A CPU deals out what there is.
    pub(crate) fn splits_by_size(&self, adapter: &AdapterProfile) -> bool {
        self.splits.is_none() && self.own_lengths().keys && adapter.kind != AdapterKind::Cpu
    }

    /// Parts of so many visited keys: as many as are asked for, or as fill the adapter beside tiles, heads and batch entries.
    pub(crate) fn splits_of(&self, adapter: &AdapterProfile, keys: usize, tile_rows: usize) -> usize {
        if let Some(splits) = self.splits {
            return splits;
        }
        if self.splits_by_size(adapter) {
            return keys.div_ceil(KEYS_OF_SPLIT).clamp(1, MAX_SPLITS_BY_SIZE);
        }
        let wanted = adapter.workgroup_slots().div_ceil(self.workgroups(tile_rows).max(1));
        // A pass more is longer on a CPU.
        let min_keys =
            if adapter.kind == AdapterKind::Cpu { 4 * MIN_KEYS_OF_SPLIT } else { MIN_KEYS_OF_SPLIT };
        wanted.min(keys.div_ceil(min_keys)).clamp(1, crate::attention::spec::MAX_SPLITS)
    }
}
