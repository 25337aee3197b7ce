//! Choosing a variant, and turning the choice into passes.

use std::sync::Arc;

use super::{
    LinearAttention,
    passes::PlanBuilder,
    preprocessed, states,
    variants::{Candidate, variants},
};
use crate::{
    AdapterProfile, Constraints, Cost, Error, Plan, Problem,
    choose::{Choice, Proposal, choose},
    turns,
};

impl Proposal for Candidate {
    fn variant(&self) -> &'static str {
        self.variant
    }

    fn cost(&self) -> &Cost {
        &self.cost
    }
}

impl LinearAttention {
    pub(super) fn plan_on(&self, adapter: &AdapterProfile, constraints: &Constraints) -> Result<Plan, Error> {
        self.validate()?;
        adapter.check_compute()?;
        let tensor_specs = self.all_tensors();
        for tensor_spec in &tensor_specs {
            if tensor_spec.size_bytes() > adapter.limits.max_buffer_size {
                let (needed, allowed) = (tensor_spec.size_bytes(), adapter.limits.max_buffer_size);
                let message =
                    format!("tensor {} needs {needed} bytes, the adapter allows {allowed}", tensor_spec.name);
                return Err(Error::limit("max_buffer_size", message));
            }
        }
        let known = variants();
        let names = known.each_ref().map(|variant| variant.info.name);
        let mut unfit = turns::Unfit::default();
        let (Choice { taken, reason, rejected }, builder) = loop {
            let propose = |index: usize| match unfit.reason(names[index]) {
                Some(reason) => Err(reason.to_owned()),
                None => (known[index].propose)(self.specialized(), adapter),
            };
            let choice = choose(&names, propose, adapter, constraints)?;
            let mut builder = PlanBuilder::new(self, &adapter.limits, &choice.taken.schedule)?;
            if self.len > 0 || self.state_out || self.z_out {
                builder.all(&choice.taken.schedule)?;
            }
            let fits = turns::check(&builder.passes, adapter);
            if unfit.judge(choice.taken.variant, fits)?.is_some() {
                break (choice, builder);
            }
        };
        let (mut threads, workgroup_bytes) = (taken.threads, taken.workgroup_bytes);
        for (module, its_threads) in
            [("linear_attention/preprocess", preprocess::THREADS), ("linear_attention/read", states::READ_THREADS)]
        {
            if builder.passes.iter().any(|pass| pass.request.module == module) {
                threads = threads.max(its_threads);
            }
        }
        let mut tiles = taken.tiles;
        tiles.extend(builder.notes(&taken.schedule));
        Ok(Plan {
            problem: Arc::new(self.clone()),
            constraints: constraints.clone(),
            operator: self.operator(),
            variant: taken.variant.to_owned(),
            reason,
            tiles,
            tensor_specs,
            scratch: builder.scratch,
            passes: builder.passes,
            threads,
            workgroup_bytes,
            cost: taken.cost,
            rejected,
        })
    }
}
