//! Choosing a variant, and turning the choice into passes.

use std::sync::Arc;

use super::{
    Attention, Mask,
    split::Piece,
    variants::{Candidate, variants},
};
use crate::{
    AdapterProfile, Constraints, Cost, Error, ParamValue, Pass, PassBinding, Plan, Problem, Rejected, Source,
};

impl Attention {
    pub(super) fn plan_on(&self, adapter: &AdapterProfile, constraints: &Constraints) -> Result<Plan, Error> {
        self.validate()?;
        if let Some(wanted) = &constraints.variant {
            let known = variants();
            if !known.iter().any(|variant| variant.info.name == wanted) {
                let names: Vec<&str> = known.iter().map(|variant| variant.info.name).collect();
                return Err(Error::invalid(
                    "variant",
                    format!("expected {}, got `{wanted}`", names.join(", ")),
                ));
            }
        }
        let ports = self.all_ports();
        self.check_buffers(adapter)?;
        let storage = u32::try_from(ports.len()).unwrap_or(u32::MAX);
        if storage > adapter.limits.max_storage_buffers_per_shader_stage {
            return Err(Error::limit(
                "max_storage_buffers_per_shader_stage",
                format!(
                    "{storage} are needed, the adapter allows {}",
                    adapter.limits.max_storage_buffers_per_shader_stage
                ),
            ));
        }

        let mut taken: Option<Candidate> = None;
        let mut rejected = Vec::new();
        let mut slower = Vec::new();
        for variant in variants() {
            let name = variant.info.name;
            let mut reject = |reason: String| rejected.push(Rejected { variant: name.to_owned(), reason });
            if constraints.refused.contains(name) {
                reject("failed its self-check on this adapter".into());
                continue;
            }
            if constraints.variant.as_deref().is_some_and(|wanted| wanted != name) {
                continue;
            }
            match (variant.propose)(self, adapter) {
                Err(reason) => reject(reason),
                Ok(candidate) => match &taken {
                    Some(best) if best.cost.time <= candidate.cost.time => slower.push(candidate),
                    _ => slower.extend(taken.replace(candidate)),
                },
            }
        }
        let Some(taken) = taken else {
            let reasons: Vec<String> = rejected
                .iter()
                .map(|rejected| format!("{}: {}", rejected.variant, rejected.reason))
                .collect();
            return Err(Error::limit(
                "variant",
                format!("none can run this problem ({})", reasons.join("; ")),
            ));
        };
        for candidate in slower {
            let factor = candidate.cost.time.as_secs_f64() / taken.cost.time.as_secs_f64().max(1e-12);
            rejected.push(Rejected {
                variant: candidate.variant.to_owned(),
                reason: format!("estimated {factor:.1} times slower"),
            });
        }
        let reason = if constraints.variant.is_some() {
            "it was asked for".to_owned()
        } else {
            because(&taken.cost, adapter)
        };
        let passes = if self.q_len == 0 { Vec::new() } else { self.passes(&taken, adapter)? };
        Ok(Plan {
            problem: Arc::new(self.clone()),
            operator: self.operator(),
            variant: taken.variant.to_owned(),
            reason,
            tiles: taken.tiles,
            ports,
            scratch: Vec::new(),
            passes,
            threads: taken.threads,
            workgroup_bytes: taken.workgroup_bytes,
            cost: taken.cost,
            rejected,
        })
    }

    fn check_buffers(&self, adapter: &AdapterProfile) -> Result<(), Error> {
        for port in self.all_ports() {
            if port.size_bytes() > adapter.limits.max_buffer_size {
                return Err(Error::limit(
                    "max_buffer_size",
                    format!(
                        "tensor {} needs {} bytes, the adapter allows {}",
                        port.name,
                        port.size_bytes(),
                        adapter.limits.max_buffer_size
                    ),
                ));
            }
        }
        Ok(())
    }

    fn passes(&self, taken: &Candidate, adapter: &AdapterProfile) -> Result<Vec<Pass>, Error> {
        let request = Arc::new(taken.request.clone());
        let pieces = self.pieces(taken.tile_rows, &adapter.limits)?;
        pieces.iter().map(|piece| self.pass(taken, &request, piece, adapter)).collect()
    }

    fn pass(
        &self,
        taken: &Candidate,
        request: &Arc<foveal_shaders::Request>,
        piece: &Piece,
        adapter: &AdapterProfile,
    ) -> Result<Pass, Error> {
        let mut bindings = Vec::new();
        let mut params = self.sizes_as_params(piece)?;
        let fold = self.fold();
        for (index, extent) in self.extents().iter().enumerate() {
            let range = self.range(extent, piece, &adapter.limits);
            bindings.push(PassBinding {
                name: extent.name,
                source: Source::Port(index),
                offset_bytes: range.offset_bytes,
                size_bytes: range.size_bytes,
            });
            let fields = stride_fields(extent.name);
            let values = [
                range.base,
                u32_of("batch stride", extent.strides.batch)?,
                u32_of("head stride", extent.strides.head)?,
            ];
            params.extend(fields.into_iter().zip(values.map(ParamValue::U32)));
            if let Some(field) = row_field(extent.name) {
                params.push((field, ParamValue::U32(u32_of("row stride", extent.strides.position)?)));
            }
        }
        if !self.lse {
            params.extend(stride_fields("lse").map(|field| (field, ParamValue::U32(0))));
        }
        let tiles = (piece.rows.1 - piece.rows.0).div_ceil(taken.tile_rows);
        debug_assert!(fold == 1 || piece.rows.0 == 0 || self.rows() > taken.tile_rows, "folded rows are few");
        Ok(Pass {
            label: format!("foveal.attention.{}", taken.variant),
            request: Arc::clone(request),
            bindings,
            params,
            workgroups: [
                u32_of("row tiles", tiles)?,
                u32_of("heads", piece.heads.1 - piece.heads.0)?,
                u32_of("batch", piece.batch.1 - piece.batch.0)?,
            ],
        })
    }

