//! The passes of `chunked`.

use foveal_shaders::Request;

use super::{
    bindings::{KEPT, Partition, Uses},
    chunked::{Buffers, ChunkedTiles},
    chunks::{CHUNK, TILE},
    passes::{Bound, Output, Passes, Run, Schedule},
};
use crate::{
    Error, PassBinding,
    linear_attention::{Gate, LinearAttention, Rule},
    plan::cost::{small, tile},
};

/// Threads of `chunk_scan`.
const SCAN_THREADS: usize = 64;

/// Vectors of columns of `chunk_join`.
const JOIN_LANES: usize = 4;

/// Tensors that kernels bind beside scratch.
const LENGTHS: Uses =
    Uses { q: false, k: false, v: false, o: false, gates: false, beta: false, bonus: false, lengths: true };

/// Scratch that one direction of one partition goes through.
struct Chunks {
    bytes: Buffers,
    states: usize,
    gates: Option<usize>,
    /// Values after erasing, and the inverses' products with erase keys.
    delta: Option<[usize; 3]>,
    /// Sums of keys.
    sums: Option<usize>,
}

impl Schedule for ChunkedTiles {
    fn make(&self, passes: &mut Passes<'_>, run: &Run<'_>) -> Result<(), Error> {
        let spec = passes.spec;
        let bytes = self.buffers(spec, run.partition);
        let states = passes.add_scratch("foveal.linear.chunk_states", bytes.states)?;
        let mut chunks = Chunks { bytes, states, gates: None, delta: None, sums: None };
        if spec.normalises() {
            chunks.sums = Some(passes.add_scratch("foveal.linear.chunk_sums", bytes.sums)?);
        }
        if spec.gate != Gate::None || spec.by_channels() {
            passes.chunk_gates(run, &mut chunks)?;
        }
        if spec.rule == Rule::Add {
            passes.chunk_state(run, &chunks)?;
            let last = passes.chunk_scan(run, &chunks)?;
            if !spec.causal {
                return run.by_query().try_for_each(|run| passes.chunk_read(&run, &last));
            }
        } else {
            passes.chunk_solve(run, &mut chunks)?;
            passes.chunk_delta(run, &chunks, *self)?;
        }
        if let Some(replay) = self.replay {
            passes.replay(run, chunks.states, replay)?;
        }
        run.by_query().try_for_each(|run| passes.chunk_output(&run, &chunks))
    }

    fn scratch_bytes(&self, spec: &LinearAttention, partition: &Partition) -> u64 {
        self.buffers(spec, partition).largest()
    }

    fn notes(&self, spec: &LinearAttention, partitions: &[Partition]) -> Vec<(String, String)> {
        let slots: usize = partitions.iter().map(|partition| spec.slots(partition)).max().unwrap_or(0);
        let bytes = |partition| self.buffers(spec, partition).all().into_iter().sum::<u64>();
        let scratch = partitions.iter().map(bytes).max().unwrap_or(0);
        vec![
            tile("chunks", slots),
            ("scratch for chunks".to_owned(), format!("{} KiB", scratch.div_ceil(1024))),
        ]
    }
}

impl LinearAttention {
    /// Tiles of 64 along the channels and the columns.
    fn tiles(&self) -> (usize, usize) {
        let (key_dim, value_dim) = self.padded();
        (key_dim.div_ceil(TILE), value_dim.div_ceil(TILE))
    }
}

