//! What `chunked` proposes, and its passes.

use foveal_shaders::Request;

use super::{
    Direction, Gate, LinearAttention, Rule,
    bindings::{Piece, Uses},
    passes::{Maker, Output, Run},
    variants::{Candidate, Schedule},
};
use crate::{
    AdapterKind, AdapterProfile, Cost, Error, PassBinding,
    cost::{check_workgroup, float, occupancy, small, tile, timed},
};

/// Rows of a chunk: `CHUNK` of `shaders/linear_attention/chunk.wgsl`.
pub(super) const CHUNK: usize = 64;

/// Rows and columns of the tiles that workgroups of the parallel passes compute.
const TILE: usize = 64;

/// Threads of those workgroups, and the workgroup memory of `shaders/linear_attention/chunk_stage.wgsl`.
const THREADS: usize = 256;
const STAGE_BYTES: u32 = 16 << 10;

/// Threads of `chunk_scan`.
const SCAN_THREADS: usize = 64;

/// How the passes divide the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {}

impl LinearAttention {
    /// Chunks of each sequence, if sequences are not packed.
    pub(super) fn chunks(&self) -> usize {
        (self.len * self.kernel_steps()).div_ceil(CHUNK)
    }

    /// Slots of a piece's chunks; see `shaders/linear_attention/chunk.wgsl`.
    pub(super) fn slots(&self, piece: &Piece) -> usize {
        match self.sequences {
            Some(count) => self.len * self.kernel_steps() / CHUNK + count,
            None => (piece.batch.1 - piece.batch.0) * self.chunks(),
        }
    }

    /// Widths as the kernels have them.
    fn padded(&self) -> (usize, usize) {
        (self.key_dim().next_multiple_of(4), self.value_dim.next_multiple_of(4))
    }

    /// Pairs of a slot and a value head of a piece.
    fn pairs(&self, piece: &Piece) -> usize {
        let heads = self.value_heads_of(piece);
        self.slots(piece) * (heads.1 - heads.0)
    }
}

/// What is not served, if anything is asked for that is not.
fn refusal(spec: &LinearAttention) -> Option<String> {
    let refused = [
        (spec.len == 0, "there are no tokens"),
        (spec.rule != Rule::Add, "serves the rule add only"),
        (spec.gate == Gate::Vector, "does not serve vector gates"),
        (!spec.causal, "serves causal problems only"),
        (spec.normalises(), "does not serve normalised outputs"),
        (spec.bonus.is_some(), "does not serve a bonus"),
    ];
    refused.into_iter().find(|(refused, _)| *refused).map(|(_, why)| why.to_owned())
}

pub(super) fn propose(spec: &LinearAttention, adapter: &AdapterProfile) -> Result<Candidate, String> {
    if let Some(reason) = refusal(spec) {
        return Err(reason);
    }
    check_workgroup(adapter, THREADS, STAGE_BYTES)?;
    let sizes = Sizes {};
    let smallest = Piece { batch: (0, 1), heads: (0, 1) };
    let needed = sizes.scratch_bytes(spec, &smallest);
    let most = adapter.limits.max_storage_buffer_binding_size;
    if needed > most {
        return Err(format!(
            "one batch entry and head need scratch of {needed} bytes, max_storage_buffer_binding_size is {most}"
        ));
    }
    Ok(Candidate {
        variant: "chunked",
        tiles: vec![tile("rows a chunk", CHUNK), tile("columns a tile", TILE), tile("threads", THREADS)],
        threads: small(THREADS),
        workgroup_bytes: STAGE_BYTES,
        cost: sizes.cost(spec, adapter),
        schedule: Schedule::Chunked(sizes),
    })
}

impl Sizes {
    fn cost(self, spec: &LinearAttention, adapter: &AdapterProfile) -> Cost {
        let whole = Piece { batch: (0, spec.batch), heads: (0, spec.heads) };
        let directions = if spec.direction == Direction::Both { 2.0 } else { 1.0 };
        let pairs = directions * float(spec.pairs(&whole));
        let (key_dim, value_dim) = spec.padded();
        let (key_tiles, value_tiles) = (float(key_dim.div_ceil(TILE)), float(value_dim.div_ceil(TILE)));
        let (block, state) = (float(TILE * TILE), float(key_dim * value_dim));
        // 64 x 64 x 64 products: keys with values, queries with states and with keys, those with values.
        let products = key_tiles * value_tiles * 2.0 + value_tiles * (key_tiles + 1.0);
        let fma = pairs * products * float(TILE) * block;
        let cost = Cost {
            fma,
            // A tile of operands for each product, and the states, which are written, replaced and read.
            storage_loads: pairs * (products * 1.5 * block + 3.0 * state),
            // Two vectors for sixteen products.
            workgroup_loads: fma / 2.0,
            exp2: if spec.gate == Gate::None { 0.0 } else { pairs * value_tiles * block },
            occupancy: occupancy(pairs * value_tiles, adapter),
            ..Cost::default()
        };
        let mut cost = timed(cost, adapter);
        // Passes wait for each other, and the scan goes from chunk to chunk.
        if adapter.kind != AdapterKind::Cpu {
            let steps = float(spec.chunks());
            cost.time += std::time::Duration::from_secs_f64((directions * (20e3 + 300.0 * steps) * 1e-9).min(3e7));
        }
        cost
    }

