//! Recording dispatches.

use std::ops::Range;
use std::sync::Arc;

use crate::kernel::bind_groups::BindGroups;
use crate::kernel::dispatch_offsets::DispatchOffsets;
use crate::kernel::dispatch_timeline::{Cursor, units_in};
use crate::kernel::kernel_pass::KernelPass;
use crate::prepare::pipeline::Pipeline;

/// Records the units of a range of a kernel's passes. Allocates nothing.
pub(crate) fn dispatch_range(
    pass: &mut wgpu::ComputePass<'_>,
    passes: &[KernelPass],
    groups: &BindGroups,
    grids: &DispatchOffsets,
    range: Range<Cursor>,
) {
    let mut current: Option<&Arc<Pipeline>> = None;
    for (index, step) in passes.iter().enumerate().skip(range.start.pass) {
        let cut = grids.cut(index);
        let units = units_in(&range, index, cut.units());
        if units.is_empty() {
            break;
        }
        if current.is_none_or(|pipeline| !Arc::ptr_eq(pipeline, &step.pipeline)) {
            pass.set_pipeline(&step.pipeline.pipeline);
            current = Some(&step.pipeline);
        }
        for (group, bind_group) in groups.of_pass(index) {
            pass.set_bind_group(group, bind_group, &[]);
        }
        for (unit, block) in cut.blocks(units) {
            if let Some((group, bind_group, offset)) = grids.at(index, unit) {
                pass.set_bind_group(group, bind_group, &[offset]);
            }
            match groups.indirect(index) {
                // Workgroups beyond have nothing to do, so that parts need not know.
                Some(counted) if block.size == step.workgroups => {
                    pass.dispatch_workgroups_indirect(counted, 0);
                }
                _ => {
                    let [x, y, z] = block.size;
                    pass.dispatch_workgroups(x, y, z);
                }
            }
        }
    }
}