impl Passes<'_> {
    /// A request for a chunk kernel.
    fn chunk_request(&self, name: &str, run: &Run<'_>) -> Request {
        let spec = self.spec;
        Request::new(format!("linear_attention/{name}"))
            .tunable("CHUNK", small(CHUNK))
            .tunable("RAGGED", spec.packed().is_some())
            .tunable("REVERSE", run.reverse)
            .tunable("PADDED", spec.length_tensor().is_some())
            .tunable("STEPS", small(spec.kernel_steps()))
            .tunable("GATE", if spec.by_channels() { 2 } else { self.gate_number() })
    }

    /// One that reads inputs, with their widths.
    fn chunk_input_request(&self, name: &str, run: &Run<'_>) -> Request {
        self.chunk_request(name, run)
            .replace("shared/inputs", self.inputs_module())
            .tunable("HEAD_DIM", small(self.spec.padded().0))
    }

    /// The same, of one that knows of erase keys.
    fn with_erase_key(&self, request: Request) -> Request {
        let spec = self.spec;
        let request = if spec.erases_by_another() {
            request.replace("linear_attention/erase", "linear_attention/erase_preprocessed")
        } else {
            request
        };
        request
            .tunable("ERASE_KEY", spec.erases_by_another())
            .tunable("ERASE_FIRST", spec.rule == Rule::Dplr)
            .tunable("BETA", spec.rule == Rule::Delta)
    }

    /// Bindings of a kernel: tensors, decays if it asks for them, and scratch by the kernel's names for it.
    fn chunk_bound(
        &self,
        run: &Run<'_>,
        uses: Uses,
        gates: Option<usize>,
        scratch: &[(&'static str, usize)],
    ) -> Result<Bound, Error> {
        let mut bound = self.inputs_and_output(run, uses)?;
        bound.0.extend(gates.map(|at| self.plan.scratch("gates", at)));
        bound.0.extend(scratch.iter().map(|&(name, at)| self.plan.scratch(name, at)));
        Ok(bound)
    }

    /// Decays within chunks.
    fn chunk_gates(&mut self, run: &Run<'_>, chunks: &mut Chunks) -> Result<(), Error> {
        let at = self.add_scratch("foveal.linear.chunk_gates", chunks.bytes.gates)?;
        chunks.gates = Some(at);
        let bound = self.chunk_bound(run, Uses { gates: true, ..LENGTHS }, None, &[("gates_out", at)])?;
        let name = if self.spec.by_channels() { "chunk_channel_gates" } else { "chunk_gates" };
        let mut request = self.chunk_request(name, run);
        if self.spec.by_channels() {
            request.tunables.retain(|(name, _)| name != "GATE");
            let width = small(self.spec.padded().0);
            request = request.tunable("GATE", self.gate_number()).tunable("HEAD_DIM", width);
        }
        self.push_chunks(name, request, run, bound, 1)
    }

    /// The addition of each chunk.
    fn chunk_state(&mut self, run: &Run<'_>, chunks: &Chunks) -> Result<(), Error> {
        let (key_tiles, value_tiles) = self.spec.tiles();
        let value_dim = small(self.spec.padded().1);
        let request = self
            .chunk_input_request("chunk_state", run)
            .tunable("VALUE_DIM", value_dim)
            .tunable("NORMALISE", self.spec.normalises());
        let uses = Uses { k: true, v: true, ..LENGTHS };
        let mut bound = self.chunk_bound(run, uses, chunks.gates, &[("states_out", chunks.states)])?;
        bound.0.extend(chunks.sums.map(|at| self.plan.scratch("sums_out", at)));
        self.push_chunks("chunk_state", request, run, bound, key_tiles * value_tiles)
    }

    /// The states and sums that a sequential pass begins and ends with; these are what is returned.
    fn bind_states(&mut self, run: &Run<'_>, bound: &mut Bound) -> Result<Vec<PassBinding>, Error> {
        let (spec, partition) = (self.spec, run.partition);
        for name in [spec.state_in.then_some("state_in"), spec.z_in.then_some("z_in")].into_iter().flatten() {
            bound.0.push(self.bind(name, name, partition)?.0);
        }
        let last = self.last_states(partition, !spec.causal)?;
        bound.0.extend(last.iter().cloned());
        bound.0.extend(self.kept_states(partition, &KEPT[..1])?);
        Ok(last)
    }

    /// States at the starts of chunks, by the rule add.
    fn chunk_scan(&mut self, run: &Run<'_>, chunks: &Chunks) -> Result<Vec<PassBinding>, Error> {
        let spec = self.spec;
        let (key_dim, value_dim) = spec.padded();
        let request = self
            .with_stored_states(self.with_checkpoints(self.chunk_request("chunk_scan", run)))
            .tunable("HEAD_DIM", small(key_dim))
            .tunable("VALUE_DIM", small(value_dim))
            .tunable("STATE_IN", spec.state_in)
            .tunable("STATE_OUT", spec.state_out || !spec.causal)
            .tunable("NORMALISE", spec.normalises())
            .tunable("SUMS_IN", spec.z_in)
            .tunable("SUMS_OUT", spec.z_out || (spec.normalises() && !spec.causal));
        let mut bound = self.chunk_bound(run, LENGTHS, chunks.gates, &[("states", chunks.states)])?;
        bound.0.extend(chunks.sums.map(|at| self.plan.scratch("sums", at)));
        let last = self.bind_states(run, &mut bound)?;
        let vectors = key_dim * value_dim / 4 + if spec.normalises() { key_dim / 4 } else { 0 };
        self.push("chunk_scan", request, run, bound, vectors.div_ceil(SCAN_THREADS))?;
        Ok(last)
    }

    /// Scores where channels have gates: of erase keys, or of queries.
    fn chunk_scores(&mut self, run: &Run<'_>, chunks: &Chunks, at: usize, erase: bool) -> Result<(), Error> {
        let spec = self.spec;
        let bonus = spec.bonus.is_some();
        let mut request = self.chunk_input_request("chunk_scores", run);
        if spec.erases_by_another() {
            request = request.replace("linear_attention/erase", "linear_attention/erase_preprocessed");
        }
        request = request
            .tunable("ERASE", erase)
            .tunable("ERASE_KEY", erase && spec.erases_by_another())
            .tunable("STRICT", erase)
            .tunable("BEFORE", bonus || (erase && spec.rule == Rule::Dplr))
            .tunable("BONUS", bonus);
        if !erase {
            request = self.with_queries(request);
        }
        let uses = Uses { q: !erase, k: true, bonus, ..LENGTHS };
        let bound = self.chunk_bound(run, uses, chunks.gates, &[("scores_out", at)])?;
        self.push_chunks("chunk_scores", request, run, bound, 1)
    }

    /// The delta rule's inverses, and what they make of erase keys and values.
    fn chunk_solve(&mut self, run: &Run<'_>, chunks: &mut Chunks) -> Result<(), Error> {
        let spec = self.spec;
        let u = self.add_scratch("foveal.linear.chunk_values", chunks.bytes.u)?;
        let w = self.add_scratch("foveal.linear.chunk_keys", chunks.bytes.w)?;
        let matrices = self.add_scratch("foveal.linear.chunk_matrices", chunks.bytes.matrices)?;
        chunks.delta = Some([u, w, matrices]);

        let request = self.with_erase_key(self.chunk_input_request("chunk_solve", run));
        let mut uses = Uses { k: true, beta: true, ..LENGTHS };
        let mut gates = chunks.gates;
        if spec.by_channels() {
            self.chunk_scores(run, chunks, matrices, true)?;
            (uses.k, gates) = (false, None);
        }
        let bound = self.chunk_bound(run, uses, gates, &[("matrices", matrices)])?;
        self.push_chunks("chunk_solve", request, run, bound, 1)?;

        let (key_tiles, value_tiles) = spec.tiles();
        let request = self
            .with_erase_key(self.chunk_input_request("chunk_apply", run))
            .tunable("VALUE_DIM", small(spec.padded().1));
        let uses = Uses { k: true, v: true, beta: true, ..LENGTHS };
        let scratch = [("u_out", u), ("w_out", w), ("inverses", matrices)];
        let bound = self.chunk_bound(run, uses, chunks.gates, &scratch)?;
        self.push_chunks("chunk_apply", request, run, bound, key_tiles + value_tiles)
    }

    /// States at the starts of chunks, and what is left of values, by the delta rule.
    fn chunk_delta(&mut self, run: &Run<'_>, chunks: &Chunks, sizes: ChunkedTiles) -> Result<(), Error> {
        let lanes = sizes.lanes;
        let spec = self.spec;
        let [u, w, _] = delta_scratch(chunks)?;
        let value_dim = spec.padded().1;
        let request = self
            .with_stored_states(self.chunk_input_request("chunk_delta", run))
            .tunable("VALUE_DIM", small(value_dim))
            .tunable("LANES", small(lanes))
            // Small workgroups stage less at a time, so that as many threads share a unit's workgroup memory.
            .tunable("SLICE", small(2 * lanes))
            .tunable("SEGMENTED", sizes.segments.is_some());
        let uses = Uses { k: true, ..LENGTHS };
        let tiles = |columns: usize| columns.div_ceil(4 * lanes);
        let Some(segments) = sizes.segments_of(spec) else {
            let request = self.with_checkpoints(request);
            let request = request.tunable("STATE_IN", spec.state_in).tunable("STATE_OUT", spec.state_out);
            let scratch = [("states_out", chunks.states), ("u", u), ("w", w)];
            let mut bound = self.chunk_bound(run, uses, chunks.gates, &scratch)?;
            self.bind_states(run, &mut bound)?;
            return self.push("chunk_delta", request, run, bound, tiles(value_dim));
        };
        let at = self.add_scratch("foveal.linear.segments", chunks.bytes.segments)?;
        let summary = request.clone().tunable("SUMMARY", true);
        let bound = self.chunk_bound(run, uses, chunks.gates, &[("u", u), ("w", w), ("segments", at)])?;
        let columns = value_dim + spec.padded().0;
        self.push_segments("chunk_delta", summary, run, bound, [tiles(columns), segments.count], segments)?;

        let join = self
            .with_stored_states(self.chunk_request("chunk_join", run))
            .tunable("HEAD_DIM", small(spec.padded().0))
            .tunable("VALUE_DIM", small(value_dim))
            .tunable("LANES", small(JOIN_LANES))
            .tunable("STATE_IN", spec.state_in);
        let mut bound = self.chunk_bound(run, LENGTHS, None, &[("segments", at)])?;
        if spec.state_in {
            bound.0.push(self.bind("state_in", "state_in", run.partition)?.0);
        }
        let tiles_of_join = value_dim.div_ceil(4 * JOIN_LANES);
        self.push_segments("chunk_join", join, run, bound, [tiles_of_join, 1], segments)?;

        let scratch = [("states_out", chunks.states), ("u", u), ("w", w), ("segments", at)];
        let request = self.with_checkpoints(request).tunable("STATE_OUT", spec.state_out);
        let mut bound = self.chunk_bound(run, uses, chunks.gates, &scratch)?;
        bound.0.extend(self.last_states(run.partition, false)?);
        bound.0.extend(self.kept_states(run.partition, &KEPT[..1])?);
        self.push_segments("chunk_delta", request, run, bound, [tiles(value_dim), segments.count], segments)
    }

    /// A request for the kernel of outputs.
    fn output_request(&self, run: &Run<'_>) -> Request {
        let spec = self.spec;
        self.with_stored_states(self.with_queries(self.chunk_input_request("chunk_output", run)))
            .replace("shared/output", self.output_module(run))
            .tunable("VALUE_DIM", small(spec.padded().1))
            .tunable("DELTA", spec.rule != Rule::Add)
            .tunable("BONUS", spec.bonus.is_some())
            .tunable("CAUSAL", spec.causal)
            .tunable("NORMALISE", spec.normalises())
            .tunable("ADD_PARTIAL", run.o == Output::Sum)
    }

    /// Outputs that read the last states.
    fn chunk_read(&mut self, run: &Run<'_>, last: &[PassBinding]) -> Result<(), Error> {
        let uses = Uses { q: true, o: true, lengths: self.spec.packed().is_some(), ..Uses::default() };
        let mut request = self.output_request(run);
        request.tunables.retain(|(name, _)| name != "PADDED");
        let mut bound = self.chunk_bound(run, uses, None, &[])?;
        for written in last {
            let name = if written.name == "state_out" { "state_in" } else { "z_in" };
            bound.0.push(PassBinding { name: name.into(), ..written.clone() });
        }
        self.push_chunks("chunk_output", request, run, bound, self.spec.tiles().1)
    }

    /// Outputs.
    fn chunk_output(&mut self, run: &Run<'_>, chunks: &Chunks) -> Result<(), Error> {
        let spec = self.spec;
        let delta = spec.rule != Rule::Add;
        let request = self.output_request(run);
        let mut scratch = vec![("states", chunks.states)];
        if spec.by_channels() {
            let at = self.add_scratch("foveal.linear.chunk_scores", chunks.bytes.scores)?;
            self.chunk_scores(run, chunks, at, false)?;
            scratch.push(("scores", at));
        }
        scratch.extend(chunks.sums.map(|at| ("sums", at)));
        let uses = Uses { q: true, k: !spec.by_channels(), v: !delta, o: true, ..LENGTHS };
        if delta {
            scratch.push(("u", delta_scratch(chunks)?[0]));
        }
        let bound = self.chunk_bound(run, uses, chunks.gates, &scratch)?;
        self.push_chunks("chunk_output", request, run, bound, spec.tiles().1)
    }
}

fn delta_scratch(chunks: &Chunks) -> Result<[usize; 3], Error> {
    chunks.delta.ok_or_else(|| Error::internal("plan", "the delta rule has no scratch".to_owned()))
}
