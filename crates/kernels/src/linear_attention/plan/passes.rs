//! The parts that passes of all variants are made of: requests, bindings, dispatches.

use std::{fmt, sync::Arc};

use foveal_shaders::Request;

use super::{
    bindings::{KEPT, Partition, Uses},
    params::{First, RowLayout, RowLayouts, Segments},
    regions::{Region, width_params},
};
use crate::{
    Error, Limits, Name, PassBinding, Strides,
    linear_attention::{Gate, LinearAttention, Rule},
    operator,
    plan::{
        builder::{Params, PlanBuilder},
        cost::small,
        partition::ranges,
    },
    spec::storage::storage_module,
};

/// The maker of a plan's passes.
pub(crate) struct Passes<'a> {
    pub(crate) spec: &'a LinearAttention,
    pub(crate) plan: PlanBuilder,
    pub(crate) partitions: Vec<Partition>,
    /// The buffer of prepared inputs, if there is one.
    pub(crate) preprocessed_at: Option<usize>,
    /// Scratch that is added to outputs: those of the other direction, or the tokens' own values.
    pub(crate) partial_at: Option<usize>,
    /// Buffers in place of tensors without elements, read and written.
    pub(crate) nothing: Option<[usize; 2]>,
}

/// How a variant goes about a problem.
pub(crate) trait Schedule: fmt::Debug + Send + Sync {
    /// Adds the passes that compute a run's outputs from inputs that are ready.
    ///
    /// # Errors
    /// If an adapter limit is in the way.
    fn make(&self, passes: &mut Passes<'_>, run: &Run<'_>) -> Result<(), Error>;

    /// Bytes of the largest scratch buffer that a partition needs, beside preprocessed inputs.
    fn scratch_bytes(&self, spec: &LinearAttention, partition: &Partition) -> u64 {
        let _ = (spec, partition);
        0
    }

    /// Facts worth showing about the passes of a problem in these partitions.
    fn notes(&self, spec: &LinearAttention, partitions: &[Partition]) -> Vec<(String, String)> {
        let _ = (spec, partitions);
        Vec::new()
    }
}

/// A variant's proposal.
pub(crate) type Candidate = operator::Candidate<LinearAttention>;

/// One direction of one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'p> {
    pub(crate) partition: &'p Partition,
    pub(crate) reverse: bool,
    pub(crate) o: Output,
    /// The queries of each state that are computed, from the first to before the last.
    pub(crate) queries: (usize, usize),
}

impl Run<'_> {
    /// A run for each query.
    pub(crate) fn by_query(self) -> impl Iterator<Item = Self> {
        (self.queries.0..self.queries.1).map(move |query| Self { queries: (query, query + 1), ..self })
    }

    /// Whether the states of this run are those that are returned: each query comes to the same ones.
    pub(crate) fn returns_states(&self) -> bool {
        self.queries.0 == 0
    }
}

/// Bindings, where the tensors lie relative to them, and the uniform's fields beside the problem's own.
pub(crate) type Bound = (Vec<PassBinding>, RowLayouts, Params);

/// Where outputs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// To o.
    Whole,
    /// To scratch: a second direction will be added.
    Partial,
    /// To o, with what is in scratch added.
    Sum,
}

