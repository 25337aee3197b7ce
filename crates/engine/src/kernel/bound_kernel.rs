//! A kernel bound to its tensors, and recording it.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::device::scope::scoped;
use crate::kernel::bind_groups::{BindGroups, Buffers};
use crate::kernel::binding::{Binding, NamedTensors, Resolved, resolve};
use crate::kernel::dispatch::dispatch_range;
use crate::kernel::dispatch_offsets::DispatchOffsets;
use crate::kernel::dispatch_timeline::Cursor;
use crate::{Error, Kernel};

/// A kernel with the tensors that it reads and writes, ready to be recorded any number of times ([`Kernel::bind`]).
///
/// Recording cannot fail, allocates nothing of its own and makes no wgpu object. Cloning is cheap and gives the same.
///
/// It keeps the kernel and the buffers alive until its last clone is dropped; work that is recorded already is not
/// affected. All bound kernels of one [`Kernel`] share its scratch memory, which each run writes before it reads: the order
/// of the queue keeps them apart, as it does frames in flight.
#[derive(Clone)]
pub struct BoundKernel {
    inner: Arc<Inner>,
}

struct Inner {
    kernel: Kernel,
    /// In the order of the plan's tensors.
    tensors: Vec<Option<BufferRange>>,
    groups: BindGroups,
}

/// Where a tensor lies.
#[derive(Debug)]
struct BufferRange {
    buffer: wgpu::Buffer,
    offset_bytes: u64,
    size_bytes: u64,
}

impl BufferRange {
    fn of(Binding { buffer, offset_bytes, size_bytes }: Binding<'_>) -> Self {
        Self { buffer: buffer.clone(), offset_bytes, size_bytes }
    }

    fn binding(&self) -> Binding<'_> {
        let Self { buffer, offset_bytes, size_bytes } = self;
        Binding { buffer, offset_bytes: *offset_bytes, size_bytes: *size_bytes }
    }
}

impl fmt::Debug for BoundKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("BoundKernel");
        shown.field("kernel", &self.inner.kernel);
        for (tensor_spec, place) in self.kernel().plan().tensors.iter().zip(&self.inner.tensors) {
            shown.field(&tensor_spec.name, place);
        }
        shown.finish_non_exhaustive()
    }
}

impl Kernel {
    /// Binds the kernel to tensors. All that can be wrong with those is found here; recording what this returns
    /// ([`BoundKernel::encode`]) cannot fail.
    ///
    /// `tensors` are the plan's ([`Plan::tensors`](crate::Plan)) by name: `&[("q", &q), ("o", &o)]` with whole buffers or
    /// slices, or a struct with a field for each, such as [`AttentionTensors`](crate::AttentionTensors). An empty tensor may
    /// be left out. Buffers need the usage `STORAGE`, and offsets are multiples of the device's
    /// `min_storage_buffer_offset_alignment`.
    ///
    /// Binding makes wgpu's bind groups: once for each set of buffers, while loading, not in every frame. Two sets that take
    /// turns are two bound kernels.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) naming the tensor that is missing, unknown, bound twice, too small,
    /// misaligned, without usage `STORAGE`, or the two of which one is written and overlaps the other;
    /// [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost); [`ErrorKind::Validation`](crate::ErrorKind::Validation) for
    /// buffers of another device.
    pub fn bind<'a>(&self, tensors: &(impl NamedTensors<'a> + ?Sized)) -> Result<BoundKernel, Error> {
        self.bind_with_slack(tensors, 0)
    }

    /// The same, with bindings of outputs that reach `slack_bytes` further than the output.
    pub(crate) fn bind_with_slack<'a>(
        &self,
        tensors: &(impl NamedTensors<'a> + ?Sized),
        slack_bytes: u64,
    ) -> Result<BoundKernel, Error> {
        let shared = &self.inner.shared;
        // wgpu raises no error for objects made on a lost device, and recording checks nothing.
        shared.gpu.probe_now()?;
        let alignment = shared.profile.limits.min_storage_buffer_offset_alignment;
        let resolved = resolve(&self.inner.plan, &tensors.named(), alignment)?;
        let scratch: Vec<wgpu::Buffer> =
            self.inner.scratch.iter().map(|scratch| scratch.buffer().clone()).collect();
        let groups = self.groups(&resolved, &scratch, slack_bytes)?;
        let tensors = resolved.into_iter().map(|binding| binding.map(BufferRange::of)).collect();
        Ok(BoundKernel { inner: Arc::new(Inner { kernel: self.clone(), tensors, groups }) })
    }

    fn groups(
        &self,
        tensors: &Resolved<'_>,
        scratch: &[wgpu::Buffer],
        slack_bytes: u64,
    ) -> Result<BindGroups, Error> {
        let gpu = &self.inner.shared.gpu;
        let buffers = Buffers {
            plan: &self.inner.plan,
            passes: &self.inner.passes,
            uniforms: self.inner.uniforms.as_ref(),
            empty: self.inner.empty.as_ref(),
            scratch,
            tensors,
            slack_bytes,
        };
        let make = || catch_unwind(AssertUnwindSafe(|| BindGroups::new(&gpu.device, &buffers)));
        let (groups, caught) = scoped(&gpu.device, make);
        // A browser tells later; there, the error comes out when the work is submitted.
        if let Ok(result) = caught.check_now("binding tensors") {
            result.map_err(|error| gpu.explain_now(error))?;
        }
        // wgpu knows buffers by number within an instance, and panics on a number that it never gave out.
        groups.unwrap_or_else(|_| {
            Err(Error::usage(
                "tensors",
                "wgpu does not know one of the buffers: it belongs to another wgpu instance",
            ))
        })
    }
}

