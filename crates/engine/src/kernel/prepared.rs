//! A prepared plan.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foveal_kernels::{Plan, RejectedVariant};

use crate::device::gpu::lock;
use crate::engine::Shared;
use crate::kernel::dispatch_offsets::DispatchOffsets;
use crate::kernel::dispatch_timeline::{DispatchTimeline, max_units};
use crate::kernel::grid_partition::GridPartition;
use crate::kernel::kernel_pass::KernelPass;
use crate::memory::pool::Pooled;
use crate::{Error, ErrorKind};

/// A plan that is compiled, checked and ready to be bound to tensors ([`Kernel::bind`]). Cloning is cheap.
///
/// Its scratch memory goes back to the engine with the last clone and the last [`BoundKernel`](crate::BoundKernel) of it;
/// work that is recorded already is not affected.
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
    /// Stand for empty tensors, because a binding cannot be empty: one to read, one to write.
    pub(crate) empty: Option<[wgpu::Buffer; 2]>,
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

/// How a kernel's variant came to be trusted on this adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelfCheckReport {
    /// It ran a small case and was right.
    Passed {
        /// Its time beyond compiling: inputs, reference, transfers, comparing.
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

    /// The cut into parts, and how long those take as far as that is known.
    pub(crate) async fn timeline(&self) -> Result<Arc<DispatchTimeline>, Error> {
        if let Some(timeline) = &*lock(&self.inner.timeline) {
            return Ok(Arc::clone(timeline));
        }
        let inner = &self.inner;
        let max = max_units(inner.passes.len());
        let limits = &inner.shared.profile.limits;
        let cut = |pass: &KernelPass| GridPartition::fine(pass.workgroups, max);
        let grids = DispatchOffsets::new(&inner.shared.gpu, &inner.passes, limits, cut).await?;
        let at_once = inner.shared.profile.workgroups_at_once();
        let timeline = Arc::new(DispatchTimeline::estimated(&inner.plan, Arc::new(grids), at_once));
        // Another thread may have been quicker; both are the same.
        Ok(Arc::clone(lock(&inner.timeline).get_or_insert(timeline)))
    }

    pub(crate) fn set_timeline(&self, timeline: Arc<DispatchTimeline>) {
        *lock(&self.inner.timeline) = Some(timeline);
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
