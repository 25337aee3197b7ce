//! Choosing a variant, and turning the choice into passes.

use std::sync::Arc;

use super::{
    LinearAttention,
    passes::Maker,
    prepared, states,
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
        let ports = self.all_ports();
        for port in &ports {
            if port.size_bytes() > adapter.limits.max_buffer_size {
                let (needed, allowed) = (port.size_bytes(), adapter.limits.max_buffer_size);
                let message =
                    format!("tensor {} needs {needed} bytes, the adapter allows {allowed}", port.name);
                return Err(Error::limit("max_buffer_size", message));
            }
        }
        let known = variants();
        let names = known.each_ref().map(|variant| variant.info.name);
        let mut unfit = turns::Unfit::default();
        let (Choice { taken, reason, rejected }, maker) = loop {
            let propose = |index: usize| match unfit.reason(names[index]) {
                Some(reason) => Err(reason.to_owned()),
                None => (known[index].propose)(self.sized(), adapter),
            };
            let choice = choose(&names, propose, adapter, constraints)?;
            let mut maker = Maker::new(self, &adapter.limits, &choice.taken.schedule)?;
            if self.len > 0 || self.state_out || self.z_out {
                maker.all(&choice.taken.schedule)?;
            }
            let fits = turns::check(&maker.passes, adapter);
            if unfit.judge(choice.taken.variant, fits)?.is_some() {
                break (choice, maker);
            }
        };
        let (mut threads, workgroup_bytes) = (taken.threads, taken.workgroup_bytes);
        for (module, its_threads) in
            [("linear_attention/prepare", prepared::THREADS), ("linear_attention/read", states::READ_THREADS)]
        {
            if maker.passes.iter().any(|pass| pass.request.module == module) {
                threads = threads.max(its_threads);
            }
        }
        let mut tiles = taken.tiles;
        tiles.extend(maker.notes(&taken.schedule));
        Ok(Plan {
            problem: Arc::new(self.clone()),
            constraints: constraints.clone(),
            operator: self.operator(),
            variant: taken.variant.to_owned(),
            reason,
            tiles,
            ports,
            scratch: maker.scratch,
            passes: maker.passes,
            threads,
            workgroup_bytes,
            cost: taken.cost,
            rejected,
        })
    }
}
