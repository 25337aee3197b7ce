//! The host's side: its device, and passes of its own on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foveal::wgpu;

use crate::failure::Failure;

/// A device that does not finish within this is taken for hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// The device, opened by the host and lent to Foveal.
pub(crate) struct Host {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) info: wgpu::AdapterInfo,
    /// The first error that no error scope caught.
    error: Arc<Mutex<Option<String>>>,
}

impl Host {
    /// Opens the first adapter whose name contains the environment variable `FOVEAL_ADAPTER`; without it, the one that
    /// wgpu takes for the fastest. `WGPU_BACKEND` narrows the choice.
    pub(crate) async fn open() -> Result<Self, Failure> {
        let adapter = choose().await?;
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("stream"),
            // What makes Foveal fast where it is there; the host's own passes are within WebGPU's default limits.
            required_features: foveal::Engine::desired_features(&adapter),
            required_limits: foveal::Engine::desired_limits(&adapter),
            ..wgpu::DeviceDescriptor::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|error| Failure::usage(&info.name, error))?;
        // wgpu panics on errors that nobody handles. Foveal handles its own; ours are kept here.
        let error = Arc::new(Mutex::new(None));
        let first = Arc::clone(&error);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
        }));
        Ok(Self { device, queue, info, error })
    }

    /// Waits for a submission, and for all before it.
    pub(crate) fn wait(&self, index: wgpu::SubmissionIndex) -> Result<(), Failure> {
        let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(PATIENCE) };
        let waited = self.device.poll(wait);
        self.check("the stream")?;
        waited.map_err(|error| Failure::failed("the stream", error))?;
        Ok(())
    }

    /// The first error that no error scope caught.
    pub(crate) fn check(&self, doing: &str) -> Result<(), Failure> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        error.map_or(Ok(()), |error| Err(Failure::failed(doing, error)))
    }

    /// A pass of the host's own over these buffers, which are bindings 0, 1, ... in their order.
    pub(crate) fn pass(
        &self,
        module: wgpu::ShaderModuleDescriptor<'_>,
        entry_point: &str,
        constants: &[(&str, f64)],
        buffers: &[&wgpu::Buffer],
    ) -> Pass {
        let module = self.device.create_shader_module(module);
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: None,
            module: &module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(entry_point),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Pass { pipeline, group }
    }
}

/// A pipeline and what it is bound to.
pub(crate) struct Pass {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
}

impl Pass {
    /// Records the pass.
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder, workgroups: u32) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(workgroups, 1, 1);
    }
}

async fn choose() -> Result<wgpu::Adapter, Failure> {
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY);
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let wanted = std::env::var("FOVEAL_ADAPTER").unwrap_or_default();
    if wanted.is_empty() {
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..wgpu::RequestAdapterOptions::default()
        };
        let adapter = instance.request_adapter(&options).await;
        return adapter.map_err(|error| Failure::usage("no device", error));
    }
    let mut adapters = instance.enumerate_adapters(backends).await;
    let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    match names.iter().position(|name| name.to_lowercase().contains(&wanted.to_lowercase())) {
        Some(index) => Ok(adapters.swap_remove(index)),
        None => Err(Failure::Usage(format!(
            "environment variable FOVEAL_ADAPTER: no adapter's name contains `{wanted}`; there are: {}",
            names.join("; ")
        ))),
    }
}
