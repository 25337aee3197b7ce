//! The variants, and the passes of a plan.

use std::sync::Arc;

use foveal_shaders::Request;

use super::Combine;
use crate::{
    AdapterKind, AdapterProfile, Cost, Error, PassBinding, Strides,
    operator::Candidate,
    plan::builder::{Params, PlanBuilder, u32_params},
    plan::cost::{check_workgroup, float, occupancy, small, tile, timed},
    plan::partition::ranges,
    plan::turns::of_loop,
    spec::storage::storage_module,
};

/// Threads of a workgroup.
const THREADS: usize = 64;

/// Threads that share a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lanes(usize);

pub(super) fn rows(spec: &Combine, adapter: &AdapterProfile) -> Result<Candidate<Combine>, String> {
    propose("rows", spec, Lanes(1), adapter)
}

pub(super) fn lanes(spec: &Combine, adapter: &AdapterProfile) -> Result<Candidate<Combine>, String> {
    let vectors = spec.value_dim.div_ceil(4);
    if vectors < 2 {
        return Err(format!("needs rows of more than 4 columns to share, they have {}", spec.value_dim));
    }
    propose("lanes", spec, Lanes(1 << vectors.min(16).ilog2()), adapter)
}

fn propose(
    variant: &'static str,
    spec: &Combine,
    schedule: Lanes,
    adapter: &AdapterProfile,
) -> Result<Candidate<Combine>, String> {
    check_workgroup(adapter, THREADS, 0)?;
    let Lanes(lanes) = schedule;
    let pairs = float(spec.rows() * spec.parts);
    let vectors = float(spec.value_dim.div_ceil(4));
    // On a GPU the rows of a subgroup's threads lie apart: each load is a transaction of its own.
    let apart = if lanes == 1 && adapter.kind != AdapterKind::Cpu { 4.0 } else { 1.0 };
    let groups = spec.batch * spec.heads * (spec.len * lanes).div_ceil(THREADS);
    let cost = Cost {
        fma: pairs * vectors * 4.0,
        storage_loads: pairs * (vectors * (4.0 * apart + 1.0) + 2.0 * float(lanes)),
        exp2: pairs * (vectors + float(lanes)),
        occupancy: occupancy(float(groups), adapter),
        ..Cost::default()
    };
    Ok(Candidate {
        variant,
        tiles: vec![tile("rows", THREADS / lanes), tile("threads a row", lanes)],
        threads: small(THREADS),
        workgroup_bytes: 0,
        cost: timed(cost, adapter),
        schedule,
    })
}

/// A merge as the kernel sees it: attention merges the results of its own segments with it, too.
pub(crate) struct Merge {
    pub(crate) request: Arc<Request>,
    pub(crate) parts: usize,
    pub(crate) len: usize,
    pub(crate) width: usize,
    pub(crate) lanes: usize,
    pub(crate) bindings: Vec<PassBinding>,
    /// From part to part, batch entry, head and row.
    pub(crate) o_parts: [usize; 4],
    pub(crate) lse_parts: [usize; 3],
    /// Where the tensor begins relative to its binding, then from batch entry, head and row to the next.
    pub(crate) o: [usize; 4],
    pub(crate) lse: [usize; 3],
    /// Sizes of uneven rows, for the storage modules that ask for them.
    pub(crate) widths: Params,
}

impl Merge {
    /// The dispatches over ranges of batch entries, heads and rows.
    pub(crate) fn dispatch(
        &self,
        plan: &mut PlanBuilder,
        [batches, heads, rows]: [(usize, usize); 3],
    ) -> Result<(), Error> {
        let max = plan.max_workgroups(1)?;
        let each = THREADS / self.lanes;
        let over = of_loop(self.parts, 0);
        let turns = 2 * over + of_loop(self.width.div_ceil(4 * self.lanes), over);
        for batch in ranges(batches, max) {
            for head in ranges(heads, max) {
                for row in ranges(rows, max * each) {
                    let groups = [(row.1 - row.0).div_ceil(each), head.1 - head.0, batch.1 - batch.0];
                    let params = self.params([batch.0, head.0, row.0])?;
                    plan.push("combine", &self.request, self.bindings.clone(), params, groups, turns)?;
                }
            }
        }
        Ok(())
    }

    /// The uniform that `shaders/combine/combine.wgsl` declares.
    fn params(&self, first: [usize; 3]) -> Result<Params, Error> {
        let fields: [(&[&'static str], &[usize]); 6] = [
            (&["parts", "len"], &[self.parts, self.len]),
            (&["first_batch", "first_head", "first_row"], &first),
            (&["o_parts_part", "o_parts_batch", "o_parts_head", "o_parts_row"], &self.o_parts),
            (&["lse_parts_part", "lse_parts_batch", "lse_parts_head"], &self.lse_parts),
            (&["o_base", "o_batch", "o_head", "o_row"], &self.o),
            (&["lse_base", "lse_batch", "lse_head"], &self.lse),
        ];
        let fields = fields.into_iter().flat_map(|(names, values)| names.iter().zip(values));
        let mut params = u32_params(fields.map(|(&name, &value)| (name, value)))?;
        params.extend(self.widths.iter().cloned());
        Ok(params)
    }
}

impl Lanes {
    /// The merge, of tensors that are bound whole.
    pub(super) fn passes(self, spec: &Combine, plan: &mut PlanBuilder) -> Result<(), Error> {
        let aligned = spec.value_dim.is_multiple_of(4);
        let width = spec.value_dim.next_multiple_of(4);
        let request = Request::new("combine/combine")
            .replace("shared/inputs", storage_module("inputs", spec.dtype, aligned))
            .replace("shared/output", storage_module("output", spec.dtype, aligned))
            .tunable("VALUE_DIM", small(width))
            .tunable("LANES", small(self.0))
            .tunable("SINKS", spec.sink_logits.is_some());
        let mut bindings = vec![plan.tensor("v", "o_parts")?];
        for name in ["lse_parts", "o", "lse"] {
            bindings.push(plan.tensor(name, name)?);
        }
        if let Some(name) = &spec.sink_logits {
            bindings.push(plan.tensor("sink_logits", name)?);
        }
        let (rows, Strides { batch, head, position }) = (spec.rows(), spec.strides());
        let (lse_batch, lse_head) = (spec.heads * spec.len, spec.len);
        // Offsets have 32 bits.
        u32_params([("elements", spec.parts * rows * width)])?;
        let widths = [("head_dim", spec.value_dim), ("value_dim", spec.value_dim)];
        let merge = Merge {
            request: Arc::new(request),
            parts: spec.parts,
            len: spec.len,
            width,
            lanes: self.0,
            bindings,
            o_parts: [rows * spec.value_dim, batch, head, position],
            lse_parts: [rows, lse_batch, lse_head],
            o: [0, batch, head, position],
            lse: [0, lse_batch, lse_head],
            widths: if aligned { Params::new() } else { u32_params(widths)? },
        };
        merge.dispatch(plan, [(0, spec.batch), (0, spec.heads), (0, spec.len)])
    }
}
