//! Running a kernel on tensors in host memory.

use foveal_kernels::{Dtype, HostTensor, Name, Plan, TensorSpec};

use crate::engine::Shared;
use crate::kernel::binding::{Binding, describe};
use crate::memory::pool::Pooled;
use crate::prepare::assemble::STORAGE;
use crate::testing::self_check::to_usize;
use crate::{Engine, Error, Kernel};

/// Tensors on the device, by name.
pub(crate) type Uploaded<'p> = Vec<(&'p str, Pooled)>;

impl Engine {
    /// Runs a kernel: uploads the inputs, submits, waits, reads the outputs back. The order of the outputs is the
    /// plan's.
    ///
    /// Inputs of another storage type are rounded to the port's. Natively the wait blocks the thread that polls the
    /// future. Kernels of a frame are better bound to buffers of their own, with [`Kernel::bind`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) naming the tensor that is missing, unknown or of another shape;
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory),
    /// [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost), [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    pub async fn run(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<Vec<(Name, HostTensor)>, Error> {
        self.run_with(kernel, inputs, |_| ()).await
    }

    /// As [`Engine::run`]; `progress` hears which share of the work is done, 0 to 1, wherever the engine waits because the
    /// work is too long for one submission ([`Options::longest_submission`](crate::Options::longest_submission)).
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn run_with(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, &HostTensor)],
        mut progress: impl FnMut(f64) + Send,
    ) -> Result<Vec<(Name, HostTensor)>, Error> {
        kernel.belongs_to(&self.shared)?;
        kernel.plan().problem.check_inputs(inputs)?;
        let run = async {
            let tensors = self.upload_all(kernel, inputs).await?;
            let bindings = bindings(&tensors);
            self.execute("foveal.run", &kernel.bind(&bindings)?, Some(&mut progress)).await?;
            let mut outputs = Vec::new();
            for tensor_spec in kernel.plan().tensors.iter().filter(|tensor_spec| tensor_spec.access.writes())
            {
                let Some((_, binding)) = bindings.iter().find(|(name, _)| *name == tensor_spec.name) else {
                    return Err(Error::internal("run", format!("output {} has no buffer", tensor_spec.name)));
                };
                let range = Binding { size_bytes: tensor_spec.size_bytes(), ..*binding };
                let bytes = self.read_bytes(range).await?;
                outputs.push((
                    tensor_spec.name.clone(),
                    HostTensor::from_bytes(tensor_spec.shape.clone(), &bytes, tensor_spec.dtype)?,
                ));
            }
            Ok(outputs)
        };
        self.shared.gpu.explained(run.await).await
    }

    /// A buffer that holds `tensor` as storage type `dtype`, to be bound to kernels.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) if it is larger than a buffer can be,
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
    pub async fn upload(
        &self,
        label: &str,
        tensor: &HostTensor,
        dtype: Dtype,
    ) -> Result<wgpu::Buffer, Error> {
        let bytes = tensor.checked_bytes(label, dtype)?;
        let buffer = self.buffer(label, bytes.len() as u64).await?;
        self.shared.gpu.explained(self.shared.gpu.write(&buffer, 0, &bytes).await).await?;
        Ok(buffer)
    }

    /// A buffer of at least `size_bytes` for a tensor, such as an output: zeroed, with usages `STORAGE`, `COPY_SRC` and
    /// `COPY_DST`.
    ///
    /// # Errors
    /// As [`Engine::upload`].
    pub async fn buffer(&self, label: &str, size_bytes: u64) -> Result<wgpu::Buffer, Error> {
        let Shared { gpu, profile, .. } = &*self.shared;
        let buffer = gpu.buffer(label, size_bytes, STORAGE, &profile.limits).await;
        let buffer = gpu.explained(buffer).await?;
        // Creating objects on a lost device raises nothing, so success has to be confirmed.
        gpu.probe().await?;
        Ok(buffer)
    }

    /// The dense tensor of `shape` and `dtype` at the beginning of `source`, a whole buffer or a slice, once the work
    /// that was submitted before is done. The buffer needs usage `COPY_SRC`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the buffer is too small or cannot be copied from;
    /// [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost), [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    pub async fn read_back<'a>(
        &self,
        source: impl Into<Binding<'a>>,
        shape: &[usize],
        dtype: Dtype,
    ) -> Result<HostTensor, Error> {
        let source = source.into();
        let count = shape.iter().try_fold(dtype.size_bytes(), |n, &d| n.checked_mul(d));
        let needed = count.and_then(|bytes| u64::try_from(bytes).ok()?.checked_next_multiple_of(4));
        let size_bytes = needed.filter(|&needed| needed <= source.size_bytes).ok_or_else(|| {
            let message = format!("{shape:?} {dtype} does not fit in {} bytes", source.size_bytes);
            Error::usage("source", message)
        })?;
        if !source.buffer.usage().contains(wgpu::BufferUsages::COPY_SRC) {
            let message =
                format!("the buffer's usage has to include COPY_SRC, it is {:?}", source.buffer.usage());
            return Err(Error::usage("source", message));
        }
        let bytes = self.read_bytes(Binding { size_bytes, ..source }).await;
        let bytes = self.shared.gpu.explained(bytes).await?;
        Ok(HostTensor::from_bytes(shape.to_vec(), &bytes, dtype)?)
    }

    /// The bytes of a range of a buffer.
    pub(crate) async fn read_bytes(&self, source: Binding<'_>) -> Result<Vec<u8>, Error> {
        let Shared { gpu, pool, profile, .. } = &*self.shared;
        let Binding { buffer, offset_bytes, size_bytes } = source;
        if size_bytes == 0 {
            return Ok(Vec::new());
        }
        to_usize(size_bytes)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = pool.take(gpu, "foveal.read_back", size_bytes, usage, &profile.limits).await?;
        let copy = |encoder: &mut wgpu::CommandEncoder| {
            encoder.copy_buffer_to_buffer(buffer, offset_bytes, staging.buffer(), 0, size_bytes);
            Ok(())
        };
        let filled = gpu.submit("foveal.read_back", copy).await?;
        gpu.read(staging.buffer(), size_bytes, filled).await
    }

    /// The inputs on the device, and buffers for the outputs that are no inputs.
    pub(crate) async fn upload_all<'k>(
        &self,
        kernel: &'k Kernel,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<Uploaded<'k>, Error> {
        let Shared { gpu, pool, profile, .. } = &*self.shared;
        let mut tensors = self.upload_inputs(kernel, inputs).await?;
        for tensor_spec in kernel.plan().tensors.iter().filter(|tensor_spec| tensor_spec.access.writes()) {
            check_dense(tensor_spec)?;
            if tensor_spec.access.reads() {
                continue;
            }
            let size = tensor_spec.size_bytes();
            tensors.push((
                &tensor_spec.name,
                pool.take(gpu, &tensor_spec.name, size, STORAGE, &profile.limits).await?,
            ));
        }
        Ok(tensors)
    }

    /// The inputs on the device.
    pub(crate) async fn upload_inputs<'k>(
        &self,
        kernel: &'k Kernel,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<Uploaded<'k>, Error> {
        self.upload_some(kernel, inputs, |_| false).await
    }

    /// The inputs on the device, but for those that are `elsewhere`.
    pub(crate) async fn upload_some<'k>(
        &self,
        kernel: &'k Kernel,
        inputs: &[(&str, &HostTensor)],
        elsewhere: impl Fn(&str) -> bool,
    ) -> Result<Uploaded<'k>, Error> {
        let Shared { gpu, pool, profile, .. } = &*self.shared;
        gpu.check()?;
        check_names(kernel.plan(), inputs)?;
        let mut tensors = Vec::new();
        let wanted = |tensor_spec: &&TensorSpec| tensor_spec.access.reads() && !elsewhere(&tensor_spec.name);
        for tensor_spec in kernel.plan().tensors.iter().filter(wanted) {
            let argument = || format!("tensor `{}`", tensor_spec.name);
            let Some((_, tensor)) = inputs.iter().find(|(name, _)| *name == tensor_spec.name) else {
                return Err(Error::usage(
                    argument(),
                    format!("not given; {} is expected", describe(tensor_spec)),
                ));
            };
            // A tensor whose strides leave gaps is given as the flat storage it spans.
            let flat = [tensor_spec.span];
            let expected = if is_dense(tensor_spec) { tensor_spec.shape.as_slice() } else { &flat };
            if tensor.shape() != expected {
                let message = format!("shape {expected:?} is expected, got {:?}", tensor.shape());
                return Err(Error::usage(argument(), message));
            }
            let bytes = tensor.checked_bytes(&tensor_spec.name, tensor_spec.dtype)?;
            let pooled =
                pool.take(gpu, &tensor_spec.name, bytes.len() as u64, STORAGE, &profile.limits).await?;
            gpu.write(pooled.buffer(), 0, &bytes).await?;
            tensors.push((&*tensor_spec.name, pooled));
        }
        Ok(tensors)
    }
}

