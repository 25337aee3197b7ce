//! The host's side: a device of its own, which Foveal is a guest on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foveal::wgpu;

use crate::Failure;

/// A device that does not finish within this is taken for hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// The device, opened by the host and shared by all that runs on it.
#[derive(Debug)]
pub struct Host {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// The adapter's own words about itself.
    pub info: wgpu::AdapterInfo,
    /// The first error that no error scope caught.
    error: Arc<Mutex<Option<String>>>,
}

impl Host {
    /// Opens the first adapter whose name contains the environment variable `FOVEAL_ADAPTER`, or the fastest kind that
    /// there is. `WGPU_BACKEND` narrows the choice. `limits` says what the host needs; what makes Foveal fast is asked for where
    /// it is there.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is no such adapter, or it does not open.
    pub async fn open(label: &str, limits: impl Fn(&wgpu::Adapter) -> wgpu::Limits) -> Result<Self, Failure> {
        let adapter = choose().await?;
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some(label),
            required_features: foveal::Engine::desired_features(&adapter),
            required_limits: limits(&adapter),
            ..wgpu::DeviceDescriptor::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|error| Failure::usage(&info.name, error))?;
        // wgpu panics on errors without a handler. Foveal handles its own; the host's are kept here.
        let error = Arc::new(Mutex::new(None));
        let first = Arc::clone(&error);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
        }));
        Ok(Self { device, queue, info, error })
    }

    /// The API and the driver that the device is reached by.
    #[must_use]
    pub fn driver(&self) -> String {
        let wgpu::AdapterInfo { backend, driver, driver_info, .. } = &self.info;
        let parts = [backend.to_str(), driver.trim(), driver_info];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// Submits, and waits until it is done.
    ///
    /// # Errors
    /// As [`Host::wait`].
    pub fn submit(&self, encoder: wgpu::CommandEncoder, doing: &str) -> Result<(), Failure> {
        self.queue.submit([encoder.finish()]);
        self.wait(doing)
    }

    /// Waits for all that was submitted, and reports what went wrong meanwhile.
    ///
    /// # Errors
    /// [`Failure::Failed`] if anything did, or the device does not answer.
    pub fn wait(&self, doing: &str) -> Result<(), Failure> {
        self.wait_for(None, doing)
    }

    /// As [`Host::wait`], for a submission and all before it.
    ///
    /// # Errors
    /// As [`Host::wait`].
    pub fn wait_for(&self, index: Option<wgpu::SubmissionIndex>, doing: &str) -> Result<(), Failure> {
        let wait = wgpu::PollType::Wait { submission_index: index, timeout: Some(PATIENCE) };
        let waited = self.device.poll(wait);
        self.check(doing)?;
        waited.map_err(|error| Failure::failed(doing, error))?;
        Ok(())
    }

    /// Reports the first error that no error scope caught.
    ///
    /// # Errors
    /// [`Failure::Failed`] with that error.
    pub fn check(&self, doing: &str) -> Result<(), Failure> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        error.map_or(Ok(()), |error| Err(Failure::failed(doing, error)))
    }
}

async fn choose() -> Result<wgpu::Adapter, Failure> {
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY);
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = instance.enumerate_adapters(backends).await;
    adapters.retain(|adapter| {
        adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    });
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    let wanted = std::env::var("FOVEAL_ADAPTER").unwrap_or_default();
    match names.iter().position(|name| name_matches(name, &wanted)) {
        Some(index) => Ok(adapters.swap_remove(index)),
        None if names.is_empty() => Err(Failure::Usage(
            "no adapter was found that can compute; Mesa's software driver will do (mesa-vulkan-drivers)"
                .into(),
        )),
        None => Err(Failure::Usage(format!(
            "environment variable FOVEAL_ADAPTER: no adapter's name contains `{wanted}`; there are: {}",
            names.join("; ")
        ))),
    }
}

/// Whether an adapter of this name is what was asked for; nothing asked for is any.
fn name_matches(name: &str, wanted: &str) -> bool {
    name.to_lowercase().contains(&wanted.to_lowercase())
}

/// Hardware before drivers that run shaders on the CPU.
fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_in_any_case_and_by_part() {
        assert!(name_matches("llvmpipe (LLVM 19, 256 bits)", "LLVMpipe"));
        assert!(name_matches("SwiftShader Device", ""));
        assert!(!name_matches("SwiftShader Device", "radeon"));
    }

    #[test]
    fn software_comes_last() {
        assert!(rank(wgpu::DeviceType::Cpu) > rank(wgpu::DeviceType::IntegratedGpu));
    }
}
