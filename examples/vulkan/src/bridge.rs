//! A host's own small Rust library: Vulkan handles in, a wgpu device and wgpu buffers out.
//!
//! Everything that comes in could have come through C: handles, numbers and one function pointer.
#![expect(unsafe_code, reason = "nobody but the host can vouch for its handles")]

use std::ffi::CStr;
use std::sync::Arc;

use ash::vk;
use foveal::wgpu;
use wgpu::hal::api::Vulkan;
use wgpu::hal::vulkan::{Buffer, Instance, PhysicalDeviceFeatures};

use crate::Failure;

/// A `VkInstance` and the device that the host chose.
#[derive(Clone, Copy)]
pub(crate) struct InstanceHandles {
    pub(crate) get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    pub(crate) instance: vk::Instance,
    pub(crate) physical: vk::PhysicalDevice,
    /// The version that `VkApplicationInfo` asked for.
    pub(crate) api_version: u32,
}

/// A `VkDevice` and which of its queues is shared.
#[derive(Clone, Copy)]
pub(crate) struct DeviceHandles {
    pub(crate) device: vk::Device,
    pub(crate) family: u32,
    pub(crate) queue: u32,
}

/// Counts what wgpu holds of the host's: each handle that wgpu gets keeps a clone until wgpu is done with it.
#[derive(Clone, Default)]
pub(crate) struct Lent(Arc<()>);

impl Lent {
    /// wgpu never destroys what it got with a callback. It calls that once it has let go.
    fn until_dropped(&self) -> wgpu::hal::DropCallback {
        let lent = self.clone();
        Box::new(move || drop(lent))
    }

    pub(crate) fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// The instance extensions that wgpu takes for enabled where the loader has them: the host enables these and its own.
pub(crate) fn instance_extensions(
    get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr,
    api_version: u32,
) -> Result<Vec<&'static CStr>, Failure> {
    let entry = entry(get_instance_proc_addr);
    Ok(Instance::desired_extensions(&entry, api_version, wgpu::InstanceFlags::empty())?)
}

fn entry(get_instance_proc_addr: vk::PFN_vkGetInstanceProcAddr) -> ash::Entry {
    // SAFETY: the pointer comes from the loader, which the host keeps for as long as anything here lives.
    unsafe { ash::Entry::from_static_fn(ash::StaticFn { get_instance_proc_addr }) }
}

/// wgpu's view of the host's instance and physical device. Goes before the host destroys the instance.
pub(crate) struct Adapter {
    adapter: wgpu::Adapter,
    extensions: Vec<&'static CStr>,
    features: wgpu::Features,
}

impl Adapter {
    pub(crate) fn new(handles: InstanceHandles, lent: &Lent) -> Result<Self, Failure> {
        let InstanceHandles { get_instance_proc_addr, instance, physical, api_version } = handles;
        let entry = entry(get_instance_proc_addr);
        let flags = wgpu::InstanceFlags::empty();
        let extensions = Instance::desired_extensions(&entry, api_version, flags)?;
        // SAFETY: the host made the instance with this loader and destroys it after everything here is gone.
        let raw = unsafe { ash::Instance::load(entry.static_fn(), instance) };
        let thresholds = wgpu::MemoryBudgetThresholds::default();
        // SAFETY: the instance was made for this version and with these extensions, and the callback leaves it the
        // host's.
        let instance = unsafe {
            Instance::from_raw(
                entry,
                raw,
                api_version,
                0,
                None,
                extensions,
                flags,
                thresholds,
                false,
                Some(lent.until_dropped()),
            )
        }?;
        let Some(exposed) = instance.expose_adapter(physical) else {
            return Err(Failure::NoDevice("wgpu cannot use this physical device".to_owned()));
        };
        // Features and limits that the engine uses; the host may have more on its device.
        let features = exposed.features & (wgpu::Features::SUBGROUP | wgpu::Features::SUBGROUP_BARRIER);
        let extensions = exposed.adapter.required_device_extensions(features);
        // SAFETY: the instance was made above; wgpu owns its wrapper, not the `VkInstance`.
        let instance = unsafe { wgpu::Instance::from_hal::<Vulkan>(instance) };
        // SAFETY: the adapter was exposed by this very instance.
        let adapter = unsafe { instance.create_adapter_from_hal(exposed) };
        Ok(Self { adapter, extensions, features })
    }

    /// The device extensions that the host has to enable.
    pub(crate) fn device_extensions(&self) -> &[&'static CStr] {
        &self.extensions
    }

    /// The Vulkan features that the host has to enable.
    pub(crate) fn device_features(&self) -> Result<PhysicalDeviceFeatures, Failure> {
        // SAFETY: nothing is destroyed through it.
        let raw = unsafe { self.adapter.as_hal::<Vulkan>() }.ok_or_else(not_vulkan)?;
        Ok(raw.physical_device_features(&self.extensions, self.features))
    }

    /// The host's device as one of wgpu's. All of it goes before the host destroys the device.
    pub(crate) fn open(
        &self,
        handles: DeviceHandles,
        lent: &Lent,
    ) -> Result<(wgpu::Device, wgpu::Queue), Failure> {
        let limits = self.adapter.limits();
        let hints = wgpu::MemoryHints::default();
        let opened = {
            // SAFETY: nothing is destroyed through it.
            let raw = unsafe { self.adapter.as_hal::<Vulkan>() }.ok_or_else(not_vulkan)?;
            let functions = raw.shared_instance().raw_instance().fp_v1_0();
            // SAFETY: the device was made from this instance.
            let device = unsafe { ash::Device::load(functions, handles.device) };
            // SAFETY: the host made the device from this adapter with these extensions, these features and this queue,
            // and the callback leaves it the host's.
            unsafe {
                raw.device_from_raw(
                    device,
                    Some(lent.until_dropped()),
                    &self.extensions,
                    self.features,
                    &limits,
                    &hints,
                    handles.family,
                    handles.queue,
                )
            }?
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("host"),
            required_features: self.features,
            required_limits: limits,
            memory_hints: hints,
            ..wgpu::DeviceDescriptor::default()
        };
        // SAFETY: the device was opened on this adapter, with these features.
        Ok(unsafe { self.adapter.create_device_from_hal(opened, &descriptor) }?)
    }
}

fn not_vulkan() -> Failure {
    Failure::Failed("the adapter is not Vulkan's".to_owned())
}

/// A `VkBuffer` of the host's as a storage buffer of wgpu's.
pub(crate) fn buffer(
    device: &wgpu::Device,
    label: &str,
    buffer: vk::Buffer,
    size: u64,
    lent: &Lent,
) -> wgpu::Buffer {
    let descriptor = wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    };
    // SAFETY: the host's buffer has this size, usage as a storage buffer and memory bound to it, is on the device that
    // `device` wraps, is filled before it is read, and outlives the wrapper, which does not destroy it.
    unsafe {
        let raw = Buffer::from_raw_externally_owned(buffer, lent.until_dropped());
        device.create_buffer_from_hal::<Vulkan>(raw, &descriptor)
    }
}
