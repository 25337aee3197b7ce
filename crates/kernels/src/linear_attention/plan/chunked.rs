//! Proposals of `chunked` and `segmented`.

use std::sync::Arc;

use super::{
    bindings::Partition,
    chunks::{CHUNK, TILE, grows},
    params::Segments,
    passes::Candidate,
    recurrent::RecurrentTiles,
};
use crate::{
    AdapterKind, AdapterProfile, Cost,
    linear_attention::{Direction, Gate, LinearAttention, Rule},
    plan::cost::{check_workgroup, float, occupancy, small, tile, timed},
};

/// Threads of those workgroups, and the workgroup memory of `shaders/linear_attention/chunk_stage.wgsl`.
const THREADS: usize = 256;
const STAGE_BYTES: u32 = 16 << 10;

/// How the passes divide the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkedTiles {
    /// Vectors of columns that a workgroup of the delta rule's sequential pass keeps: 4, 8 or 16.
    pub(crate) lanes: usize,
    /// Into how many segments that pass cuts a sequence, if it does; fewer if there are fewer chunks.
    pub(crate) segments: Option<usize>,
    /// How the last tokens are followed once more, where the states after each are asked for.
    pub(crate) replay: Option<RecurrentTiles>,
}

/// The reason why the problem is not served, if it is not.
fn refusal(spec: &LinearAttention) -> Option<&'static str> {
    if spec.len == 0 {
        return Some("there are no tokens");
    }
    grows(spec)
}

/// Workgroups that keep a large adapter busy.
const BUSY: usize = 64;

/// As many columns as leave work for the whole adapter: the pass goes from chunk to chunk, and only sequences, heads and columns
/// run at once.
fn lanes(spec: &LinearAttention, adapter: &AdapterProfile) -> usize {
    let wanted = match adapter.kind {
        // Narrow workgroups have long texts: each thread stages more.
        AdapterKind::Cpu => return 16,
        AdapterKind::Discrete => BUSY,
        _ => 16,
    };
    let columns = spec.value_dim.div_ceil(4);
    let enough = |lanes: &usize| spec.states() * spec.value_heads * columns.div_ceil(*lanes) >= wanted;
    let max = columns.next_power_of_two().clamp(4, 16);
    [16, 8].into_iter().filter(|lanes| *lanes <= max).find(enough).unwrap_or(4)
}

/// Storage bindings of the kernel of outputs, which has the most.
fn output_bindings(spec: &LinearAttention, adapter: &AdapterProfile) -> u32 {
    let inputs = if spec.is_prepared(&adapter.limits) { 1 } else { 3 };
    let optional = [
        spec.gate != Gate::None,
        spec.normalises(),
        spec.packed().is_some(),
        spec.length_tensor().is_some(),
        spec.adds_to_outputs(),
    ];
    inputs + 2 + optional.into_iter().map(u32::from).sum::<u32>()
}

/// Those of the kernel in which the delta rule goes from chunk to chunk, or of that of the rule add.
fn carrying_bindings(spec: &LinearAttention, segmented: bool) -> u32 {
    let delta = spec.rule != Rule::Add;
    let optional = [
        spec.gate != Gate::None || spec.by_channels(),
        spec.packed().is_some(),
        spec.length_tensor().is_some(),
        spec.state_in && !segmented,
        segmented,
        spec.state_out || !spec.causal,
        spec.checkpoint_every.is_some(),
        spec.normalises(),
        spec.normalises() && spec.z_in,
        spec.normalises() && (spec.z_out || !spec.causal),
    ];
    // The states; keys, values after erasing, and products with erase keys.
    let always = if delta { 4 } else { 1 };
    always + optional.into_iter().map(u32::from).sum::<u32>()
}

/// Fewer chunks are not worth cutting.
const FEW_CHUNKS: usize = 4;

pub(crate) fn propose(spec: &LinearAttention, adapter: &AdapterProfile) -> Result<Candidate, String> {
    propose_one("chunked", spec, adapter, None)
}

