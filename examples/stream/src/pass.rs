//! Passes of the host's own.

use foveal::wgpu;
use foveal_examples_common::Host;

/// A pass of the host's own over these buffers, which are bindings 0, 1, ... in their order.
pub(crate) fn pass(
    host: &Host,
    module: wgpu::ShaderModuleDescriptor<'_>,
    entry_point: &str,
    buffers: &[&wgpu::Buffer],
) -> Pass {
    let module = host.device.create_shader_module(module);
    let pipeline = host.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(entry_point),
        layout: None,
        module: &module,
        entry_point: Some(entry_point),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let entries: Vec<wgpu::BindGroupEntry<'_>> = (0..)
        .zip(buffers)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let group = host.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(entry_point),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    Pass { pipeline, group }
}

/// A pipeline and what it is bound to.
pub(crate) struct Pass {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
}

impl Pass {
    /// Records the pass, so many workgroups in each dimension.
    pub(crate) fn encode_in_pass(&self, pass: &mut wgpu::ComputePass<'_>, workgroups: [u32; 3]) {
        let [x, y, z] = workgroups;
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}
