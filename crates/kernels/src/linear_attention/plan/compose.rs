//! The passes of a plan: inputs are preprocessed where they have to be, then a variant's kernels follow, partition by partition.

use super::{
    bindings::Partition,
    passes::{Output, Passes, Run, Schedule},
};
use crate::{
    Error,
    linear_attention::{Direction, LinearAttention},
    plan::{builder::PlanBuilder, partition::ranges},
};

/// A variant's scratch buffers are kept to this size where cutting the problem into partitions allows it.
const SCRATCH_BYTES: u64 = 128 << 20;

impl<'a> Passes<'a> {
    /// All passes of a problem.
    pub(crate) fn of(
        spec: &'a LinearAttention,
        schedule: &dyn Schedule,
        plan: PlanBuilder,
    ) -> Result<PlanBuilder, Error> {
        let (partitions, nothing) = (Vec::new(), None);
        let mut passes = Self { spec, plan, partitions, preprocessed_at: None, partial_at: None, nothing };
        if spec.len == 0 {
            let read = passes.add_scratch("foveal.linear.nothing_read", 16)?;
            passes.nothing = Some([read, passes.add_scratch("foveal.linear.nothing_written", 16)?]);
        }
        passes.partitions = passes.cut(schedule)?;
        if spec.len > 0 || spec.state_out || spec.z_out {
            passes.all(schedule)?;
        }
        passes.plan.notes = passes.notes(schedule);
        Ok(passes.plan)
    }

    /// Notes on the passes.
    fn notes(&self, schedule: &dyn Schedule) -> Vec<(String, String)> {
        let mut notes = schedule.notes(self.spec, &self.partitions);
        if self.spec.queries() > 1 {
            notes.push(("queries a state".to_owned(), self.spec.queries().to_string()));
        }
        if self.preprocessed_at.is_some() {
            notes.push(("inputs".to_owned(), "prepared as f32 in one buffer".to_owned()));
        }
        if self.partitions.len() > 1 {
            notes.push(("pieces".to_owned(), self.partitions.len().to_string()));
        }
        notes
    }

    /// All passes.
    fn all(&mut self, schedule: &dyn Schedule) -> Result<(), Error> {
        let spec = self.spec;
        let partitions = self.partitions.clone();
        if spec.is_prepared(self.limits()) {
            let bytes =
                partitions.iter().map(|partition| spec.preprocessed_bytes(partition)).max().unwrap_or(0);
            self.preprocessed_at = Some(self.add_scratch("foveal.linear.preprocessed", bytes)?);
        }
        if spec.adds_to_outputs() {
            let bytes = 4 * (spec.batch * spec.partial_strides().batch) as u64;
            self.partial_at = Some(self.add_scratch("foveal.linear.partial", bytes)?);
        }
        for partition in &partitions {
            self.preprocess(partition)?;
            let o = if spec.skip.is_some() { Output::Sum } else { Output::Whole };
            if spec.direction != Direction::Both {
                self.add_skip(partition, false)?;
            }
            let queries = spec.queries();
            let runs: &[(bool, Output)] = match spec.direction {
                Direction::Forward => &[(false, o)],
                Direction::Reverse => &[(true, o)],
                Direction::Both => &[(false, Output::Partial), (true, Output::Sum)],
            };
            // The sum of two directions is kept for one query at a time.
            let apart = if spec.direction == Direction::Both { 1 } else { queries.max(1) };
            for queries in ranges((0, queries), apart) {
                for &(reverse, o) in runs {
                    schedule.make(self, &Run { partition, reverse, o, queries })?;
                    if o == Output::Partial {
                        self.add_skip(partition, true)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The partitions in which all bindings fit.
    fn cut(&self, schedule: &dyn Schedule) -> Result<Vec<Partition>, Error> {
        let spec = self.spec;
        let max = self.limits().max_storage_buffer_binding_size;
        let preprocessed = spec.is_prepared(self.limits());
        let (mut batch, mut heads) = (spec.batch, spec.value_heads);
        loop {
            let partitions: Vec<Partition> = ranges((0, spec.batch), batch)
                .flat_map(|batch| {
                    ranges((0, spec.value_heads), heads).map(move |heads| Partition { batch, heads })
                })
                .collect();
            let largest = |partition: &Partition| {
                let tensor_specs = self
                    .plan
                    .tensors
                    .iter()
                    .map(|tensor_spec| spec.range(tensor_spec, partition, self.limits()).size_bytes);
                tensor_specs
                    .chain(preprocessed.then(|| spec.preprocessed_bytes(partition)))
                    .max()
                    .unwrap_or(0)
            };
            let scratch =
                partitions.iter().map(|partition| schedule.scratch_bytes(spec, partition)).max().unwrap_or(0);
            let needed = partitions.iter().map(largest).max().unwrap_or(0).max(scratch);
            // A variant's scratch is kept small where it can be.
            let smallest = batch == 1 && heads == 1;
            if needed <= max && (smallest || scratch <= SCRATCH_BYTES) {
                return Ok(partitions);
            }
            if batch > 1 {
                batch = batch.div_ceil(2);
            } else if heads > spec.group() {
                heads = (heads / spec.group()).div_ceil(2) * spec.group();
            } else if heads > 1 {
                // Value heads that share a key part last: each piece reads the key.
                heads = heads.div_ceil(2);
            } else {
                let message = format!(
                    "one batch entry and head need a binding of {needed} bytes, the adapter allows {max}"
                );
                return Err(Error::limit("max_storage_buffer_binding_size", message));
            }
        }
    }
}