/// The same with the delta rule's sequential pass cut in segments.
pub(crate) fn propose_segmented(
    spec: &LinearAttention,
    adapter: &AdapterProfile,
) -> Result<Candidate, String> {
    if spec.rule == Rule::Add {
        return Err("with the rule add, only elementwise sums go from chunk to chunk".to_owned());
    }
    let chunks = spec.chunks();
    if chunks < FEW_CHUNKS {
        return Err(format!("there are {chunks} chunks, at least {FEW_CHUNKS} are worth cutting"));
    }
    let wide = 4 * lanes(spec, adapter);
    let groups = spec.states() * spec.value_heads * spec.value_dim.div_ceil(wide);
    // Twice over what keeps the adapter busy: segments have twice the columns at first.
    let segments = (2 * BUSY / groups.max(1)).clamp(2, chunks / 2);
    propose_one("segmented", spec, adapter, Some(segments))
}

fn propose_one(
    variant: &'static str,
    spec: &LinearAttention,
    adapter: &AdapterProfile,
    segments: Option<usize>,
) -> Result<Candidate, String> {
    if let Some(reason) = refusal(spec) {
        return Err(reason.to_owned());
    }
    if let Some(reason) = spec.keeps_within_chunks() {
        return Err(reason);
    }
    check_workgroup(adapter, THREADS, STAGE_BYTES)?;
    let bindings = output_bindings(spec, adapter).max(carrying_bindings(spec, segments.is_some()));
    let max = adapter.limits.max_storage_buffers_per_shader_stage;
    if bindings > max {
        return Err(format!(
            "needs {bindings} storage buffers, max_storage_buffers_per_shader_stage is {max}"
        ));
    }
    let replay = spec.state_window.map(|_| RecurrentTiles::checked(spec, adapter)).transpose()?;
    let sizes = ChunkedTiles { lanes: lanes(spec, adapter), segments, replay };
    let smallest = Partition { batch: (0, 1), heads: (0, 1) };
    let needed = sizes.buffers(spec, &smallest).largest();
    let max = adapter.limits.max_storage_buffer_binding_size;
    if needed > max {
        return Err(format!(
            "one batch entry and head need scratch of {needed} bytes, max_storage_buffer_binding_size is {max}"
        ));
    }
    let mut tiles = vec![tile("rows a chunk", CHUNK), tile("columns a tile", TILE), tile("threads", THREADS)];
    if spec.rule != Rule::Add {
        tiles.push(tile("columns of the delta pass", 4 * sizes.lanes));
    }
    if let Some(cut) = sizes.segments_of(spec) {
        tiles.push(tile("segments", cut.count));
    }
    Ok(Candidate {
        variant,
        tiles,
        threads: small(THREADS),
        workgroup_bytes: STAGE_BYTES,
        cost: sizes.cost(spec, adapter),
        schedule: Arc::new(sizes),
    })
}

