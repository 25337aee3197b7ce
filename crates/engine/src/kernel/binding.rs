//! The tensors that a caller binds, checked against the plan.

use foveal_kernels::{Plan, TensorSpec};

use crate::Error;

/// A byte range of a buffer, bound as a tensor.
///
/// The buffer has to belong to the engine's device. wgpu notices buffers of other devices, but not reliably those of
/// other wgpu instances.
///
/// An output may not overlap any other tensor: passes read inputs again after others have written outputs. WebGPU does not let
/// one dispatch read and write the same buffer, not even different parts of it: keep inputs and outputs in different buffers.
///
/// ```no_run
/// # fn bind(kernel: &foveal::Kernel, x: &foveal::wgpu::Buffer, y: &foveal::wgpu::Buffer) -> Result<(), foveal::Error> {
/// let whole = kernel.bind(&[("x", x), ("y", y)])?;
/// let slices = kernel.bind(&[("x", x.slice(1024..2048)), ("y", y.slice(..1024))])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The buffer, with usage `STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// Where the tensor begins: a multiple of the adapter's `min_storage_buffer_offset_alignment`.
    pub offset_bytes: u64,
    /// Bytes from there on that belong to the tensor: at least [`TensorSpec::size_bytes`].
    pub size_bytes: u64,
}

impl<'a> From<&'a wgpu::Buffer> for Binding<'a> {
    fn from(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset_bytes: 0, size_bytes: buffer.size() }
    }
}

impl<'a> From<wgpu::BufferSlice<'a>> for Binding<'a> {
    fn from(slice: wgpu::BufferSlice<'a>) -> Self {
        Self { buffer: slice.buffer(), offset_bytes: slice.offset(), size_bytes: slice.size() }
    }
}

/// Tensors by name, as [`Kernel::bind`](crate::Kernel::bind) takes them.
///
/// Pairs of a name and a place are: a whole buffer, a slice of one, a [`DeviceTensor`](crate::DeviceTensor), or a
/// [`Binding`] where some are one and some another. So are [`AttentionTensors`](crate::AttentionTensors) and
/// [`LinearTensors`](crate::LinearTensors), whose fields have the names; a host may implement it for a struct of its own.
pub trait NamedTensors<'a> {
    /// Every tensor's name and place; optional tensors that are absent are left out.
    fn named(&self) -> Vec<(&str, Binding<'a>)>;
}

impl<'a, N: AsRef<str>, B: Into<Binding<'a>> + Copy> NamedTensors<'a> for [(N, B)] {
    fn named(&self) -> Vec<(&str, Binding<'a>)> {
        self.iter().map(|(name, place)| (name.as_ref(), (*place).into())).collect()
    }
}

impl<'a, N: AsRef<str>, B: Into<Binding<'a>> + Copy, const COUNT: usize> NamedTensors<'a>
    for [(N, B); COUNT]
{
    fn named(&self) -> Vec<(&str, Binding<'a>)> {
        self.as_slice().named()
    }
}

impl<'a, N: AsRef<str>, B: Into<Binding<'a>> + Copy> NamedTensors<'a> for Vec<(N, B)> {
    fn named(&self) -> Vec<(&str, Binding<'a>)> {
        self.as_slice().named()
    }
}

/// The caller's bindings in the order of the plan's tensors; `None` for empty tensors that were left out.
pub(crate) type Resolved<'a> = [Option<Binding<'a>>];

/// Finds each tensor's binding and checks that it can hold the tensor.
pub(crate) fn resolve<'a>(
    plan: &Plan,
    tensors: &[(&str, Binding<'a>)],
    alignment: u32,
) -> Result<Vec<Option<Binding<'a>>>, Error> {
    for (index, (name, _)) in tensors.iter().enumerate() {
        if plan.tensor(name).is_none() {
            let names: Vec<&str> = plan.tensors.iter().map(|tensor_spec| &*tensor_spec.name).collect();
            let message = format!("there is no such tensor; the plan has {}", names.join(", "));
            return Err(Error::usage(format!("tensor `{name}`"), message));
        }
        if tensors[..index].iter().any(|(other, _)| other == name) {
            return Err(Error::usage(format!("tensor `{name}`"), "bound twice"));
        }
    }
    let of = |tensor_spec: &TensorSpec| {
        if tensor_spec.size_bytes() == 0 {
            return Ok(None);
        }
        let Some((_, binding)) = tensors.iter().find(|(name, _)| *name == tensor_spec.name) else {
            let message = format!(
                "not bound; {} of {} bytes is expected",
                describe(tensor_spec),
                tensor_spec.size_bytes()
            );
            return Err(Error::usage(format!("tensor `{}`", tensor_spec.name), message));
        };
        check(tensor_spec, binding, alignment)?;
        Ok(Some(*binding))
    };
    plan.tensors.iter().map(of).collect()
}

fn check(tensor_spec: &TensorSpec, binding: &Binding<'_>, alignment: u32) -> Result<(), Error> {
    let usage = |message: String| Err(Error::usage(format!("tensor `{}`", tensor_spec.name), message));
    let Binding { buffer, offset_bytes, size_bytes } = *binding;
    if size_bytes < tensor_spec.size_bytes() {
        let expected = tensor_spec.size_bytes();
        return usage(format!(
            "{} needs {expected} bytes, the binding has {size_bytes}",
            describe(tensor_spec)
        ));
    }
    if offset_bytes.checked_add(size_bytes).is_none_or(|end| end > buffer.size()) {
        let size = buffer.size();
        return usage(format!(
            "bytes {offset_bytes}.. of length {size_bytes} are not within the buffer's {size} bytes"
        ));
    }
    if !offset_bytes.is_multiple_of(u64::from(alignment)) {
        return usage(format!(
            "the offset of {offset_bytes} bytes is no multiple of {alignment}, the adapter's \
             min_storage_buffer_offset_alignment"
        ));
    }
    if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return usage(format!("the buffer's usage has to include STORAGE, it is {:?}", buffer.usage()));
    }
    Ok(())
}

/// Checks that no output overlaps another tensor. Not a matter of single dispatches: a kernel's passes read inputs
/// after some outputs are written.
pub(crate) fn check_overlaps(plan: &Plan, bound: &Resolved<'_>) -> Result<(), Error> {
    let tensors = || {
        plan.tensors.iter().zip(bound).filter_map(|(tensor_spec, binding)| Some((tensor_spec, (*binding)?)))
    };
    for (index, (tensor_spec, binding)) in tensors().enumerate() {
        for (other, other_binding) in tensors().skip(index + 1) {
            if !(tensor_spec.access.writes() || other.access.writes())
                || binding.buffer != other_binding.buffer
            {
                continue;
            }
            let end = binding.offset_bytes + tensor_spec.size_bytes();
            let other_end = other_binding.offset_bytes + other.size_bytes();
            if binding.offset_bytes < other_end && other_binding.offset_bytes < end {
                let both = tensor_spec.access.writes() && other.access.writes();
                let what = if both { "both are written" } else { "one is read and the other written" };
                let message = format!(
                    "{what}, and they overlap in the buffer: bytes {}..{end} and {}..{other_end}",
                    binding.offset_bytes, other_binding.offset_bytes
                );
                return Err(Error::usage(
                    format!("tensors `{}` and `{}`", tensor_spec.name, other.name),
                    message,
                ));
            }
        }
    }
    Ok(())
}

/// A tensor's shape and type in words.
pub(crate) fn describe(tensor_spec: &TensorSpec) -> String {
    format!("{:?} {}", tensor_spec.shape, tensor_spec.dtype)
}
