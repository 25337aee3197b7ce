//! A host with a device of its own, in which Foveal is a guest.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use foveal::wgpu;
use pollster::block_on;

use crate::skipped;

/// A host: its instance, its device, and what wgpu complained about outside of anybody's error scopes.
#[derive(Debug)]
pub struct Host {
    /// The instance.
    pub instance: wgpu::Instance,
    /// The adapter.
    pub adapter: wgpu::Adapter,
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    complaints: Arc<Mutex<Vec<String>>>,
}

/// The adapter that the tests run on, or `None` where there is none: then the test is skipped, and says so.
///
/// # Errors
/// If there is none and `FOVEAL_REQUIRE_GPU=1` requires one.
pub fn adapter(what: &str) -> Result<Option<(wgpu::Instance, wgpu::Adapter)>> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY);
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let wanted = std::env::var("FOVEAL_ADAPTER").unwrap_or_default().to_lowercase();
    let adapters = block_on(instance.enumerate_adapters(backends));
    let found = adapters.into_iter().find(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted));
    match found {
        Some(adapter) => Ok(Some((instance, adapter))),
        None if std::env::var("FOVEAL_REQUIRE_GPU").is_ok_and(|value| value == "1") => {
            bail!("an adapter is required (FOVEAL_REQUIRE_GPU=1)")
        }
        None => {
            skipped(what, "there is no adapter");
            Ok(None)
        }
    }
}

impl Host {
    /// Opens a device as a host would that asks for what Foveal desires.
    ///
    /// # Errors
    /// As [`adapter`]; if the device does not open.
    pub fn open(what: &str) -> Result<Option<Self>> {
        let Some((instance, adapter)) = adapter(what)? else {
            return Ok(None);
        };
        let (features, limits) =
            (foveal::Engine::desired_features(&adapter), foveal::Engine::desired_limits(&adapter));
        Self::with(instance, adapter, features, limits).map(Some)
    }

    /// Opens a device with these features and limits.
    ///
    /// # Errors
    /// If it does not open.
    pub fn with(
        instance: wgpu::Instance,
        adapter: wgpu::Adapter,
        required_features: wgpu::Features,
        required_limits: wgpu::Limits,
    ) -> Result<Self> {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("host"),
            required_features,
            required_limits,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = block_on(adapter.request_device(&descriptor)).context("the host's device")?;
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&complaints);
        device.on_uncaptured_error(Arc::new(move |error| {
            list.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
        }));
        Ok(Self { instance, adapter, device, queue, complaints })
    }

    /// Complaints of wgpu since the last call.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut *self.complaints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An encoder of the host's.
    #[must_use]
    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("host") })
    }

    /// A storage buffer of the host's.
    #[must_use]
    pub fn buffer(&self, label: &str, size: u64) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: size.max(4).next_multiple_of(4),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// Storage buffers for a kernel's tensors, the inputs filled.
    #[must_use]
    pub fn tensors(
        &self,
        kernel: &foveal::Kernel,
        inputs: &[(&str, Vec<u8>)],
    ) -> Vec<(String, wgpu::Buffer)> {
        let tensor_specs = kernel.plan().tensors.iter();
        tensor_specs
            .map(|tensor_spec| {
                let buffer = self.buffer(&tensor_spec.name, tensor_spec.size_bytes());
                if let Some((_, bytes)) = inputs.iter().find(|(name, _)| *name == tensor_spec.name) {
                    let mut bytes = bytes.clone();
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                    self.queue.write_buffer(&buffer, 0, &bytes);
                }
                (tensor_spec.name.to_string(), buffer)
            })
            .collect()
    }
}

/// Tensors as they are bound.
#[must_use]
pub fn bound(tensors: &[(String, wgpu::Buffer)]) -> Vec<(&str, &wgpu::Buffer)> {
    tensors.iter().map(|(name, buffer)| (name.as_str(), buffer)).collect()
}
