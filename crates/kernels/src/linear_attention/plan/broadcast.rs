//! The variant `broadcast`: its proposal and passes.

use std::sync::Arc;

use super::{
    bindings::Partition,
    chunks::grows,
    passes::{Candidate, Passes, Run, Schedule},
};
use crate::{
    AdapterKind, AdapterProfile, Cost, Error,
    linear_attention::{LinearAttention, Rule},
    plan::cost::{check_workgroup, float, occupancy, small, tile, timed},
};

/// How a subgroup divides a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BroadcastTiles {
    /// Lanes of a subgroup, and rows of a chunk.
    pub(crate) lanes: usize,
    /// Vectors of four columns a lane owns.
    pub(crate) columns: usize,
}

/// Elements of a state that a lane keeps, at most. Text and compile time grow with them, to about five seconds on lavapipe.
const MAX_ELEMENTS: usize = 512;

/// Those of problems that run for milliseconds, which is not worth seconds of compiling.
const FEW_ELEMENTS: usize = 256;
const FEW_MULTIPLY_ADDS: f64 = 1e8;

/// Compile time of an FMA of the text on a software driver.
const COMPILED_FMA: std::time::Duration = std::time::Duration::from_micros(300);

pub(crate) fn propose(spec: &LinearAttention, adapter: &AdapterProfile) -> Result<Candidate, String> {
    let Some((min, max)) = adapter.features.subgroups else {
        return Err("needs subgroups, which the adapter lacks (or the device was opened without)".into());
    };
    if adapter.kind != AdapterKind::Cpu {
        return Err("a GPU's registers do not hold whole states: made for drivers that run on the CPU".into());
    }
    if min != max || ![4, 8].contains(&min) {
        return Err(format!("needs subgroups of 4 or of 8 lanes, the adapter's have {min} to {max}"));
    }
    if let Some(reason) = grows(spec) {
        return Err(reason.to_owned());
    }
    let lanes = min as usize;
    if spec.kept_states() > 0 {
        return Err("stores states at the end only: the text that stores one on the way takes software drivers minutes".into());
    }
    check_workgroup(adapter, lanes, 0)?;
    spec.check_state_bindings(adapter)?;
    let (tall, wide) = (spec.key_dim().next_multiple_of(4), spec.value_dim.div_ceil(4));
    let fits = MAX_ELEMENTS / (4 * tall);
    if fits == 0 {
        return Err(format!("a lane keeps at most {} channels of four columns", MAX_ELEMENTS / 4));
    }
    let pairs = spec.states() * spec.value_heads;
    let multiply_adds = spec.work_of().flops / 2.0;
    let fits =
        if multiply_adds < FEW_MULTIPLY_ADDS { fits.min(FEW_ELEMENTS / (4 * tall)).max(1) } else { fits };
    // No more columns than there are, and two workgroups for two cores, if loading q and k twice is all it takes.
    let mut columns = fits.min(wide.div_ceil(lanes)).max(1);
    if pairs == 1 && columns > 1 && wide.div_ceil(lanes * columns) == 1 {
        columns = columns.div_ceil(2);
    }
    let slices = wide.div_ceil(lanes * columns);
    let directions = if spec.direction == crate::linear_attention::Direction::Both { 2.0 } else { 1.0 };
    let rows = directions
        * float(pairs * slices * spec.times_followed())
        * float((spec.len * spec.batch / spec.states().max(1) * spec.kernel_steps()).next_multiple_of(lanes));
    let over_state = if spec.rule == Rule::Add { 2.0 } else { 3.0 };
    let gates = if spec.gate == crate::linear_attention::Gate::Vector { float(tall) } else { 0.0 };
    let chunk = float(tall + 4 * lanes * columns) * over_state / 2.0 * float(lanes);
    let states = if spec.state_in || spec.state_out { float(pairs * spec.times_followed()) } else { 0.0 };
    let cost = Cost {
        fma: rows * (over_state * float(tall * 4 * lanes * columns) + chunk + 10.0 * gates * float(lanes)),
        storage_loads: rows * (float(2 * tall + 8 * lanes * columns) + gates)
            + 2.0 * states * float(tall * spec.value_dim),
        broadcasts: rows * over_state * float(tall * lanes) / 4.0,
        exp2: rows * (gates + float(lanes)),
        occupancy: occupancy(float(pairs * slices), adapter),
        ..Cost::default()
    };
    let mut cost = timed(cost, adapter);
    // Compiled once, run a thousand times: what is rarely run had better be short.
    let text = over_state * float(4 * columns * tall * lanes);
    cost.time += COMPILED_FMA.mul_f64(text / 1000.0);
    Ok(Candidate {
        variant: "broadcast",
        tiles: vec![tile("rows a chunk", lanes), tile("columns a lane", 4 * columns)],
        threads: small(lanes),
        workgroup_bytes: 0,
        cost,
        schedule: Arc::new(BroadcastTiles { lanes, columns }),
    })
}

impl Schedule for BroadcastTiles {
    fn make(&self, passes: &mut Passes<'_>, run: &Run<'_>) -> Result<(), Error> {
        let Self { lanes, columns } = *self;
        let tunables = [("LANES", lanes), ("COLUMNS", columns), ("TOGETHER", 2)];
        let x = passes.spec.value_dim.div_ceil(4 * lanes * columns);
        passes.follow_tokens("broadcast", run, &tunables, x)
    }

    fn notes(&self, spec: &LinearAttention, _: &[Partition]) -> Vec<(String, String)> {
        spec.note_of_repeated_states()
    }
}