impl BoundKernel {
    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.inner.kernel
    }

    /// Records the kernel into the caller's encoder, in a compute pass of its own. Nothing is submitted; work that was
    /// recorded before is seen, and work that is recorded later sees the outputs.
    ///
    /// Every pass of an encoder keeps memory until it is submitted, and slows the device's later submissions in wgpu 30:
    /// 20,000 calls of this on one encoder keep 500 MiB and make later work fifty times slower. Many runs belong in one
    /// pass, see [`BoundKernel::encode_in_pass`].
    ///
    /// On a lost device this records to no effect.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.encode_runs(encoder, 1, None);
    }

    /// As [`BoundKernel::encode`], into a compute pass of the caller's. Pipeline and bind groups 0 and 1 of the pass are
    /// replaced.
    ///
    /// Runs in one pass see the outputs of those before:
    /// ```no_run
    /// # fn record(encoder: &mut foveal::wgpu::CommandEncoder, layers: &[foveal::BoundKernel]) {
    /// let mut pass = encoder.begin_compute_pass(&Default::default());
    /// for layer in layers {
    ///     layer.encode_in_pass(&mut pass);
    /// }
    /// # }
    /// ```
    pub fn encode_in_pass(&self, pass: &mut wgpu::ComputePass<'_>) {
        let kernel = &self.inner.kernel.inner;
        let end = Cursor { pass: kernel.passes.len(), unit: 0 };
        self.dispatch_range(pass, &kernel.grids, Cursor::default()..end);
    }

    /// Records some runs in one pass; the two queries of `timestamps` from the given index on are written before and after.
    pub(crate) fn encode_runs(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        runs: usize,
        timestamps: Option<(&wgpu::QuerySet, u32)>,
    ) {
        if self.inner.kernel.inner.passes.is_empty() && timestamps.is_none() {
            return;
        }
        let mut pass = self.begin(encoder, timestamps);
        for _ in 0..runs {
            self.encode_in_pass(&mut pass);
        }
    }

    /// A compute pass for the kernel; the two queries from the given index on are written before and after it.
    pub(crate) fn begin<'e>(
        &self,
        encoder: &'e mut wgpu::CommandEncoder,
        timestamps: Option<(&wgpu::QuerySet, u32)>,
    ) -> wgpu::ComputePass<'e> {
        let label = self.kernel().plan().passes.first().map(|pass| pass.label.as_str());
        let timestamp_writes = timestamps.map(|(query_set, index)| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(index),
            end_of_pass_write_index: Some(index + 1),
        });
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes })
    }

    /// Records a part of the kernel.
    pub(crate) fn dispatch_range(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        grids: &DispatchOffsets,
        range: Range<Cursor>,
    ) {
        dispatch_range(pass, &self.inner.kernel.inner.passes, &self.inner.groups, grids, range);
    }

    /// Bind groups of the same tensors with other scratch memory.
    pub(crate) fn groups_with(&self, scratch: &[wgpu::Buffer]) -> Result<BindGroups, Error> {
        let places = self.inner.tensors.iter();
        let resolved: Vec<_> = places.map(|place| place.as_ref().map(BufferRange::binding)).collect();
        self.inner.kernel.groups(&resolved, scratch, 0)
    }
}
