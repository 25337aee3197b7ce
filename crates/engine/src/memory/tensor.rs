//! Tensors that stay on the device between kernels.

use std::sync::Arc;

use foveal_kernels::{Dtype, HostTensor, Name, TensorSpec};

use crate::engine::Shared;
use crate::kernel::binding::Binding;
use crate::memory::pool::Pooled;
use crate::prepare::assemble::STORAGE;
use crate::run::host::check_dense;
use crate::{Engine, Error, Kernel};

/// A dense tensor in the device's memory. Cloning is cheap and gives the same tensor; with the last clone its memory goes
/// back to the engine.
#[derive(Clone, Debug)]
pub struct DeviceTensor {
    buffer: Arc<Pooled>,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl DeviceTensor {
    /// Sizes, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How elements are stored.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its memory, to be bound to kernels.
    #[must_use]
    pub fn binding(&self) -> Binding<'_> {
        Binding { size_bytes: self.size_bytes(), ..Binding::from(self.buffer.buffer()) }
    }

    fn size_bytes(&self) -> u64 {
        let elements: u64 = self.shape.iter().map(|&size| size as u64).product();
        (elements * self.dtype.size_bytes() as u64).next_multiple_of(4)
    }

    fn of(buffer: Pooled, tensor_spec: &TensorSpec) -> Self {
        Self { buffer: Arc::new(buffer), shape: tensor_spec.shape.clone(), dtype: tensor_spec.dtype }
    }

    fn belongs_to(&self, shared: &Shared, name: &str) -> Result<(), Error> {
        if self.buffer.is_of(&shared.pool) {
            return Ok(());
        }
        Err(Error::usage(format!("tensor `{name}`"), "it lives on the device of another engine"))
    }
}

impl<'a> From<&'a DeviceTensor> for Binding<'a> {
    fn from(tensor: &'a DeviceTensor) -> Self {
        tensor.binding()
    }
}

