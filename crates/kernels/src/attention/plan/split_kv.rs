//! Keys of a tile that are split among several workgroups: a segment's bindings and parameters.

use foveal_shaders::Request;

use super::params::{row_field, stride_fields};
use crate::{
    Error, PassBinding, Strides,
    attention::Attention,
    plan::builder::{Params, PlanBuilder, set, u32_params},
};

/// Segments of the keys, and where their results go: `[segment, B, H, Tq]` rows of o, padded to multiples of four, and lse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SplitKv {
    pub(crate) count: usize,
    /// Parts before them, which are those of a shared prefix, and the keys of that prefix.
    pub(crate) prefix_parts: usize,
    pub(crate) prefix: usize,
    /// Dispatches that they are spread over, evenly.
    pub(crate) dispatches: usize,
    /// Keys that a dispatch visits: whole blocks.
    pub(crate) keys: usize,
    /// Blocks that a segment visits at most.
    pub(crate) blocks: usize,
    /// Queries and heads of a batch entry, the rows of a segment, and their width.
    pub(crate) q_len: usize,
    pub(crate) rows_of_batch: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    /// The scratch buffers.
    pub(crate) parts: usize,
    pub(crate) lse: usize,
    /// Keys of a segment of the grid, where each has the same number for every batch entry; 0 where an entry's own are shared evenly.
    pub(crate) keys_of_split: usize,
    /// Whether a dispatch's grid is split.
    pub(crate) in_grid: bool,
}

/// The request of a kernel whose results are merged: it writes o and lse in f32, and leaves sinks to merging.
pub(crate) fn of_part(request: Request) -> Request {
    request
        .without(&["shared/output", "WRITE_LSE", "SINKS"])
        .replace("shared/output", "shared/output_f32x4")
        .tunable("WRITE_LSE", true)
        .tunable("SINKS", false)
}

impl Attention {
    /// The kernel's request for split keys.
    pub(crate) fn with_split_kv(&self, request: Request, segments: &SplitKv) -> Request {
        let request = of_part(request);
        let request = if segments.in_grid { request.tunable("SPLITS", true) } else { request };
        if segments.is_spread() { request.tunable("SPLIT_KV", true) } else { request }
    }
}

impl SplitKv {
    /// Segments of a dispatch.
    pub(crate) fn in_dispatch(&self) -> usize {
        self.count / self.dispatches
    }

    /// Whether a dispatch visits a part of the keys only.
    fn is_spread(&self) -> bool {
        !self.in_grid || self.dispatches > 1 || self.prefix_parts > 0
    }

    /// Parts that are merged.
    pub(crate) fn all_parts(&self) -> usize {
        self.prefix_parts + self.count
    }

    /// Binds results from that part on in place of o and lse.
    pub(crate) fn bind_parts(
        &self,
        part: usize,
        plan: &PlanBuilder,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        bindings.retain(|binding| binding.name != "o" && binding.name != "lse");
        bindings.push(plan.scratch("o", self.parts));
        bindings.push(plan.scratch("lse", self.lse));
        let first = part * self.rows;
        for (tensor, first, strides) in
            [("o", first * self.width, self.strides()[0]), ("lse", first, self.strides()[1])]
        {
            for (field, value) in stride_fields(tensor).into_iter().zip([first, strides.batch, strides.head])
            {
                set(params, field, value)?;
            }
            if let Some(field) = row_field(tensor) {
                set(params, field, strides.position)?;
            }
        }
        Ok(())
    }

    /// Binds a dispatch's results in place of o and lse, and says which keys it visits.
    pub(crate) fn bind(
        &self,
        dispatch: usize,
        plan: &PlanBuilder,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        self.bind_parts(self.prefix_parts + dispatch * self.in_dispatch(), plan, bindings, params)?;
        if self.in_grid {
            let parts = [
                ("splits", self.in_dispatch()),
                ("keys", self.keys_of_split),
                ("o_part", self.rows * self.width),
                ("lse_part", self.rows),
            ];
            params.extend(u32_params(parts)?);
        }
        if !self.is_spread() {
            return Ok(());
        }
        let from = |dispatch: usize| self.prefix + dispatch * self.keys;
        let end = if dispatch + 1 == self.dispatches { 1 << 30 } else { from(dispatch + 1) };
        set(params, "visit_from", from(dispatch))?;
        set(params, "visit_end", end)
    }

    /// Of a segment's rows of o, and of lse.
    pub(crate) fn strides(&self) -> [Strides; 2] {
        [self.width, 1].map(|width| Strides {
            batch: self.rows_of_batch * width,
            head: self.q_len * width,
            position: width,
        })
    }
}