    fn sizes_as_params(&self, piece: &Piece) -> Result<Vec<(&'static str, ParamValue)>, Error> {
        let visible = match self.mask {
            Mask::None => i64::from(EVERYTHING),
            Mask::Causal => {
                i64::try_from(self.kv_len).unwrap_or(i64::MAX) - i64::try_from(self.q_len).unwrap_or(0) + 1
            }
            Mask::CausalTopLeft => 1,
        };
        let visible =
            i32::try_from(visible).map_err(|_| Error::limit("u32 range", "kv_len - q_len exceeds 2^31"))?;
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what the device computes in")]
        let scale_log2 = (self.resolved_scale() * std::f64::consts::LOG2_E) as f32;
        let limit = |name: &'static str, x: usize| {
            u32_of(name, x).and_then(|x| {
                if x <= EVERYTHING.unsigned_abs() {
                    Ok(ParamValue::U32(x))
                } else {
                    Err(too_long(name, x as usize))
                }
            })
        };
        Ok(vec![
            ("q_len", limit("q_len", self.q_len)?),
            ("kv_len", limit("kv_len", self.kv_len)?),
            ("head_dim", limit("head_dim", self.head_dim)?),
            ("value_dim", limit("value_dim", self.value_dim)?),
            ("group", limit("group", self.group())?),
            ("fold", limit("fold", self.fold())?),
            ("visible", ParamValue::I32(visible)),
            ("scale_log2", ParamValue::F32(scale_log2)),
            ("negative_infinity", ParamValue::F32(f32::NEG_INFINITY)),
            ("first_batch", limit("batch", piece.batch.0)?),
            ("first_head", limit("heads", piece.heads.0 * self.fold())?),
            ("first_row", limit("rows", piece.rows.0)?),
        ])
    }
}

/// More keys than any query index plus this can hide; and the longest sequence, so that the sum stays in i32.
const EVERYTHING: i32 = 1 << 30;

fn too_long(name: &str, x: usize) -> Error {
    Error::limit("u32 range", format!("{name} is {x}, at most {EVERYTHING} is served"))
}

fn u32_of(name: &str, x: usize) -> Result<u32, Error> {
    u32::try_from(x)
        .map_err(|_| Error::limit("u32 range", format!("{name} is {x}, indices on the device have 32 bits")))
}

fn stride_fields(tensor: &str) -> [&'static str; 3] {
    match tensor {
        "q" => ["q_base", "q_batch", "q_head"],
        "k" => ["k_base", "k_batch", "k_head"],
        "v" => ["v_base", "v_batch", "v_head"],
        "o" => ["o_base", "o_batch", "o_head"],
        _ => ["lse_base", "lse_batch", "lse_head"],
    }
}

fn row_field(tensor: &str) -> Option<&'static str> {
    match tensor {
        "q" => Some("q_row"),
        "k" => Some("k_row"),
        "v" => Some("v_row"),
        "o" => Some("o_row"),
        _ => None,
    }
}

/// The choice in a sentence.
fn because(cost: &Cost, adapter: &AdapterProfile) -> String {
    let rates = if adapter.rates.measured { "measured" } else { "assumed" };
    format!(
        "of the variants that fit it has the least estimated cost at the adapter's {rates} rates ({:.1} FMAs a load)",
        cost.fma / (cost.storage_loads + cost.workgroup_loads).max(1.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, PortRole};

    #[test]
    fn inputs_come_before_outputs() {
        let roles: Vec<PortRole> = Attention::new([1, 2, 3, 4], [1, 2, 3, 4])
            .with_lse()
            .all_ports()
            .iter()
            .map(|p| p.role)
            .collect();
        assert_eq!(
            roles,
            [PortRole::Input, PortRole::Input, PortRole::Input, PortRole::Output, PortRole::Output]
        );
    }

    #[test]
    fn large_batches_are_split_into_bindings_that_fit() {
        let spec = Attention::new([64, 8, 4096, 64], [64, 8, 4096, 64]);
        let mut adapter = AdapterProfile::webgpu_floor();
        adapter.limits.max_buffer_size = 1 << 40;
        let plan = spec.plan_on(&adapter, &Constraints::default()).unwrap();
        assert!(plan.passes.len() > 1);
        let most = Limits::WEBGPU_DEFAULT.max_storage_buffer_binding_size;
        let alignment = u64::from(Limits::WEBGPU_DEFAULT.min_storage_buffer_offset_alignment);
        for binding in plan.passes.iter().flat_map(|pass| &pass.bindings) {
            assert!(binding.size_bytes <= most && binding.offset_bytes % alignment == 0);
        }
    }

    #[test]
    fn keys_beyond_a_binding_are_an_error_that_names_the_limit() {
        let mut adapter = AdapterProfile::webgpu_floor();
        adapter.limits.max_buffer_size = 1 << 40;
        let spec = Attention::new([1, 1, 64, 64], [1, 1, 1 << 20, 64]);
        let error = spec.plan_on(&adapter, &Constraints::default()).unwrap_err();
        assert_eq!(error.argument(), "max_storage_buffer_binding_size");
    }
}