/// An input of [`Engine::compute`].
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// In host memory: it is uploaded, and rounded to the port's storage type if it has another.
    Host(&'a HostTensor),
    /// On the device.
    Device(&'a DeviceTensor),
}

impl Engine {
    /// Copies a tensor to the device.
    ///
    /// # Errors
    /// As [`Engine::upload`].
    pub async fn upload_tensor(&self, tensor: &HostTensor, dtype: Dtype) -> Result<DeviceTensor, Error> {
        let Shared { gpu, pool, profile, .. } = &*self.shared;
        gpu.check()?;
        let place = async {
            let bytes = tensor.checked_bytes("tensor", dtype)?;
            let buffer =
                pool.take(gpu, "foveal.tensor", bytes.len() as u64, STORAGE, &profile.limits).await?;
            gpu.write(buffer.buffer(), 0, &bytes).await?;
            Ok(DeviceTensor { buffer: Arc::new(buffer), shape: tensor.shape().to_vec(), dtype })
        };
        gpu.explained(place.await).await
    }

    /// Copies a tensor to the host, once the work that was submitted before is done.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost), [`ErrorKind::Timeout`](crate::ErrorKind::Timeout),
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a tensor of another engine.
    pub async fn download_tensor(&self, tensor: &DeviceTensor) -> Result<HostTensor, Error> {
        tensor.belongs_to(&self.shared, "source")?;
        self.read_back(tensor.binding(), &tensor.shape, tensor.dtype).await
    }

    /// Memory for an output of a plan ([`Plan::tensors`](crate::Plan)), to be bound ([`Kernel::bind`]). Its elements are
    /// whatever was there.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an output whose strides leave gaps; as [`Engine::upload`].
    pub async fn output_tensor(&self, tensor_spec: &TensorSpec) -> Result<DeviceTensor, Error> {
        let Shared { gpu, pool, profile, .. } = &*self.shared;
        check_dense(tensor_spec)?;
        let (name, bytes) = (&tensor_spec.name, tensor_spec.size_bytes());
        let buffer = pool.take(gpu, name, bytes, STORAGE, &profile.limits).await?;
        Ok(DeviceTensor::of(buffer, tensor_spec))
    }

    /// Runs a kernel on tensors that are on the device or the host and leaves the outputs on the device: submits, and waits
    /// for nothing unless the work is too long for one submission. The order of the outputs is the plan's. A tensor that is
    /// changed in place ([`Access::Update`](crate::Access::Update)) is an input and, the same tensor, an output.
    ///
    /// Values of tensors on the host are checked first ([`Problem::check_inputs`](crate::Problem::check_inputs)); those of
    /// tensors on the device are not looked at.
    ///
    /// # Errors
    /// As [`Engine::run`]; [`ErrorKind::Usage`](crate::ErrorKind::Usage) also for a tensor on the device that has not the
    /// port's shape or storage type.
    pub async fn compute(
        &self,
        kernel: &Kernel,
        inputs: &[(&str, Input<'_>)],
    ) -> Result<Vec<(Name, DeviceTensor)>, Error> {
        kernel.belongs_to(&self.shared)?;
        let gpu = &self.shared.gpu;
        let host: Vec<(&str, &HostTensor)> = inputs
            .iter()
            .filter_map(|(name, input)| match input {
                Input::Host(tensor) => Some((*name, *tensor)),
                Input::Device(_) => None,
            })
            .collect();
        kernel.plan().problem.check_inputs(&host)?;
        for (name, input) in inputs {
            if let Input::Device(tensor) = input {
                tensor.belongs_to(&self.shared, name)?;
                check_shape(kernel, name, tensor)?;
            }
        }
        let compute = async {
            let uploaded = self.upload_some(kernel, &host, |name| {
                inputs.iter().any(|(given, input)| *given == name && matches!(input, Input::Device(_)))
            });
            let mut uploaded = uploaded.await?;
            let mut outputs = Vec::new();
            for tensor_spec in kernel.plan().tensors.iter().filter(|tensor_spec| tensor_spec.access.writes())
            {
                let given = inputs.iter().find(|(name, _)| *name == tensor_spec.name);
                if let Some((_, Input::Device(tensor))) = given {
                    // Changed in place.
                    outputs.push((tensor_spec.name.clone(), (*tensor).clone()));
                    continue;
                }
                if let Some(at) = uploaded.iter().position(|(name, _)| *name == tensor_spec.name) {
                    let (_, buffer) = uploaded.swap_remove(at);
                    outputs.push((tensor_spec.name.clone(), DeviceTensor::of(buffer, tensor_spec)));
                    continue;
                }
                let tensor = self.output_tensor(tensor_spec).await?;
                outputs.push((tensor_spec.name.clone(), tensor));
            }
            let mut bindings = crate::run::host::bindings(&uploaded);
            for (name, input) in inputs {
                if let (Input::Device(tensor), false) =
                    (input, outputs.iter().any(|(output, _)| output == name))
                {
                    bindings.push((*name, tensor.binding()));
                }
            }
            bindings.extend(outputs.iter().map(|(name, tensor)| (&**name, tensor.binding())));
            self.execute("foveal.compute", &kernel.bind(&bindings)?, None).await?;
            Ok(outputs)
        };
        gpu.explained(compute.await).await
    }
}

fn check_shape(kernel: &Kernel, name: &str, tensor: &DeviceTensor) -> Result<(), Error> {
    let Some(tensor_spec) = kernel.plan().tensor(name) else { return Ok(()) };
    if (tensor.shape(), tensor.dtype) == (tensor_spec.shape.as_slice(), tensor_spec.dtype) {
        return Ok(());
    }
    let expected = crate::kernel::binding::describe(tensor_spec);
    let message = format!("{expected} is expected, got {:?} {}", tensor.shape, tensor.dtype);
    Err(Error::usage(format!("tensor `{name}`"), message))
}
