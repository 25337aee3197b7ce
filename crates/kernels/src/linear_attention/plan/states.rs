//! States in and out of kernels, and the outputs that read only the last of them.

use foveal_shaders::Request;

use super::{
    bindings::{KEPT, Partition, Uses},
    chunks::CHUNK,
    passes::{Bound, Output, Passes, Run},
};
use crate::{
    AdapterProfile, Dtype, Error, PassBinding,
    linear_attention::{LinearAttention, StateLayout},
    plan::cost::small,
};

/// Threads of `read` along columns and tokens.
const READ_LANES: usize = 16;
const READ_ROWS: usize = 4;
pub(crate) const READ_THREADS: u32 = 64;
const _: () = assert!(READ_THREADS as usize == READ_LANES * READ_ROWS);

impl LinearAttention {
    /// How often kernels that follow the tokens compute each state: once for each query that reads states on the way.
    pub(crate) fn times_followed(&self) -> usize {
        if self.causal { self.queries() } else { 1 }
    }

    /// Rows that kernels see from an entry of `states` to the next.
    pub(crate) fn checkpoint_rows(&self) -> usize {
        let every = self.checkpoint_every.unwrap_or(1).min(self.len);
        (every * self.kernel_steps()).max(1)
    }

    /// Why variants that have states between chunks do not store all that are asked for, if they do not.
    pub(crate) fn keeps_within_chunks(&self) -> Option<String> {
        let every = self.checkpoint_every.filter(|&every| every < self.len)?;
        let within = !self.checkpoint_rows().is_multiple_of(CHUNK);
        within.then(|| format!("checkpoint_every {every} asks for states within its chunks of {CHUNK} rows"))
    }

    /// Checks that kernels which follow the tokens may bind all that they read and write.
    ///
    /// # Errors
    /// The reason why not.
    pub(crate) fn check_state_bindings(&self, adapter: &AdapterProfile) -> Result<(), String> {
        // In place of q, k, v and o; what is not causal reads q and writes o later, from last states.
        let (inputs, written) = match (self.is_prepared(&adapter.limits), self.causal) {
            (prepared, true) => (if prepared { 1 } else { 3 }, 1),
            (prepared, false) => {
                let sums = self.normalises() && !self.z_out;
                (if prepared { 1 } else { 2 }, usize::from(!self.state_out) + usize::from(sums))
            }
        };
        let bindings = self.direct_bindings() - 4 + inputs + written;
        let max = adapter.limits.max_storage_buffers_per_shader_stage as usize;
        let fits = bindings <= max;
        fits.then_some(()).ok_or_else(|| {
            format!("needs {bindings} storage buffers, max_storage_buffers_per_shader_stage is {max}")
        })
    }

    /// Says so.
    pub(crate) fn note_of_repeated_states(&self) -> Vec<(String, String)> {
        let times = self.times_followed();
        let repeated = times > 1;
        repeated
            .then(|| ("states".to_owned(), format!("computed {times} times, once a query")))
            .into_iter()
            .collect()
    }
}

