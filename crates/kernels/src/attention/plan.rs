//! Choosing a variant, and turning the choice into passes.

use std::sync::Arc;

use super::{
    Attention,
    passes::Dispatches,
    variants::{Candidate, variants},
    mask_program::MaskProgram,
};
use crate::{
    AdapterProfile, Constraints, Cost, Error, Plan, Problem,
    choose::{Choice, Proposal, choose},
    turns,
};

/// Threads and bytes of workgroup memory of the passes that come before the kernel or after it, by shader.
const PREPARING: [(&str, u32, u32); 7] = [
    ("attention/fill_padding", 64, 0),
    ("attention/device_block_mask", 64, 0),
    ("attention/combine", 64, 0),
    ("attention/norms", 64, 0),
    ("attention/classify", 64, 32),
    ("attention/compact", 64, 512),
    ("attention/bits", 64, 0),
];

impl Attention {
    pub(super) fn plan_on(&self, adapter: &AdapterProfile, constraints: &Constraints) -> Result<Plan, Error> {
        self.validate()?;
        adapter.check_compute()?;
        let tensor_specs = self.all_tensors();
        self.check_buffers(adapter)?;
        let visibility = MaskProgram::new(self)?;
        let specialized = self.specialized();
        let of_specialized = self.specialized_for.is_some().then(|| MaskProgram::new(specialized)).transpose()?;
        let specialized_for = of_specialized.as_ref().unwrap_or(&visibility);

        let known = variants();
        let names = known.each_ref().map(|variant| variant.info.name);
        let mut unfit = turns::Unfit::default();
        let (Choice { taken, reason, rejected }, dispatches) = loop {
            let propose = |index: usize| match unfit.reason(names[index]) {
                Some(reason) => Err(reason.to_owned()),
                None => (known[index].propose)(specialized, specialized_for, adapter),
            };
            let choice = choose(&names, propose, adapter, constraints)?;
            let made = if self.q_len > 0 && self.kv_len == 0 {
                self.dispatches_without_keys(&choice.taken, &visibility, adapter)
            } else if self.q_len > 0 {
                let whole = (self.specialized_for.is_some()).then_some(specialized_for);
                self.dispatches(&choice.taken, &visibility, whole, adapter, constraints.workgroup_time)
            } else {
                Ok(Dispatches::default())
            };
            if let Some(dispatches) = unfit.judge(choice.taken.variant, made)? {
                break (choice, dispatches);
            }
        };
        let mut dispatched = (taken.threads, taken.workgroup_bytes);
        if self.kv_len == 0 {
            // The variant's kernel is not.
            dispatched = (0, 0);
        }
        let (mut threads, mut workgroup_bytes) = dispatched;
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
            constraints: constraints.clone(),
            operator: self.operator(),
            variant: taken.variant.to_owned(),
            reason,
            tiles,
            tensor_specs,
            scratch: dispatches.scratch,
            passes: dispatches.passes,
            threads,
            workgroup_bytes,
            cost: taken.cost,
            rejected,
        })
    }

    fn check_buffers(&self, adapter: &AdapterProfile) -> Result<(), Error> {
        for tensor_spec in self.all_tensors() {
            if tensor_spec.size_bytes() > adapter.limits.max_buffer_size {
                return Err(Error::limit(
                    "max_buffer_size",
                    format!(
                        "tensor {} needs {} bytes, the adapter allows {}",
                        tensor_spec.name,
                        tensor_spec.size_bytes(),
                        adapter.limits.max_buffer_size
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl Proposal for Candidate {
    fn variant(&self) -> &'static str {
        self.variant
    }

    fn cost(&self) -> &Cost {
        &self.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Access};

    #[test]
    fn inputs_come_before_outputs() {
        let roles: Vec<Access> = Attention::new([1, 2, 3, 4], [1, 2, 3, 4])
            .with_lse()
            .all_tensors()
            .iter()
            .map(|p| p.access)
            .collect();
        assert_eq!(
            roles,
            [Access::Read, Access::Read, Access::Read, Access::Write, Access::Write]
        );
    }

    #[test]
    fn large_batches_are_split_into_bindings_that_fit() {
        let spec = Attention::new([64, 8, 4096, 64], [64, 8, 4096, 64]);
        let mut adapter = AdapterProfile::webgpu_floor();
        adapter.limits.max_buffer_size = 1 << 40;
        let plan = spec.plan_on(&adapter, &Constraints::default()).unwrap();
        assert!(plan.passes.len() > 1);
        let max = Limits::WEBGPU_DEFAULT.max_storage_buffer_binding_size;
        let alignment = u64::from(Limits::WEBGPU_DEFAULT.min_storage_buffer_offset_alignment);
        for binding in plan.passes.iter().flat_map(|pass| &pass.bindings) {
            assert!(binding.size_bytes <= max && binding.offset_bytes % alignment == 0);
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
