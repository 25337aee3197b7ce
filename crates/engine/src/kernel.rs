//! A prepared plan: recording it.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foveal_kernels::{Plan, RejectedVariant};

use crate::binding::{Binding, Bound, resolve};
use crate::engine::Shared;
use crate::gpu::lock;
use crate::dispatch_offsets::DispatchOffsets;
use crate::bind_groups::{GroupCache, BindGroups};
use crate::dispatch_timeline::{Cursor, DispatchTimeline, units_in};
use crate::pipeline::Pipeline;
use crate::pool::Pooled;
use crate::scope::scoped;
use crate::{Error, ErrorKind};

/// A plan that is compiled, checked and ready to be recorded into command encoders. Cloning is cheap.
///
/// Dropping the last clone gives its scratch memory back to the engine; work that was recorded with it is not affected.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) inner: Arc<Inner>,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { plan, refused, self_check, .. } = &*self.inner;
        f.debug_struct("Kernel")
            .field("operator", &plan.operator)
            .field("variant", &plan.variant)
            .field("refused", refused)
            .field("self_check", self_check)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: Plan,
    pub(crate) refused: Vec<RejectedVariant>,
    pub(crate) self_check: SelfCheckReport,
    pub(crate) passes: Vec<KernelPass>,
    pub(crate) scratch: Vec<Scratch>,
    /// How the passes are cut where the kernel is recorded as a whole.
    pub(crate) grids: DispatchOffsets,
    /// How they are cut into many parts, once that is asked for, and how long those take.
    pub(crate) timeline: Mutex<Option<Arc<DispatchTimeline>>>,
    /// All passes' parameters.
    pub(crate) uniforms: Option<wgpu::Buffer>,
    /// What empty tensors are bound to, because a binding cannot be empty: one to read, one to write.
    pub(crate) empty: Option<[wgpu::Buffer; 2]>,
    pub(crate) groups: Mutex<GroupCache>,
    /// Where runs that are recorded together are gathered; empty in between.
    pub(crate) runs: Mutex<Vec<Arc<BindGroups>>>,
}

/// A buffer of the kernel's own.
#[derive(Debug)]
pub(crate) enum Scratch {
    /// Written before it is read in every run: it goes back to the pool with the kernel.
    Pooled(Pooled),
    /// Filled once. Were it given to another kernel, what that fills in would reach work that is recorded but not
    /// submitted yet.
    Own(wgpu::Buffer),
}

impl Scratch {
    pub(crate) fn buffer(&self) -> &wgpu::Buffer {
        match self {
            Self::Pooled(pooled) => pooled.buffer(),
            Self::Own(buffer) => buffer,
        }
    }
}

/// One dispatch.
#[derive(Debug)]
pub(crate) struct KernelPass {
    pub(crate) pipeline: Arc<Pipeline>,
    /// What to bind, in the order of the shader's bindings.
    pub(crate) slots: Vec<Slot>,
    pub(crate) workgroups: [u32; 3],
    /// The scratch buffer in which the workgroups are counted.
    pub(crate) indirect: Option<usize>,
}

/// What a binding of a shader is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) source: SlotSource,
    pub(crate) read_only: bool,
    pub(crate) offset_bytes: u64,
    pub(crate) size_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotSource {
    Uniforms,
    Port(usize),
    Scratch(usize),
    Empty,
    /// Which part of the pass a dispatch is: bound when that is known.
    Grid,
}

/// How a kernel's variant came to be trusted on this adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelfCheckReport {
    /// It ran a small case and was right.
    Passed {
        /// What that cost beyond compiling: inputs, reference, transfers, comparing.
        duration: Duration,
        /// From submitting the case until it was done. Drivers that compile at the first dispatch do so here.
        first_dispatch: Duration,
    },
    /// It was right before, with these very shaders on this adapter and driver.
    Remembered,
    /// Checks are off.
    Off,
    /// The plan dispatches nothing.
    Nothing,
}