impl ChunkedTiles {
    fn cost(self, spec: &LinearAttention, adapter: &AdapterProfile) -> Cost {
        let whole = Partition { batch: (0, spec.batch), heads: (0, spec.value_heads) };
        let directions = if spec.direction == Direction::Both { 2.0 } else { 1.0 };
        let pairs = directions * float(spec.pairs(&whole));
        let (key_dim, value_dim) = spec.padded();
        let (key_tiles, value_tiles) = (float(key_dim.div_ceil(TILE)), float(value_dim.div_ceil(TILE)));
        let (block, state) = (float(TILE * TILE), float(key_dim * value_dim));
        // Products of 64 x 64 x 64. Scores of channels with gates cost three: their blocks on the diagonal go row by row.
        let squares = key_tiles * value_tiles;
        let scores = if spec.by_channels() { 3.0 * key_tiles } else { squares };
        let outputs = if spec.causal { squares + scores + value_tiles } else { squares };
        let outputs = float(spec.queries()) * outputs;
        let states = if spec.rule == Rule::Add {
            squares
        } else {
            let erased = if spec.by_channels() { 3.0 * key_tiles } else { key_tiles };
            // States go from chunk to chunk; segments do it for values and channels first.
            let carried =
                2.0 * squares * if self.segments.is_some() { 2.0 + key_tiles / value_tiles } else { 1.0 };
            erased + 1.0 + key_tiles + value_tiles + carried
        };
        let products = outputs + states;
        let fma = pairs * products * float(TILE) * block;
        let cost = Cost {
            fma,
            // A tile of operands for each product, and the states, which are written, replaced and read.
            storage_loads: pairs * (products * 1.5 * block + 3.0 * state)
                + float(spec.kept_states() * spec.states() * spec.value_heads) * state,
            // Two vectors for sixteen products.
            workgroup_loads: fma / 2.0,
            exp2: if spec.gate == Gate::None { 0.0 } else { pairs * value_tiles * block },
            occupancy: occupancy(pairs * value_tiles, adapter),
            ..Cost::default()
        };
        let mut cost = timed(cost, adapter);
        if let (Some(replay), Some(window)) = (self.replay, spec.state_window) {
            cost.time += replay.time(spec, adapter, window * spec.kernel_steps() + CHUNK / 2);
        }
        // Passes wait for each other, and the states go from chunk to chunk.
        if adapter.kind != AdapterKind::Cpu {
            let (passes, step) =
                if spec.rule == Rule::Add { (4.0, 300.0) } else { (7.0, 4e3 + 3e3 * key_tiles) };
            let (passes, steps) = match self.segments_of(spec) {
                Some(cut) => (passes + 2.0, 2 * cut.chunks + cut.count),
                None => (passes, spec.chunks()),
            };
            let nanoseconds = directions * (15e3 * passes + step * float(steps));
            cost.time += std::time::Duration::from_secs_f64((nanoseconds * 1e-9).min(3e7));
        }
        cost
    }

    /// How sequences are cut, if they are.
    pub(crate) fn segments_of(self, spec: &LinearAttention) -> Option<Segments> {
        let chunks = spec.chunks().max(1);
        let each = chunks.div_ceil(self.segments?);
        Some(Segments { chunks: each, count: chunks.div_ceil(each) })
    }

    /// Bytes of each scratch buffer: gates, states, values that are left, erase keys, matrices, scores, sums, segments.
    pub(crate) fn buffers(self, spec: &LinearAttention, partition: &Partition) -> Buffers {
        let pairs = spec.pairs(partition);
        let (key_dim, value_dim) = spec.padded();
        let delta = usize::from(spec.rule != Rule::Add);
        let gates = match spec.gate {
            _ if spec.by_channels() => (3 * CHUNK + 1) * key_dim,
            Gate::None => 0,
            _ => 4 * (CHUNK + 1),
        };
        let of = |numbers: usize| 4 * (pairs * numbers) as u64;
        Buffers {
            gates: of(gates),
            states: of(key_dim * value_dim),
            u: of(delta * CHUNK * value_dim),
            w: of(delta * CHUNK * key_dim),
            matrices: of(delta * CHUNK * CHUNK),
            scores: of(usize::from(spec.by_channels()) * CHUNK * CHUNK),
            segments: self.segments_of(spec).map_or(0, |cut| {
                let heads = partition.heads.1 - partition.heads.0;
                let states = cut.count * spec.sequences_of(partition) * heads;
                4 * (states * key_dim * (value_dim + key_dim)) as u64
            }),
            sums: of(usize::from(spec.normalises()) * key_dim),
        }
    }
}

/// Bytes of scratch buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffers {
    pub(crate) gates: u64,
    pub(crate) states: u64,
    pub(crate) u: u64,
    pub(crate) w: u64,
    pub(crate) matrices: u64,
    pub(crate) scores: u64,
    pub(crate) sums: u64,
    pub(crate) segments: u64,
}

impl Buffers {
    /// The largest.
    pub(crate) fn largest(self) -> u64 {
        self.all().into_iter().max().unwrap_or(0)
    }

    /// Of each.
    pub(crate) fn all(self) -> [u64; 8] {
        let Self { gates, states, u, w, matrices, scores, sums, segments } = self;
        [gates, states, u, w, matrices, scores, sums, segments]
    }
}
