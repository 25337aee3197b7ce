//! Running one kernel of the probes: words in, words out.

use foveal_shaders::{BindingKind, Library, Request};

use crate::device::scope::scoped;
use crate::prepare::assemble::STORAGE;
use crate::{Engine, Error};

impl Engine {
    /// Runs a probe, one workgroup, on these words: as many `results`.
    pub(crate) async fn probe(
        &self,
        request: &Request,
        words: &[u32],
        results: usize,
    ) -> Result<Vec<u32>, Error> {
        let shared = &self.shared;
        let (gpu, limits) = (&shared.gpu, &shared.profile.limits);
        let label = format!("foveal.{}", request.module.replace('/', "."));
        // Not the engine's own library, which need not have these modules.
        let library = Library::builtin();
        let (pipeline, _) =
            shared.pipelines.get(gpu, library, request, &label, &shared.compiler(), None).await?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let input = gpu.buffer(&label, bytes.len() as u64, STORAGE, limits).await?;
        gpu.write(&input, 0, &bytes).await?;
        let size = 4 * results as u64;
        let output = gpu.buffer(&label, size, STORAGE, limits).await?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = gpu.buffer(&label, size, usage, limits).await?;
        let entry = |binding: &foveal_shaders::Binding| {
            let reads = matches!(binding.kind, BindingKind::Storage { read_only: true });
            let buffer = if reads { &input } else { &output };
            wgpu::BindGroupEntry { binding: binding.index, resource: buffer.as_entire_binding() }
        };
        let entries: Vec<wgpu::BindGroupEntry<'_>> = pipeline.interface.bindings.iter().map(entry).collect();
        let Some(Some(layout)) = pipeline.layouts.first() else {
            return Err(Error::internal(label, "the shader binds nothing"));
        };
        let descriptor = wgpu::BindGroupDescriptor { label: Some(&label), layout, entries: &entries };
        let (group, caught) = scoped(&gpu.device, || gpu.device.create_bind_group(&descriptor));
        caught.check(&label).await?;
        let record = |encoder: &mut wgpu::CommandEncoder| {
            let descriptor = wgpu::ComputePassDescriptor { label: Some(&label), timestamp_writes: None };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
            drop(pass);
            encoder.copy_buffer_to_buffer(&output, 0, &staging, 0, size);
            Ok(())
        };
        let filled = gpu.submit(&label, record).await?;
        let bytes = gpu.read(&staging, size, filled).await?;
        Ok(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }
}
