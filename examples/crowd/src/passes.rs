//! The host's compute passes: pipelines, and what they are bound to.

use foveal::wgpu;

/// A compute pipeline with its bindings, and how many workgroups it takes.
pub(crate) struct Pass {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: u32,
}

/// A module whose text begins with what all of them know.
pub(crate) fn module(device: &wgpu::Device, label: &str, text: &str) -> wgpu::ShaderModule {
    let source = [include_str!("shaders/world.wgsl"), text].concat();
    device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(label),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    })
}

impl Pass {
    /// The pass `entry` of a module, over `threads` threads in workgroups of `of`.
    pub(crate) fn new(
        device: &wgpu::Device,
        module: &wgpu::ShaderModule,
        entry: &str,
        [threads, of]: [usize; 2],
        bindings: &[(u32, &wgpu::Buffer)],
    ) -> Self {
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry),
            layout: None,
            module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let entries: Vec<_> = bindings
            .iter()
            .map(|&(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(entry),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Self { pipeline, group, workgroups: u32::try_from(threads.div_ceil(of)).unwrap_or(u32::MAX) }
    }

    pub(crate) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}
