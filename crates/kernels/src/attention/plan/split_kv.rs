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
    /// Keys that a segment visits: whole blocks.
    pub(crate) keys: usize,
    /// Queries and heads of a batch entry, the rows of a segment, and their width.
    pub(crate) q_len: usize,
    pub(crate) rows_of_batch: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    /// The scratch buffers.
    pub(crate) parts: usize,
    pub(crate) lse: usize,
    /// Whether one dispatch visits all of them.
    pub(crate) in_grid: bool,
}

impl Attention {
    /// The kernel's request for split keys: it writes o and lse in f32, and leaves sinks to merging.
    pub(crate) fn with_split_kv(&self, request: Request, in_grid: bool) -> Request {
        request
            .without(&["shared/output", "WRITE_LSE", "SINKS"])
            .replace("shared/output", "shared/output_f32x4")
            .tunable(if in_grid { "SPLITS" } else { "SPLIT_KV" }, true)
            .tunable("WRITE_LSE", true)
            .tunable("SINKS", false)
    }
}

impl SplitKv {
    /// Binds a segment's results in place of o and lse, and says which keys it visits.
    pub(crate) fn bind(
        &self,
        segment: usize,
        plan: &PlanBuilder,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        bindings.retain(|binding| binding.name != "o" && binding.name != "lse");
        bindings.push(plan.scratch("o", self.parts));
        bindings.push(plan.scratch("lse", self.lse));
        let first = segment * self.rows;
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
        if self.in_grid {
            let parts = [("splits", self.count), ("o_part", self.rows * self.width), ("lse_part", self.rows)];
            params.extend(u32_params(parts)?);
            return Ok(());
        }
        let end = if segment + 1 == self.count { 1 << 30 } else { (segment + 1) * self.keys };
        set(params, "visit_from", segment * self.keys)?;
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