impl Passes<'_> {
    pub(crate) fn limits(&self) -> &Limits {
        &self.plan.adapter.limits
    }

    /// The partition's part of a tensor, as the shader's variable `variable`, and where the whole tensor begins relative to it.
    pub(crate) fn bind(
        &self,
        variable: impl Into<Name>,
        name: &str,
        partition: &Partition,
    ) -> Result<(PassBinding, u32), Error> {
        let tensor_spec = &self.plan.tensors[self.plan.tensor_index(name)?];
        if let Some(nothing) = self.nothing.filter(|_| tensor_spec.span == 0) {
            let written = tensor_spec.access.writes();
            return Ok((self.plan.scratch(variable, nothing[usize::from(written)]), 0));
        }
        let range = self.spec.range(tensor_spec, partition, self.limits());
        Ok((self.plan.tensor_range(variable, name, range)?, range.base))
    }

    /// A scratch buffer of that size, and of some.
    pub(crate) fn add_scratch(&mut self, name: &'static str, bytes: u64) -> Result<usize, Error> {
        self.plan.add_scratch(name, bytes.max(16))
    }

    /// A request for a kernel of this problem that imports inputs and output.
    pub(crate) fn request(&self, module: &str, run: &Run<'_>) -> Request {
        let spec = self.spec;
        self.with_queries(Request::new(module))
            .replace("shared/inputs", self.inputs_module())
            .replace("shared/output", self.output_module(run))
            .tunable("HEAD_DIM", small(spec.key_dim().next_multiple_of(4)))
            .tunable("VALUE_DIM", small(spec.value_dim.next_multiple_of(4)))
            .tunable("RAGGED", spec.packed().is_some())
            .tunable("REVERSE", run.reverse)
    }

    /// The tunable of kernels that read q, where value heads share a key but not a query.
    pub(crate) fn with_queries(&self, request: Request) -> Request {
        if self.spec.own_queries() { request.tunable("OWN_QUERIES", true) } else { request }
    }

    /// The tunables of gates, beta and lengths.
    pub(crate) fn with_factors(&self, request: Request) -> Request {
        let spec = self.spec;
        let request = if spec.erases_by_another() {
            request.replace("linear_attention/erase", "linear_attention/erase_preprocessed")
        } else {
            request
        };
        request
            .tunable("PADDED", spec.length_tensor().is_some())
            .tunable("STEPS", small(spec.kernel_steps()))
            .tunable("GATE", self.gate_number())
            .tunable("BETA", spec.rule == Rule::Delta)
            .tunable("DELTA", spec.rule != Rule::Add)
            .tunable("ERASE_KEY", spec.erases_by_another())
            .tunable("ERASE_FIRST", spec.rule == Rule::Dplr)
    }

    /// As `shaders/linear_attention/problem.wgsl` counts gates.
    pub(crate) fn gate_number(&self) -> u32 {
        match self.spec.gate {
            Gate::None => 0,
            Gate::Constant | Gate::Scalar => 1,
            Gate::Vector => 2,
        }
    }

    /// The module that writes o.
    pub(crate) fn output_module(&self, run: &Run<'_>) -> String {
        let (dtype, aligned) = match run.o {
            Output::Partial => (crate::Dtype::F32, true),
            Output::Whole | Output::Sum => (self.spec.dtype, self.spec.value_dim.is_multiple_of(4)),
        };
        storage_module("output", dtype, aligned)
    }

    /// The module that reads q, k and v.
    pub(crate) fn inputs_module(&self) -> String {
        if self.preprocessed_at.is_some() {
            return "shared/inputs_preprocessed".to_owned();
        }
        storage_module("inputs", self.spec.dtype, self.inputs_aligned())
    }

    fn inputs_aligned(&self) -> bool {
        self.spec.head_dim.is_multiple_of(4) && self.spec.value_dim.is_multiple_of(4)
    }

    /// The bindings of inputs, o and factors, where they lie, and the uniform's fields beside the problem's own.
    pub(crate) fn inputs_and_output(&self, run: &Run<'_>, uses: Uses) -> Result<Bound, Error> {
        let (spec, partition) = (self.spec, run.partition);
        let mut bindings = Vec::new();
        let mut places = RowLayouts::default();
        let mut uneven = false;
        let strides = |name: &str| {
            let none = Strides { batch: 0, head: 0, position: 0 };
            spec.extent(name).map_or(none, |extent| extent.strides)
        };
        let mut bound = |name: &'static str| -> Result<RowLayout, Error> {
            let (binding, base) = self.bind(name, name, partition)?;
            bindings.push(binding);
            Ok(RowLayout { base, strides: strides(name) })
        };
        let query = |rows: RowLayout| rows.of_query(run.queries.0, spec.queries());
        let inputs = uses.q || uses.k || uses.v;
        if let Some(at) = self.preprocessed_at.filter(|_| inputs) {
            places.q = query(spec.region(Region::Q, partition).0);
            places.k = spec.region(Region::K, partition).0;
            places.v = spec.region(Region::V, partition).0;
            if spec.erases_by_another() {
                places.x = spec.region(Region::X, partition).0;
            }
            bindings.push(self.plan.scratch("prepared", at));
        } else if inputs {
            uneven |= !self.inputs_aligned();
            if uses.q {
                places.q = query(bound("q")?);
            }
            if uses.k {
                places.k = bound("k")?;
            }
            if uses.v {
                places.v = bound("v")?;
            }
        }
        if uses.o {
            match (run.o, self.partial_at) {
                (Output::Partial, Some(at)) => {
                    places.o = RowLayout { base: 0, strides: spec.partial_strides() };
                    bindings.push(self.plan.scratch("o", at));
                }
                (second, at) => {
                    let (binding, base) = self.bind("o", "o", partition)?;
                    bindings.push(binding);
                    places.o = query(RowLayout { base, strides: strides("o") });
                    uneven |= !spec.value_dim.is_multiple_of(4);
                    if let Some(at) = at.filter(|_| second == Output::Sum) {
                        bindings.push(self.plan.scratch("first_o", at));
                    }
                }
            }
        }
        if let Some(at) = self.preprocessed_at.filter(|_| uses.gates && spec.scales_gates()) {
            bindings.push(self.plan.scratch("g", at));
            places.g = spec.region(Region::G, partition).0;
        } else if uses.gates && spec.gate != Gate::None {
            let (binding, base) = self.bind("g", "g", partition)?;
            bindings.push(binding);
            let constant = Strides { batch: 0, head: 1, position: 0 };
            let strides = spec.extent("g").map_or(constant, |extent| extent.strides);
            places.g = RowLayout { base, strides };
        }
        if uses.beta && spec.rule == Rule::Delta {
            let (binding, base) = self.bind("beta", "beta", partition)?;
            bindings.push(binding);
            places.beta = RowLayout { base, strides: strides("beta") };
        }
        if let Some(name) = spec.bonus.as_ref().filter(|_| uses.bonus) {
            bindings.push(self.bind("bonus", name, partition)?.0);
        }
        if uses.lengths {
            if spec.packed().is_some() {
                bindings.push(self.bind("cu_seqlens", "cu_seqlens", partition)?.0);
            }
            if let Some(name) = spec.length_tensor() {
                bindings.push(self.bind("kv_len", name, partition)?.0);
            }
        }
        // All states of a partition lie in the same order.
        let states = ["state_in", "state_out"].into_iter().find(|name| self.plan.tensor_index(name).is_ok());
        if let Some(name) = states {
            places.state = self.bind(name, name, partition)?.1;
        }
        for (base, (_, name)) in places.kept.iter_mut().zip(KEPT) {
            if self.plan.tensor_index(name).is_ok() {
                *base = self.bind(name, name, partition)?.1;
            }
        }
        let widths = if uneven { width_params(spec.head_dim, spec.value_dim)? } else { Params::new() };
        Ok((bindings, places, widths))
    }

    /// The dispatches of a kernel over all of a partition's value heads and sequences, `x` workgroups each.
    pub(crate) fn push(
        &mut self,
        name: &str,
        request: Request,
        run: &Run<'_>,
        bound: Bound,
        x: usize,
    ) -> Result<(), Error> {
        self.push_segments(name, request, run, bound, [x, 1], Segments::default())
    }

    /// The same of kernels that know of segments, `each` workgroups along z for a sequence.
    pub(crate) fn push_segments(
        &mut self,
        name: &str,
        request: Request,
        run: &Run<'_>,
        bound: Bound,
        [x, each]: [usize; 2],
        segments: Segments,
    ) -> Result<(), Error> {
        let spec = self.spec;
        let max = self.plan.max_workgroups(x.max(each))?;
        let sequences = if spec.packed().is_some() { (0, spec.states()) } else { run.partition.batch };
        let parts = ranges(sequences, max / each).map(|(first, last)| {
            (First { sequence: first, segments, ..First::default() }, [x, (last - first) * each])
        });
        self.dispatch(name, request, run, bound, parts)
    }

    /// The dispatches of a kernel over all chunks of a partition and its value heads, `tiles` workgroups for each.
    pub(crate) fn push_chunks(
        &mut self,
        name: &str,
        request: Request,
        run: &Run<'_>,
        bound: Bound,
        tiles: usize,
    ) -> Result<(), Error> {
        let max = self.plan.max_workgroups(tiles)?;
        let sequence = run.partition.batch.0;
        let parts = ranges((0, self.spec.slots(run.partition)), max / tiles).map(|(first, last)| {
            (First { sequence, slot: first, ..First::default() }, [tiles * (last - first), 1])
        });
        self.dispatch(name, request, run, bound, parts)
    }

    /// A dispatch for each part, by where it begins and how many workgroups it has along x and z, over all value heads.
    fn dispatch(
        &mut self,
        name: &str,
        request: Request,
        run: &Run<'_>,
        (bindings, places, widths): Bound,
        parts: impl Iterator<Item = (First, [usize; 2])>,
    ) -> Result<(), Error> {
        let spec = self.spec;
        let request = Arc::new(request);
        let max = self.limits().max_compute_workgroups_per_dimension as usize;
        for (first, [x, z]) in parts {
            for heads in ranges(run.partition.heads, max) {
                let loop_turns = spec.loop_turns(&request, first.segments);
                let mut params = spec.params(&places, run.partition, First { head: heads.0, ..first })?;
                params.extend(widths.iter().cloned());
                let workgroups = [x, heads.1 - heads.0, z];
                self.plan.push(name, &request, bindings.clone(), params, workgroups, loop_turns)?;
            }
        }
        Ok(())
    }
}
