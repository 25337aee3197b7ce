//! The variant `recurrent`: its proposal and passes.

use std::{sync::Arc, time::Duration};

use super::{
    bindings::{KEPT, Partition, Uses},
    passes::{Candidate, Passes, Run, Schedule},
};
use crate::{
    AdapterKind, AdapterProfile, Cost, Error,
    linear_attention::LinearAttention,
    plan::cost::{check_workgroup, float, occupancy, small, tile, timed},
};

/// Channels a thread owns on a GPU: their states, four columns wide, are the registers it needs.
const DEPTH: usize = 16;

/// And at most on a CPU, whose drivers keep registers in cache.
const MAX_DEPTH: usize = 32;

/// Nanoseconds of a token that waits for barriers and memory.
const LATENCY: f64 = 2000.0;

/// How a workgroup divides a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecurrentTiles {
    /// Channels a thread owns.
    pub(crate) depth: usize,
    /// Threads that share a column's channels.
    pub(crate) parts: usize,
    /// Vectors of four columns.
    pub(crate) columns: usize,
}

impl RecurrentTiles {
    fn of(spec: &LinearAttention, adapter: &AdapterProfile) -> Self {
        let key_dim = spec.key_dim();
        if adapter.kind == AdapterKind::Cpu {
            // One subgroup holds four columns: nothing is loaded twice, and no barrier is waited for.
            let lanes = adapter.features.subgroups.map_or(8, |(_, max)| max as usize);
            let depth = key_dim.div_ceil(lanes).next_multiple_of(4).min(MAX_DEPTH);
            return Self { depth, parts: key_dim.div_ceil(depth), columns: 1 };
        }
        let parts = key_dim.div_ceil(DEPTH);
        let threads = 256.min(adapter.limits.max_compute_invocations_per_workgroup as usize);
        let columns = (threads / parts).clamp(1, spec.value_dim.div_ceil(4));
        Self { depth: DEPTH, parts, columns }
    }

    /// Those of a kernel that the adapter runs; otherwise the reason why not.
    pub(crate) fn checked(spec: &LinearAttention, adapter: &AdapterProfile) -> Result<Self, String> {
        let sizes = Self::of(spec, adapter);
        check_workgroup(adapter, sizes.threads(), sizes.workgroup_bytes(spec))?;
        Ok(sizes)
    }

    /// The time that following so many rows takes, beside loading and storing states.
    pub(crate) fn time(self, spec: &LinearAttention, adapter: &AdapterProfile, rows: usize) -> Duration {
        let slices = spec.value_dim.div_ceil(4 * self.columns);
        let state = float(self.parts * self.depth * slices * self.columns * 4);
        let pairs = float(spec.states() * spec.value_heads);
        let cost = Cost {
            fma: 3.0 * float(rows) * pairs * state,
            occupancy: occupancy(pairs * float(slices), adapter),
            ..Cost::default()
        };
        let latency = if adapter.kind == AdapterKind::Cpu { 0.0 } else { LATENCY };
        timed(cost, adapter).time + Duration::from_secs_f64((float(rows) * latency * 1e-9).min(3e7))
    }

    fn threads(self) -> usize {
        self.parts * self.columns
    }

    /// As the shader declares it: four staged rows where threads share them, and sums of what is read and of denominators.
    fn workgroup_bytes(self, spec: &LinearAttention) -> u32 {
        let rows = if self.columns > 1 { 4 * self.parts * self.depth / 4 * 16 } else { 0 };
        let reads = spec.causal || spec.rule != crate::linear_attention::Rule::Add;
        let sums = if reads { 16 * self.threads() } else { 0 };
        let denominators =
            if spec.causal && spec.normalises() { (4 * self.threads()).next_multiple_of(16) } else { 0 };
        small(rows + sums + denominators)
    }
}