    fn states_bytes(spec: &LinearAttention, piece: &Piece) -> u64 {
        let (key_dim, value_dim) = spec.padded();
        4 * (spec.pairs(piece) * key_dim * value_dim) as u64
    }

    fn gates_bytes(spec: &LinearAttention, piece: &Piece) -> u64 {
        match spec.gate {
            Gate::None => 0,
            _ => 16 * (spec.pairs(piece) * (CHUNK + 1)) as u64,
        }
    }

    /// Bytes of the largest buffer.
    pub(super) fn scratch_bytes(self, spec: &LinearAttention, piece: &Piece) -> u64 {
        [Self::states_bytes(spec, piece), Self::gates_bytes(spec, piece)].into_iter().max().unwrap_or(0)
    }

    pub(super) fn notes(self, spec: &LinearAttention, pieces: &[Piece]) -> Vec<(String, String)> {
        let slots: usize = pieces.iter().map(|piece| spec.slots(piece)).max().unwrap_or(0);
        let bytes = |piece| Self::states_bytes(spec, piece) + Self::gates_bytes(spec, piece);
        let scratch = pieces.iter().map(bytes).max().unwrap_or(0);
        vec![tile("chunks", slots), ("scratch for chunks".to_owned(), format!("{} KiB", scratch.div_ceil(1024)))]
    }

    pub(super) fn make(self, maker: &mut Maker<'_>, run: &Run<'_>) -> Result<(), Error> {
        let gates = self.gates(maker, run)?;
        let (spec, piece) = (maker.spec, run.piece);
        let states = maker.add_scratch("foveal.linear.chunk_states", Self::states_bytes(spec, piece))?;
        let (key_dim, value_dim) = spec.padded();
        let (key_tiles, value_tiles) = (key_dim.div_ceil(TILE), value_dim.div_ceil(TILE));
        let lengths = Uses { lengths: true, ..Uses::default() };

        let request = maker.chunk_request("state", run, false).tunable("VALUE_DIM", small(value_dim));
        let mut bound = maker.inputs_and_output(run, Uses { k: true, v: true, ..lengths })?;
        bound.0.extend(gates.clone());
        bound.0.push(maker.whole("states_out", states));
        maker.push_chunks("chunk_state", request, run, bound, key_tiles * value_tiles)?;

        let request = maker
            .chunk_request("scan", run, false)
            .tunable("VALUE_DIM", small(value_dim))
            .tunable("STATE_IN", spec.state_in)
            .tunable("STATE_OUT", spec.state_out);
        let mut bound = maker.inputs_and_output(run, lengths)?;
        bound.0.extend(gates.clone());
        bound.0.push(maker.whole("states", states));
        if spec.state_in {
            bound.0.push(maker.bind("state_in", "state_in", piece)?.0);
        }
        bound.0.extend(maker.last_states(piece, false)?);
        maker.push("chunk_scan", request, run, bound, (key_dim * value_dim / 4).div_ceil(SCAN_THREADS))?;

        let request = maker
            .chunk_request("output", run, true)
            .tunable("VALUE_DIM", small(value_dim))
            .tunable("ADD_PARTIAL", run.o == Output::Second);
        let uses = Uses { q: true, k: true, v: true, o: true, ..lengths };
        let mut bound = maker.inputs_and_output(run, uses)?;
        bound.0.extend(gates);
        bound.0.push(maker.whole("states", states));
        maker.push_chunks("chunk_output", request, run, bound, value_tiles)
    }

    /// The pass that sums gates, and its result as later passes bind it.
    fn gates(self, maker: &mut Maker<'_>, run: &Run<'_>) -> Result<Option<PassBinding>, Error> {
        let spec = maker.spec;
        if spec.gate == Gate::None {
            return Ok(None);
        }
        let at = maker.add_scratch("foveal.linear.chunk_gates", Self::gates_bytes(spec, run.piece))?;
        let request = maker.chunk_request("gates", run, false);
        let uses = Uses { gates: true, lengths: true, ..Uses::default() };
        let mut bound = maker.inputs_and_output(run, uses)?;
        bound.0.push(maker.whole("gates_out", at));
        maker.push_chunks("chunk_gates", request, run, bound, 1)?;
        Ok(Some(maker.whole("gates", at)))
    }
}

/// Kernels that declare HEAD_DIM, that import inputs, states.
impl Maker<'_> {
    /// A request for the chunk kernel of that name.
    fn chunk_request(&self, name: &str, run: &Run<'_>, output: bool) -> Request {
        let spec = self.spec;
        let mut request = Request::new(format!("linear_attention/chunk_{name}"));
        if matches!(name, "state" | "output") {
            request = request.replace("shared/inputs", self.inputs_module());
        }
        if name == "scan" {
            request = request.replace("linear_attention/state", self.state_module());
        }
        if output {
            request = request.replace("shared/output", self.output_module(run));
        }
        if name != "gates" {
            request = request.tunable("HEAD_DIM", small(spec.padded().0));
        }
        request
            .tunable("RAGGED", spec.sequences.is_some())
            .tunable("REVERSE", run.reverse)
            .tunable("PADDED", spec.kv_len.is_some())
            .tunable("STEPS", small(spec.kernel_steps()))
            .tunable("GATE", self.gate_number())
    }
}
