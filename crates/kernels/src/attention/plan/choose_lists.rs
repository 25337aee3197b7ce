//! The choice of lists that tiles follow: what limits allow, and what the caller's blocks ask for.

use super::{
    block_schedule::BlockSchedule,
    hooks::Evaluates,
    mask_program::{MaskProgram, ScheduleFrom},
    variants::Candidate,
};
use crate::{Error, Limits, attention::Attention};

impl Attention {
    /// The lists that the kernel's tiles follow, if they follow any.
    pub(crate) fn choose_lists(
        &self,
        taken: &Candidate,
        visibility: &MaskProgram<'_>,
        limits: &Limits,
    ) -> Result<Option<BlockSchedule>, Error> {
        if self.shared_prefix > 0 {
            // Keys are visited from the end of the prefix on.
            return Ok(None);
        }
        let (rows, keys) = (taken.schedule.tile_rows, taken.schedule.kv_block);
        if self.specialized().keys_of_binding(limits).is_some() {
            // Segments of what is bound are stretches of the keys.
            return if self.is_block_sparse() {
                let message = "one head's keys or values need more, beside lists of blocks they have to fit";
                Err(Error::limit("max_storage_buffer_binding_size", message))
            } else {
                Ok(None)
            };
        }
        let lists = match visibility.lists_from() {
            ScheduleFrom::Nowhere => return Ok(None),
            ScheduleFrom::Host => Some(BlockSchedule::on_host(
                &visibility.lists(rows, keys)?,
                self.needs_bits(rows, keys),
                visibility.token_order(),
            )),
            ScheduleFrom::Given => {
                self.device_blocks().and_then(|listed| BlockSchedule::given(self, listed, rows, keys))
            }
            ScheduleFrom::Device => {
                // A problem that stands in for another does what that one does.
                let model = BlockSchedule::on_device(self.specialized(), visibility, rows, keys, limits);
                let own = BlockSchedule::on_device(self, visibility, rows, keys, limits);
                own.zip(model).map(|(own, model)| own.with_bits_as(&model))
            }
        };
        let largest = limits.max_storage_buffer_binding_size;
        let Some(lists) = lists.filter(|lists| lists.size_bytes() <= largest) else {
            return if !self.is_block_sparse() {
                // Every element is tested instead.
                Ok(None)
            } else {
                let message = format!("the lists of blocks need more, the adapter allows {largest} bytes");
                Err(Error::limit("max_storage_buffer_binding_size", message))
            };
        };
        let groups = limits.max_compute_workgroups_per_dimension as usize;
        let too_many = lists.layout.kv_blocks > groups || lists.layout.count().div_ceil(groups) > groups;
        let optional = !self.is_block_sparse();
        if lists.made_by_device() && too_many && optional {
            return Ok(None);
        }
        if lists.made_by_device() && lists.layout.count().div_ceil(groups) > groups {
            let message = format!(
                "{} lists of blocks, the adapter allows {groups} workgroups along an axis",
                lists.layout.count()
            );
            return Err(Error::limit("max_compute_workgroups_per_dimension", message));
        }
        let evaluates = self.evaluates(Some(&lists));
        let mut bindings = self.storage_bindings(visibility, evaluates, limits) + 1;
        if optional && lists.made_by_device() {
            // The passes that make lists bind what the mask reads.
            let of_mask = visibility.tables_of(Evaluates { mask: true, score: false });
            bindings = bindings.max(3 + of_mask.len());
        }
        if bindings > limits.max_storage_buffers_per_shader_stage as usize && optional {
            return Ok(None);
        }
        Ok(Some(lists))
    }

    /// Whether tiles need bits beside the caller's lists: a matter of block sizes alone, so that it does not depend on what
    /// the lists hold.
    fn needs_bits(&self, tile_rows: usize, kv_block: usize) -> bool {
        self.host_blocks().is_some_and(|blocks| {
            blocks.bits().is_some()
                || !blocks.q_block().is_multiple_of(tile_rows)
                || !blocks.kv_block().is_multiple_of(kv_block)
        })
    }
}
