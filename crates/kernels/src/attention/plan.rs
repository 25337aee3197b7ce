//! Choosing a variant, and turning the choice into passes.

use std::sync::Arc;

use super::{
    Attention,
    passes::Dispatches,
    variants::{Candidate, variants},
    visibility::Visibility,
};
use crate::{AdapterProfile, Constraints, Cost, Error, Plan, Problem, Rejected};

/// Threads and bytes of workgroup memory of the passes that come before the kernel, by shader.
const PREPARING: [(&str, u32, u32); 4] = [
    ("attention/norms", 64, 0),
    ("attention/classify", 64, 32),
    ("attention/compact", 64, 512),
    ("attention/bits", 64, 0),
];

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
        let visibility = Visibility::new(self)?;
        let sized = self.sized();
        let of_sized = self.tiles_for.is_some().then(|| Visibility::new(sized)).transpose()?;
        let tiles_for = of_sized.as_ref().unwrap_or(&visibility);

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
            match (variant.propose)(sized, tiles_for, adapter) {
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
        let mut dispatches = Dispatches::default();
        if self.q_len > 0 {
            dispatches = self.dispatches(&taken, &visibility, adapter)?;
        }
        let (mut threads, mut workgroup_bytes) = (taken.threads, taken.workgroup_bytes);
        for (module, its_threads, its_bytes) in PREPARING {
            if dispatches.passes.iter().any(|pass| pass.request.module == module) {
                threads = threads.max(its_threads);
                workgroup_bytes = workgroup_bytes.max(its_bytes);
            }
        }
        let mut tiles = taken.tiles;
        tiles.extend(dispatches.notes);
        Ok(Plan {
            problem: Arc::new(self.clone()),
            operator: self.operator(),
            variant: taken.variant.to_owned(),
            reason,
            tiles,
            ports,
            scratch: dispatches.scratch,
            passes: dispatches.passes,
            threads,
            workgroup_bytes,
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