pub(crate) fn propose(spec: &LinearAttention, adapter: &AdapterProfile) -> Result<Candidate, String> {
    let sizes = RecurrentTiles::checked(spec, adapter)?;
    spec.check_state_bindings(adapter)?;
    let slices = spec.value_dim.div_ceil(4 * sizes.columns);
    let steps = float(spec.len * spec.kernel_steps() * spec.batch * spec.value_heads * spec.times_followed());
    let state = float(sizes.parts * sizes.depth * slices * sizes.columns * 4);
    let passes_over_state = if spec.rule == crate::linear_attention::Rule::Add { 2.0 } else { 3.0 };
    let directions = if spec.direction == crate::linear_attention::Direction::Both { 2.0 } else { 1.0 };
    let width = float(spec.key_dim() * 3 + spec.value_dim);
    let states = spec.states() * spec.value_heads * spec.times_followed();
    let states = if spec.state_in || spec.state_out { float(states) } else { 0.0 };
    let kept = float(spec.kept_states() * spec.states() * spec.value_heads);
    let groups = float(slices * spec.states() * spec.value_heads);
    let mut cost = Cost {
        fma: directions * steps * state * (passes_over_state + 0.5),
        storage_loads: directions * steps * width * float(slices) + (2.0 * states + kept) * state,
        workgroup_loads: if sizes.columns > 1 {
            directions * steps * state / 4.0 * passes_over_state
        } else {
            0.0
        },
        exp2: directions * steps,
        occupancy: occupancy(groups, adapter),
        ..Cost::default()
    };
    // Tokens follow each other: on a GPU each waits for barriers and memory.
    let latency = if adapter.kind == AdapterKind::Cpu { 0.0 } else { LATENCY };
    cost = timed(cost, adapter);
    cost.time += Duration::from_secs_f64(
        (float(spec.len * spec.kernel_steps() * spec.times_followed()) * directions * latency * 1e-9)
            .min(3e7),
    );
    Ok(Candidate {
        variant: "recurrent",
        tiles: vec![
            tile("channels a thread", sizes.depth),
            tile("columns a workgroup", 4 * sizes.columns),
            tile("threads", sizes.threads()),
        ],
        threads: small(sizes.threads()),
        workgroup_bytes: sizes.workgroup_bytes(spec),
        cost,
        schedule: Arc::new(sizes),
    })
}

impl Schedule for RecurrentTiles {
    /// The recurrence; if outputs read the last states only, they follow in a pass of their own.
    fn make(&self, passes: &mut Passes<'_>, run: &Run<'_>) -> Result<(), Error> {
        let Self { depth, parts, columns } = *self;
        let tunables = [("DEPTH", depth), ("PARTS", parts), ("COLUMNS", columns)];
        let x = passes.spec.value_dim.div_ceil(4 * columns);
        passes.follow_tokens("recurrent", run, &tunables, x)
    }

    fn notes(&self, spec: &LinearAttention, _: &[Partition]) -> Vec<(String, String)> {
        spec.note_of_repeated_states()
    }
}

impl Passes<'_> {
    /// The pass that follows the last tokens once more from the state at the start of a chunk, for the states after each.
    pub(crate) fn replay(
        &mut self,
        run: &Run<'_>,
        states: usize,
        sizes: RecurrentTiles,
    ) -> Result<(), Error> {
        let spec = self.spec;
        // A packed sequence without tokens has no chunk.
        let state_in = spec.state_in && spec.packed().is_some();
        let request = self
            .with_stored_states(self.with_factors(self.request("linear_attention/recurrent", run)))
            .tunable("REPLAY", true)
            .tunable("WINDOW", true)
            .tunable("STATE_IN", state_in)
            .tunable("WRITE_O", false);
        let tunables = [("DEPTH", sizes.depth), ("PARTS", sizes.parts), ("COLUMNS", sizes.columns)];
        let request =
            tunables.into_iter().fold(request, |request, (name, value)| request.tunable(name, small(value)));
        let uses = Uses { q: false, o: false, bonus: false, ..Uses::of_tokens(true) };
        let mut bound = self.inputs_and_output(run, uses)?;
        bound.0.push(self.plan.scratch("chunk_states", states));
        if state_in {
            bound.0.push(self.bind("state_in", "state_in", run.partition)?.0);
        }
        bound.0.extend(self.kept_states(run.partition, &KEPT[1..])?);
        self.push("replay", request, run, bound, spec.value_dim.div_ceil(4 * sizes.columns))
    }
}