impl Passes<'_> {
    /// A request for a kernel that reads or writes states as they are stored.
    pub(crate) fn with_stored_states(&self, request: Request) -> Request {
        let spec = self.spec;
        let vectors = spec.state_layout == StateLayout::Kv && spec.value_dim.is_multiple_of(4);
        let words = if spec.state_dtype == Dtype::F32 { "f32" } else { "16bit" };
        let module = format!("linear_attention/state_{words}{}", if vectors { "x4" } else { "" });
        let request = request.replace("linear_attention/state", module);
        if spec.state_dtype == Dtype::Bf16 { request.tunable("STATE_BF16", true) } else { request }
    }

    /// The tunable of kernels that store states after every so many rows.
    pub(crate) fn with_checkpoints(&self, request: Request) -> Request {
        if self.spec.checkpoint_every.is_some() { request.tunable("CHECKPOINTS", true) } else { request }
    }

    /// The same of kernels that store those after each of the last tokens, too.
    fn with_kept_states(&self, request: Request) -> Request {
        let request = self.with_checkpoints(request);
        if self.spec.state_window.is_some() { request.tunable("WINDOW", true) } else { request }
    }

    /// The bindings of these, as far as `kernels` know of them.
    pub(crate) fn kept_states(
        &self,
        partition: &Partition,
        kernels: &[(&'static str, &'static str)],
    ) -> Result<Vec<PassBinding>, Error> {
        let asked = kernels.iter().filter(|(_, name)| self.plan.tensor_index(name).is_ok());
        asked.map(|&(variable, name)| Ok(self.bind(variable, name, partition)?.0)).collect()
    }

    /// The tunables of kernels that carry a state from token to token.
    pub(crate) fn with_states(&self, request: Request, run: &Run<'_>) -> Request {
        let spec = self.spec;
        let causal = spec.causal;
        let request = if run.returns_states() { self.with_kept_states(request) } else { request };
        self.with_stored_states(request)
            .tunable("STATE_IN", spec.state_in)
            .tunable("STATE_OUT", run.returns_states() && (spec.state_out || !causal))
            .tunable("NORMALISE", spec.normalises())
            .tunable("SUMS_IN", spec.z_in)
            .tunable("SUMS_OUT", run.returns_states() && (spec.z_out || (spec.normalises() && !causal)))
            .tunable("BONUS", spec.bonus.is_some())
            .tunable("ADD_PARTIAL", run.o == Output::Sum)
            .tunable("WRITE_O", causal)
    }

    /// The bindings of such kernels, and among them those of the last states.
    pub(crate) fn with_state_bindings(
        &mut self,
        run: &Run<'_>,
        uses: Uses,
    ) -> Result<(Bound, Vec<PassBinding>), Error> {
        let spec = self.spec;
        let mut bound = self.inputs_and_output(run, uses)?;
        if spec.state_in {
            bound.0.push(self.bind("state_in", "state_in", run.partition)?.0);
        }
        if spec.z_in {
            bound.0.push(self.bind("z_in", "z_in", run.partition)?.0);
        }
        let last =
            if run.returns_states() { self.last_states(run.partition, !spec.causal)? } else { Vec::new() };
        bound.0.extend(last.iter().cloned());
        if run.returns_states() {
            bound.0.extend(self.kept_states(run.partition, &KEPT)?);
        }
        Ok((bound, last))
    }

    /// Bindings for the last states and sums of keys: the outputs, or scratch if only later passes need them.
    pub(crate) fn last_states(
        &mut self,
        partition: &Partition,
        needed: bool,
    ) -> Result<Vec<PassBinding>, Error> {
        let spec = self.spec;
        let pairs = spec.states() * spec.value_heads;
        let mut bindings = Vec::new();
        if spec.state_out {
            bindings.push(self.bind("state_out", "state_out", partition)?.0);
        } else if needed {
            let at = self
                .add_scratch("foveal.linear.state", 4 * (pairs * spec.key_dim() * spec.value_dim) as u64)?;
            // It begins where a state that is given would.
            let of_given = spec.state_in.then(|| self.bind("state_in", "state_in", partition)).transpose()?;
            let mut binding = self.plan.scratch("state_out", at);
            if let Some((given, _)) = of_given {
                (binding.offset_bytes, binding.size_bytes) = (given.offset_bytes, given.size_bytes);
            }
            bindings.push(binding);
        }
        if spec.z_out {
            bindings.push(self.bind("z_out", "z_out", partition)?.0);
        } else if needed && spec.normalises() {
            let at = self.add_scratch("foveal.linear.sums", 4 * (pairs * spec.key_dim()) as u64)?;
            bindings.push(self.plan.scratch("z_out", at));
        }
        Ok(bindings)
    }

    /// Kernels whose tokens read as they write, once for each query of a state; if outputs read the last states only, these are
    /// computed once and the outputs follow in passes of their own.
    pub(crate) fn follow_tokens(
        &mut self,
        name: &'static str,
        run: &Run<'_>,
        tunables: &[(&'static str, usize)],
        x: usize,
    ) -> Result<(), Error> {
        let causal = self.spec.causal;
        let uses = Uses::of_tokens(causal);
        let each = run.by_query().take(if causal { usize::MAX } else { 1 });
        for one in each {
            let request = self.request(&format!("linear_attention/{name}"), &one);
            let request = self.with_states(self.with_factors(request), &one);
            let request =
                tunables.iter().fold(request, |request, &(name, value)| request.tunable(name, small(value)));
            let (bound, last) = self.with_state_bindings(&one, uses)?;
            self.push(name, request, &one, bound, x)?;
            if !causal {
                for one in run.by_query() {
                    self.read_states(&one, &last)?;
                }
            }
        }
        Ok(())
    }

    /// The pass in which every token reads the last state.
    pub(crate) fn read_states(&mut self, run: &Run<'_>, last: &[PassBinding]) -> Result<(), Error> {
        let spec = self.spec;
        if spec.len == 0 {
            return Ok(());
        }
        let uses = Uses { q: true, o: true, lengths: spec.packed().is_some(), ..Uses::default() };
        let request = self
            .with_stored_states(self.request("linear_attention/read", run))
            .tunable("NORMALISE", spec.normalises())
            .tunable("LANES", small(READ_LANES))
            .tunable("ROWS", small(READ_ROWS));
        let mut bound = self.inputs_and_output(run, uses)?;
        for written in last {
            let name = if written.name == "state_out" { "state_in" } else { "z_in" };
            bound.0.push(PassBinding { name: name.into(), ..written.clone() });
        }
        self.push("read", request, run, bound, spec.len.div_ceil(READ_ROWS))
    }
}