/// The uploaded tensors as bindings.
pub(crate) fn bindings<'t>(tensors: &'t Uploaded<'_>) -> Vec<(&'t str, Binding<'t>)> {
    tensors.iter().map(|(name, pooled)| (*name, Binding::from(pooled.buffer()))).collect()
}

fn check_names(plan: &Plan, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
    let expected = || -> Vec<&str> {
        let tensor_specs = plan.tensors.iter().filter(|tensor_spec| tensor_spec.access.reads());
        tensor_specs.map(|tensor_spec| &*tensor_spec.name).collect()
    };
    for (index, (name, _)) in inputs.iter().enumerate() {
        if plan.tensor(name).is_none_or(|tensor_spec| !tensor_spec.access.reads()) {
            let message = format!("there is no such input; the plan has {}", expected().join(", "));
            return Err(Error::usage(format!("tensor `{name}`"), message));
        }
        if inputs[..index].iter().any(|(other, _)| other == name) {
            return Err(Error::usage(format!("tensor `{name}`"), "given twice"));
        }
    }
    Ok(())
}

/// Whether a tensor's strides leave no gaps.
fn is_dense(tensor_spec: &TensorSpec) -> bool {
    tensor_spec.span == tensor_spec.shape.iter().product::<usize>()
}

/// Only dense outputs can be read back; one with gaps can only be bound.
pub(crate) fn check_dense(tensor_spec: &TensorSpec) -> Result<(), Error> {
    if is_dense(tensor_spec) {
        return Ok(());
    }
    let message = "its strides leave gaps, which a tensor in host memory cannot; bind the kernel to a buffer";
    Err(Error::usage(format!("tensor `{}`", tensor_spec.name), message))
}
