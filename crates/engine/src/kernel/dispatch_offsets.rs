//! Uniforms that tell a dispatch which of its pass's workgroups it has: `shaders/shared/grid.wgsl`.

use foveal_shaders::{Binding, BindingKind, Interface, UniformLayout};

use crate::Error;
use crate::device::gpu::Gpu;
use crate::device::scope::scoped;
use crate::kernel::grid_partition::GridPartition;
use crate::kernel::kernel_pass::KernelPass;
use crate::prepare::pipeline::{GRID, is_grid};

/// How a kernel declares it.
fn binding_of(interface: &Interface) -> Option<(&Binding, &UniformLayout)> {
    interface.bindings.iter().find_map(|binding| match &binding.kind {
        BindingKind::Uniform(layout) if is_grid(binding) => Some((binding, layout)),
        _ => None,
    })
}

/// A way to cut all passes of a kernel, and the uniforms that dispatches of it read: one for each unit.
#[derive(Debug)]
pub(crate) struct DispatchOffsets {
    /// Of each pass: how it is cut, and where the uniforms of its units begin, if it reads any.
    passes: Vec<(GridPartition, Option<u32>)>,
    stride: u32,
    /// The number of the group that kernels declare it in, and the group.
    group: Option<(u32, wgpu::BindGroup)>,
}

impl DispatchOffsets {
    /// `cut` says how to cut a pass.
    pub(crate) async fn new(
        gpu: &Gpu,
        passes: &[KernelPass],
        limits: &foveal_kernels::Limits,
        cut: impl Fn(&KernelPass) -> GridPartition,
    ) -> Result<Self, Error> {
        let size = passes.iter().filter_map(|pass| binding_of(&pass.pipeline.interface));
        let size = size.map(|(_, layout)| layout.size_bytes).max().unwrap_or(0);
        let stride = size.next_multiple_of(limits.min_uniform_buffer_offset_alignment.max(4));
        let mut bytes: Vec<u8> = Vec::new();
        let mut cuts = Vec::with_capacity(passes.len());
        for pass in passes {
            let at = u32::try_from(bytes.len()).map_err(|_| too_many())?;
            let Some((_, layout)) = binding_of(&pass.pipeline.interface) else {
                // A kernel that does not ask where it is cannot be cut.
                cuts.push((GridPartition::whole(pass.workgroups), None));
                continue;
            };
            let cut = cut(pass);
            for unit in 0..cut.units() {
                let start = bytes.len();
                bytes.resize(start + stride as usize, 0);
                put(&mut bytes[start..], layout, "origin", cut.origin(unit))?;
            }
            cuts.push((cut, Some(at)));
        }
        let declared = passes.iter().find_map(|pass| {
            let (binding, _) = binding_of(&pass.pipeline.interface)?;
            Some((binding, pass.pipeline.layouts.get(binding.group as usize)?.as_ref()?))
        });
        let Some((declared, layout)) = declared else {
            return Ok(Self { passes: cuts, stride, group: None });
        };
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = gpu.buffer("foveal.grid", bytes.len() as u64, usage, limits).await?;
        gpu.write(&buffer, 0, &bytes).await?;
        let (group, caught) = scoped(&gpu.device, || {
            gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("foveal.grid"),
                layout,
                entries: &[wgpu::BindGroupEntry {
                    binding: declared.index,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &buffer,
                        offset: 0,
                        size: wgpu::BufferSize::new(size.into()),
                    }),
                }],
            })
        });
        caught.check("binding the grid").await?;
        Ok(Self { passes: cuts, stride, group: Some((declared.group, group)) })
    }

    /// How a pass is cut.
    pub(crate) fn cut(&self, pass: usize) -> GridPartition {
        self.passes.get(pass).map_or(GridPartition::whole([0; 3]), |(cut, _)| *cut)
    }

    /// Bindings of dispatches that begin with this unit of a pass: group number, group and offset.
    pub(crate) fn at(&self, pass: usize, unit: u32) -> Option<(u32, &wgpu::BindGroup, u32)> {
        let (cut, first) = self.passes.get(pass)?;
        let first = (*first)?;
        let (number, group) = self.group.as_ref()?;
        debug_assert!(unit < cut.units(), "unit {unit} of {cut:?}");
        Some((*number, group, first + unit * self.stride))
    }

    /// How many units the passes have.
    pub(crate) fn units(&self) -> impl Iterator<Item = u32> {
        self.passes.iter().map(|(cut, _)| cut.units())
    }
}

fn too_many() -> Error {
    Error::internal("grid", "the plan has more dispatches than can be told apart")
}

/// Writes a vector of three.
fn put(bytes: &mut [u8], layout: &UniformLayout, name: &str, values: [u32; 3]) -> Result<(), Error> {
    let field = layout.fields.iter().find(|field| field.name == name && field.components == 3);
    let start = field.map(|field| field.offset_bytes as usize);
    let place = start.and_then(|start| bytes.get_mut(start..start + 12));
    let place =
        place.ok_or_else(|| Error::internal(GRID, format!("the shader's field {name} is no vec3u")))?;
    for (word, value) in place.chunks_exact_mut(4).zip(values) {
        word.copy_from_slice(&value.to_le_bytes());
    }
    Ok(())
}
