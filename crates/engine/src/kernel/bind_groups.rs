//! Bind groups of a kernel's passes.

use foveal_kernels::{Plan, TensorSpec};
use foveal_shaders::Binding;

use crate::Error;
use crate::kernel::binding::{Resolved, check_overlaps};
use crate::kernel::kernel_pass::{KernelPass, Slot, SlotSource};

/// The bind groups of all passes for one set of tensors.
#[derive(Debug)]
pub(crate) struct BindGroups {
    passes: Vec<Vec<(u32, wgpu::BindGroup)>>,
    /// Where the workgroups of a pass are counted on the device.
    indirect: Vec<Option<wgpu::Buffer>>,
}

/// A slot's buffer and the range of it.
type Range<'a> = (&'a wgpu::Buffer, u64, u64);

impl BindGroups {
    /// To be called within error scopes.
    pub(crate) fn new(device: &wgpu::Device, buffers: &Buffers<'_>) -> Result<Self, Error> {
        check_overlaps(buffers.plan, buffers.tensors)?;
        let passes = buffers.passes.iter().map(|pass| Self::of(device, buffers, pass));
        let indirect = buffers.passes.iter().map(|pass| buffers.scratch.get(pass.indirect?).cloned());
        Ok(Self { passes: passes.collect::<Result<_, _>>()?, indirect: indirect.collect() })
    }

    /// The buffer at whose beginning the workgroups of a pass are counted.
    pub(crate) fn indirect(&self, index: usize) -> Option<&wgpu::Buffer> {
        self.indirect.get(index)?.as_ref()
    }

    /// The bind groups of a pass with their numbers.
    pub(crate) fn of_pass(&self, index: usize) -> impl Iterator<Item = (u32, &wgpu::BindGroup)> {
        self.passes.get(index).into_iter().flatten().map(|(group, bind_group)| (*group, bind_group))
    }

    fn of(
        device: &wgpu::Device,
        buffers: &Buffers<'_>,
        pass: &KernelPass,
    ) -> Result<Vec<(u32, wgpu::BindGroup)>, Error> {
        // The grid has a group of its own, which is no matter of the tensors.
        let of_tensors = pass.pipeline.interface.bindings.iter().zip(&pass.slots);
        let of_tensors: Vec<(&Binding, &Slot)> =
            of_tensors.filter(|(_, slot)| slot.source != SlotSource::Grid).collect();
        let ranges: Vec<Range<'_>> =
            of_tensors.iter().map(|(_, slot)| buffers.range(slot)).collect::<Result<_, _>>()?;
        check_aliases(buffers.plan, &of_tensors, &ranges)?;
        let mut groups = Vec::new();
        for (group, layout) in (0..).zip(&pass.pipeline.layouts) {
            let Some(layout) = layout else { continue };
            if !of_tensors.iter().any(|(binding, _)| binding.group == group) {
                continue;
            }
            let bindings = of_tensors.iter().map(|(binding, _)| binding).zip(&ranges);
            let entries: Vec<wgpu::BindGroupEntry<'_>> = bindings
                .filter(|(binding, _)| binding.group == group)
                .map(|(binding, (buffer, offset, size))| wgpu::BindGroupEntry {
                    binding: binding.index,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset: *offset,
                        size: wgpu::BufferSize::new(*size),
                    }),
                })
                .collect();
            let descriptor = wgpu::BindGroupDescriptor { label: Some("foveal"), layout, entries: &entries };
            groups.push((group, device.create_bind_group(&descriptor)));
        }
        Ok(groups)
    }
}

/// A kernel's passes and all that their slots are bound to.
pub(crate) struct Buffers<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) passes: &'a [KernelPass],
    pub(crate) uniforms: Option<&'a wgpu::Buffer>,
    /// In place of empty tensors: one to read, one to write.
    pub(crate) empty: Option<&'a [wgpu::Buffer; 2]>,
    pub(crate) scratch: &'a [wgpu::Buffer],
    pub(crate) tensors: &'a Resolved<'a>,
    /// By how much the bindings of outputs reach beyond them.
    pub(crate) slack_bytes: u64,
}

impl<'a> Buffers<'a> {
    fn range(&self, slot: &Slot) -> Result<Range<'a>, Error> {
        let mut size = slot.size_bytes;
        let missing = || Error::internal("binding", format!("{slot:?} has no buffer"));
        let (buffer, start) = match slot.source {
            SlotSource::Uniforms => (self.uniforms, 0),
            SlotSource::Scratch(index) => (self.scratch.get(index), 0),
            SlotSource::Empty => {
                let [to_read, to_write] = self.empty.ok_or_else(missing)?;
                (Some(if slot.read_only { to_read } else { to_write }), 0)
            }
            SlotSource::TensorSpec(index) => match self.tensors.get(index).copied().flatten() {
                Some(binding) => {
                    let tensor_spec = self.plan.tensors.get(index).map_or(0, TensorSpec::size_bytes);
                    if !slot.read_only && slot.offset_bytes + slot.size_bytes == tensor_spec {
                        size += self.slack_bytes;
                    }
                    (Some(binding.buffer), binding.offset_bytes)
                }
                None => (None, 0),
            },
            SlotSource::Grid => (None, 0),
        };
        Ok((buffer.ok_or_else(missing)?, start + slot.offset_bytes, size))
    }
}

/// WebGPU forbids reading and writing one buffer in one dispatch. wgpu would say so when the caller finishes the encoder, in
/// terms that mean nothing to the caller.
fn check_aliases(plan: &Plan, slots: &[(&Binding, &Slot)], ranges: &[Range<'_>]) -> Result<(), Error> {
    let name = |slot: &Slot| match slot.source {
        SlotSource::TensorSpec(index) => plan.tensors.get(index).map(|tensor_spec| &*tensor_spec.name),
        _ => None,
    };
    for (index, ((_, slot), (buffer, ..))) in slots.iter().zip(ranges).enumerate() {
        for ((_, other), (other_buffer, ..)) in slots.iter().zip(ranges).skip(index + 1) {
            let (Some(name), Some(other_name)) = (name(slot), name(other)) else { continue };
            if buffer != other_buffer || (slot.read_only && other.read_only) {
                continue;
            }
            let tensors = format!("tensors `{name}` and `{other_name}`");
            // Overlaps of outputs concern the whole kernel, see `check_overlaps`.
            if slot.read_only != other.read_only {
                return Err(Error::usage(
                    tensors,
                    "one is read and the other written, so they need different buffers",
                ));
            }
        }
    }
    Ok(())
}
