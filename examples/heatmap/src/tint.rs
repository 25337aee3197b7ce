//! The host's own compute pass: weights in, a texture of colours out. The weights stay on the device.

use foveal::wgpu;
use foveal_examples_common::Failure;

use crate::ramp;

/// Threads along each side of a workgroup of `tint.wgsl`.
const GROUP: u32 = 16;

/// The pass, bound to one buffer of weights.
pub(crate) struct Tint {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    /// A texel for every weight: as wide as there are keys, and the heads one below the other.
    pub(crate) tiles: wgpu::Texture,
}

impl Tint {
    /// For `weights` of `heads` heads, `length` queries each, to as many keys.
    pub(crate) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        weights: &wgpu::Buffer,
        [heads, length]: [usize; 2],
    ) -> Result<Self, Failure> {
        let max = device.limits().max_texture_dimension_2d;
        let side = |size: usize| u32::try_from(size).ok().filter(|&size| size <= max);
        let (Some(width), Some(height)) = (side(length), side(heads * length)) else {
            let message = format!("{length} x {} texels, at most {max} are possible", heads * length);
            return Err(Failure::usage("the texture of weights", message));
        };
        let tiles = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("tiles"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            // vello copies what it draws into its atlas, which has this very format.
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let colours = ramp::words();
        let ramp = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("ramp"),
            size: size_of_val(colours.as_slice()) as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        queue.write_buffer(&ramp, 0, bytemuck::cast_slice(&colours));
        let module = device.create_shader_module(wgpu::include_wgsl!("tint.wgsl"));
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("tint"),
            layout: None,
            module: &module,
            entry_point: Some("tint"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let view = tiles.create_view(&wgpu::TextureViewDescriptor::default());
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("tint"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: weights.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: ramp.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 2, resource: wgpu::BindingResource::TextureView(&view) },
            ],
        });
        Ok(Self { pipeline, group, tiles })
    }

    /// Records the pass.
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let descriptor = wgpu::ComputePassDescriptor { label: Some("tint"), timestamp_writes: None };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.tiles.width().div_ceil(GROUP), self.tiles.height().div_ceil(GROUP), 1);
    }
}