impl Kernel {
    /// The plan, which is not the one that was given to [`Engine::prepare`](crate::Engine::prepare) if its variant was
    /// refused.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.inner.plan
    }

    /// Variants that would have been taken but failed on this adapter, each with the reason.
    #[must_use]
    pub fn refused(&self) -> &[RejectedVariant] {
        &self.inner.refused
    }

    /// How the variant came to be trusted.
    #[must_use]
    pub fn self_check(&self) -> SelfCheckReport {
        self.inner.self_check
    }

    /// Records the kernel into the caller's encoder, in a compute pass of its own. Nothing is submitted; what was
    /// recorded before is seen, and what is recorded later sees the outputs.
    ///
    /// `tensors` are the plan's ports by name, as whole buffers or slices, or as [`Binding`]s where some are one and some the
    /// other; an empty tensor may be left out. Recording
    /// again with buffers that were used lately allocates nothing. The kernel remembers some sets of buffers, and so
    /// keeps them alive, until [`Kernel::forget_buffers`] or its end.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] naming the tensor that is missing, unknown, too small, misaligned, without usage `STORAGE`,
    /// or the two of which one is written and overlaps the other; [`ErrorKind::DeviceLost`]; [`ErrorKind::Validation`] for buffers of another device.
    pub fn encode<'a, B: Into<Binding<'a>> + Copy>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        tensors: &[(&str, B)],
    ) -> Result<(), Error> {
        let groups = self.groups(tensors)?;
        self.record(encoder, &groups, None);
        Ok(())
    }

    /// As [`Kernel::encode`], into a compute pass of the caller's. Pipeline and bind groups of the pass are replaced.
    ///
    /// # Errors
    /// As [`Kernel::encode`].
    pub fn encode_in_pass<'a, B: Into<Binding<'a>> + Copy>(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        tensors: &[(&str, B)],
    ) -> Result<(), Error> {
        let groups = self.groups(tensors)?;
        self.dispatch(pass, &groups);
        Ok(())
    }

    /// Records the kernel once for each of `runs`, in their order and in one compute pass: a run sees what those before it wrote.
    /// This is the way to record a kernel many times. Every pass of an encoder keeps memory until it is submitted, and slows the
    /// device's later submissions in wgpu 30: 20,000 calls of [`Kernel::encode`] on one encoder keep 500 MiB and make
    /// what follows fifty times slower.
    ///
    /// ```no_run
    /// # fn record(kernel: &foveal::Kernel, encoder: &mut foveal::wgpu::CommandEncoder, layers: &[[foveal::wgpu::Buffer; 2]])
    /// # -> Result<(), foveal::Error> {
    /// let runs: Vec<_> = layers.iter().map(|[x, y]| [("x", x), ("y", y)]).collect();
    /// kernel.encode_runs(encoder, &runs)
    /// # }
    /// ```
    ///
    /// Nothing is recorded if any run's tensors are wrong. Recording again with sets that are remembered (the last eight)
    /// allocates nothing.
    ///
    /// # Errors
    /// As [`Kernel::encode`], for the first run that has something wrong.
    pub fn encode_runs<'n, 'a, B: Into<Binding<'a>> + Copy>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        runs: &[impl AsRef<[(&'n str, B)]>],
    ) -> Result<(), Error> {
        // The list is the kernel's, so that it need not grow again; another thread that records meanwhile has one of its own.
        let mut list = std::mem::take(&mut *lock(&self.inner.runs));
        let mut gathered =
            || runs.iter().try_for_each(|run| self.groups(run.as_ref()).map(|groups| list.push(groups)));
        let result = gathered();
        if result.is_ok() && !list.is_empty() && !self.inner.passes.is_empty() {
            let mut pass = self.begin(encoder, None);
            list.iter().for_each(|groups| self.dispatch(&mut pass, groups));
        }
        list.clear();
        *lock(&self.inner.runs) = list;
        result
    }

    /// Forgets the buffers that [`Kernel::encode`] was called with, so that the kernel does not keep them alive.
    pub fn forget_buffers(&self) {
        lock(&self.inner.groups).clear();
    }

    /// Bind groups for these tensors, made or remembered.
    fn groups<'a, B: Into<Binding<'a>> + Copy>(&self, tensors: &[(&str, B)]) -> Result<Arc<BindGroups>, Error> {
        self.remembered_groups(&self.resolve(tensors)?)
    }

    /// The same, once the tensors are resolved.
    pub(crate) fn remembered_groups(&self, bound: &Bound<'_>) -> Result<Arc<BindGroups>, Error> {
        if let Some(groups) = lock(&self.inner.groups).get(bound) {
            return Ok(groups);
        }
        let groups = self.make_groups(bound)?;
        lock(&self.inner.groups).insert(bound, &groups);
        Ok(groups)
    }

    pub(crate) fn resolve<'a, B: Into<Binding<'a>> + Copy>(
        &self,
        tensors: &[(&str, B)],
    ) -> Result<Bound<'a>, Error> {
        self.inner.shared.gpu.check()?;
        let alignment = self.inner.shared.profile.limits.min_storage_buffer_offset_alignment;
        resolve(&self.inner.plan, tensors, alignment)
    }

    /// Bind groups that nobody remembers.
    pub(crate) fn make_groups(&self, bound: &Bound<'_>) -> Result<Arc<BindGroups>, Error> {
        self.make_groups_with_slack(bound, 0)
    }

    /// The same, with bindings of outputs that reach `slack_bytes` further than the output.
    pub(crate) fn make_groups_with_slack(
        &self,
        bound: &Bound<'_>,
        slack_bytes: u64,
    ) -> Result<Arc<BindGroups>, Error> {
        self.groups_of(&self.scratch(), bound, slack_bytes)
    }

    /// The kernel's own scratch buffers.
    pub(crate) fn scratch(&self) -> Vec<wgpu::Buffer> {
        self.inner.scratch.iter().map(|scratch| scratch.buffer().clone()).collect()
    }

    /// The same, with these scratch buffers.
    pub(crate) fn groups_of(
        &self,
        scratch: &[wgpu::Buffer],
        bound: &Bound<'_>,
        slack_bytes: u64,
    ) -> Result<Arc<BindGroups>, Error> {
        let device = &self.inner.shared.gpu.device;
        let make = || {
            catch_unwind(AssertUnwindSafe(|| BindGroups::new(device, &self.inner, scratch, bound, slack_bytes)))
        };
        let (groups, caught) = scoped(device, make);
        // A browser tells later; there, the error comes out when the work is submitted.
        if let Ok(result) = caught.check_now("binding tensors") {
            result.map_err(|error| self.inner.shared.gpu.explain_now(error))?;
        }
        // wgpu knows buffers by number within an instance, and panics on a number that it never gave out.
        let groups = groups.unwrap_or_else(|_| {
            Err(Error::usage(
                "tensors",
                "wgpu does not know one of the buffers: it belongs to another wgpu instance",
            ))
        });
        groups.map(Arc::new)
    }

    /// Records the passes; the two queries of `timestamps` from the given index on are written before and after.
    pub(crate) fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        groups: &BindGroups,
        timestamps: Option<(&wgpu::QuerySet, u32)>,
    ) {
        self.record_runs(encoder, groups, 1, timestamps);
    }

    /// The same `runs` times over.
    pub(crate) fn record_runs(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        groups: &BindGroups,
        runs: usize,
        timestamps: Option<(&wgpu::QuerySet, u32)>,
    ) {
        if self.inner.passes.is_empty() && timestamps.is_none() {
            return;
        }
        let mut pass = self.begin(encoder, timestamps);
        for _ in 0..runs {
            self.dispatch(&mut pass, groups);
        }
    }

    /// A compute pass for the kernel; the two queries from the given index on are written before and after it.
    pub(crate) fn begin<'e>(
        &self,
        encoder: &'e mut wgpu::CommandEncoder,
        timestamps: Option<(&wgpu::QuerySet, u32)>,
    ) -> wgpu::ComputePass<'e> {
        let label = self.inner.plan.passes.first().map(|pass| pass.label.as_str());
        let timestamp_writes = timestamps.map(|(query_set, index)| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(index),
            end_of_pass_write_index: Some(index + 1),
        });
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes })
    }

    fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, groups: &BindGroups) {
        let end = Cursor { pass: self.inner.passes.len(), unit: 0 };
        self.dispatch_range(pass, groups, &self.inner.grids, Cursor::default()..end);
    }

    /// Records the units of a range.
    pub(crate) fn dispatch_range(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        groups: &BindGroups,
        grids: &DispatchOffsets,
        range: Range<Cursor>,
    ) {
        let mut current: Option<&Arc<Pipeline>> = None;
        for (index, step) in self.inner.passes.iter().enumerate().skip(range.start.pass) {
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

    /// An error unless the kernel was prepared by this engine.
    pub(crate) fn belongs_to(&self, shared: &Arc<Shared>) -> Result<(), Error> {
        if Arc::ptr_eq(&self.inner.shared, shared) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Usage,
            "kernel",
            "it was prepared by another engine, whose device it lives on",
        ))
    }
}
