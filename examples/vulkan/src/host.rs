//! The host: an engine that makes its own Vulkan objects, fills and reads its own buffers, and knows nothing of wgpu.
//!
//! It is in Rust so that the example is one program. Nothing here could not be C++.
#![expect(unsafe_code, reason = "Vulkan is a C interface")]

use std::ffi::{CStr, c_char};
use std::slice;

use ash::vk;

use crate::Failure;
use crate::bridge::{DeviceHandles, InstanceHandles};

/// A `VkInstance` and the physical device that was chosen.
pub(crate) struct Machine {
    // Dropped last: it keeps the loader loaded.
    entry: ash::Entry,
    instance: ash::Instance,
    physical: vk::PhysicalDevice,
    api_version: u32,
    pub(crate) name: String,
}

impl Machine {
    /// `FOVEAL_ADAPTER` names a part of the device's name; without it, GPUs come before drivers that run on the CPU.
    /// `extensions` says what has to be enabled beyond what the host wants, which is nothing here.
    pub(crate) fn open(
        extensions: impl Fn(vk::PFN_vkGetInstanceProcAddr, u32) -> Result<Vec<&'static CStr>, Failure>,
    ) -> Result<Self, Failure> {
        let none = |what: String| Failure::NoDevice(what);
        // SAFETY: loading the loader runs its initialisers; this program has one thread.
        let entry = unsafe { ash::Entry::load() }.map_err(|e| none(format!("no Vulkan loader: {e}")))?;
        // SAFETY: the loader is loaded.
        let version = unsafe { entry.try_enumerate_instance_version() }?.unwrap_or(vk::API_VERSION_1_0);
        let api_version = version.min(vk::API_VERSION_1_3);
        let wanted = extensions(entry.static_fn().get_instance_proc_addr, api_version)?;
        let names = pointers(&wanted);
        let application = vk::ApplicationInfo::default().application_name(c"host").api_version(api_version);
        let info =
            vk::InstanceCreateInfo::default().application_info(&application).enabled_extension_names(&names);
        // SAFETY: the structures outlive the call, and the loader has the extensions.
        let instance = unsafe { entry.create_instance(&info, None) }
            .map_err(|e| none(format!("no Vulkan instance: {e}")))?;
        let mut machine =
            Self { entry, instance, physical: vk::PhysicalDevice::null(), api_version, name: String::new() };
        machine.choose()?;
        Ok(machine)
    }

    fn choose(&mut self) -> Result<(), Failure> {
        let wanted = std::env::var("FOVEAL_ADAPTER").unwrap_or_default().to_lowercase();
        // SAFETY: the instance is alive.
        let all = unsafe { self.instance.enumerate_physical_devices() }
            .map_err(|e| Failure::NoDevice(format!("no physical device: {e}")))?;
        let mut found: Vec<_> = all
            .into_iter()
            .map(|physical| {
                // SAFETY: the handle comes from this instance.
                let properties = unsafe { self.instance.get_physical_device_properties(physical) };
                let name = properties.device_name_as_c_str().unwrap_or(c"?").to_string_lossy().into_owned();
                (properties.device_type == vk::PhysicalDeviceType::CPU, name, physical)
            })
            .filter(|(_, name, _)| name.to_lowercase().contains(&wanted))
            .collect();
        found.sort_by_key(|(software, ..)| *software);
        let Some((_, name, physical)) = found.into_iter().next() else {
            return Err(Failure::NoDevice(format!("no Vulkan device whose name contains `{wanted}`")));
        };
        (self.name, self.physical) = (name, physical);
        Ok(())
    }

    pub(crate) fn handles(&self) -> InstanceHandles {
        InstanceHandles {
            get_instance_proc_addr: self.entry.static_fn().get_instance_proc_addr,
            instance: self.instance.handle(),
            physical: self.physical,
            api_version: self.api_version,
        }
    }

    /// The first queue family that computes, and therefore copies.
    fn family(&self) -> Result<u32, Failure> {
        // SAFETY: the handle comes from this instance.
        let families = unsafe { self.instance.get_physical_device_queue_family_properties(self.physical) };
        let index = families.iter().position(|family| family.queue_flags.contains(vk::QueueFlags::COMPUTE));
        let index = index.and_then(|index| u32::try_from(index).ok());
        index.ok_or_else(|| Failure::NoDevice("no queue that computes".to_owned()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: what was made from the instance is gone: all of it is declared later, and so dropped earlier.
        unsafe { self.instance.destroy_instance(None) };
    }
}

/// A `VkDevice` with one queue.
pub(crate) struct Device<'a> {
    machine: &'a Machine,
    device: ash::Device,
    queue: vk::Queue,
    pool: vk::CommandPool,
    family: u32,
}

impl<'a> Device<'a> {
    /// `complete` adds features that have to be enabled beyond what the host wants, which is nothing here.
    pub(crate) fn open(
        machine: &'a Machine,
        extensions: &[&'static CStr],
        complete: impl FnOnce(vk::DeviceCreateInfo<'_>, &dyn Fn(&vk::DeviceCreateInfo<'_>) -> Created) -> Created,
    ) -> Result<Self, Failure> {
        let family = machine.family()?;
        let queues =
            [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&[1.0])];
        let names = pointers(extensions);
        let info =
            vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names);
        // SAFETY: the structures outlive the call; extensions and features are among those of this device.
        let create = |info: &vk::DeviceCreateInfo<'_>| unsafe {
            machine.instance.create_device(machine.physical, info, None)
        };
        let device = complete(info, &create)
            .map_err(|e| Failure::NoDevice(format!("the device cannot be opened: {e}")))?;
        // SAFETY: the device was made with one queue of this family.
        let queue = unsafe { device.get_device_queue(family, 0) };
        let mut host = Self { machine, device, queue, pool: vk::CommandPool::null(), family };
        let info = vk::CommandPoolCreateInfo::default().queue_family_index(family);
        // SAFETY: the device is alive and has the family.
        host.pool = unsafe { host.device.create_command_pool(&info, None) }?;
        Ok(host)
    }

    pub(crate) fn handles(&self) -> DeviceHandles {
        DeviceHandles { device: self.device.handle(), family: self.family, queue: 0 }
    }

    /// A buffer in memory of a type that has `properties`.
    pub(crate) fn buffer(
        &self,
        size: u64,
        usage: vk::BufferUsageFlags,
        properties: vk::MemoryPropertyFlags,
    ) -> Result<Buffer<'_>, Failure> {
        let info =
            vk::BufferCreateInfo::default().size(size).usage(usage).sharing_mode(vk::SharingMode::EXCLUSIVE);
        // SAFETY: the device is alive, the size is not zero.
        let handle = unsafe { self.device.create_buffer(&info, None) }?;
        let mut buffer = Buffer { host: self, handle, memory: vk::DeviceMemory::null(), size };
        // SAFETY: the buffer was made by this device, the physical device comes from this instance.
        let (requirements, types) = unsafe {
            (
                self.device.get_buffer_memory_requirements(handle),
                self.machine.instance.get_physical_device_memory_properties(self.machine.physical),
            )
        };
        let types = (0u32..).zip(types.memory_types_as_slice());
        let mut fitting = types.filter(|(index, kind)| {
            requirements.memory_type_bits & (1 << index) != 0 && kind.property_flags.contains(properties)
        });
        let Some((index, _)) = fitting.next() else {
            return Err(Failure::Failed(format!("no memory that is {properties:?}")));
        };
        let info =
            vk::MemoryAllocateInfo::default().allocation_size(requirements.size).memory_type_index(index);
        // SAFETY: size and type are what the buffer requires, and it has no memory yet.
        unsafe {
            buffer.memory = self.device.allocate_memory(&info, None)?;
            self.device.bind_buffer_memory(handle, buffer.memory, 0)?;
        }
        Ok(buffer)
    }

    /// Submits what `record` records. Does not wait, unless for a `fence`.
    fn submit(&self, fence: vk::Fence, record: impl FnOnce(vk::CommandBuffer)) -> Result<(), Failure> {
        let info = vk::CommandBufferAllocateInfo::default().command_pool(self.pool).command_buffer_count(1);
        let begin = vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        // SAFETY: the pool and the queue are this device's. The queue is not in use elsewhere now: wgpu submits when it
        // is told to, by the one thread that there is. The command buffers live as long as the pool.
        unsafe {
            let commands = self.device.allocate_command_buffers(&info)?;
            self.device.begin_command_buffer(commands[0], &begin)?;
            record(commands[0]);
            self.device.end_command_buffer(commands[0])?;
            let submission = vk::SubmitInfo::default().command_buffers(&commands);
            self.device.queue_submit(self.queue, &[submission], fence)?;
        }
        Ok(())
    }

    fn barrier(
        &self,
        commands: vk::CommandBuffer,
        (from, written): (vk::PipelineStageFlags, vk::AccessFlags),
        (to, used): (vk::PipelineStageFlags, vk::AccessFlags),
    ) {
        let barrier = vk::MemoryBarrier::default().src_access_mask(written).dst_access_mask(used);
        let flags = vk::DependencyFlags::empty();
        // SAFETY: the command buffer is being recorded, and its queue computes and copies.
        unsafe { self.device.cmd_pipeline_barrier(commands, from, to, flags, &[barrier], &[], &[]) };
    }

    /// Copies the first bytes of `staging` to the inputs, one after the other, fills `output` with NaN, and makes both
    /// visible to compute shaders that are submitted to the queue later. Does not wait.
    pub(crate) fn upload(
        &self,
        staging: &Buffer<'_>,
        inputs: &[&Buffer<'_>],
        output: &Buffer<'_>,
    ) -> Result<(), Failure> {
        self.submit(vk::Fence::null(), |commands| {
            let mut offset = 0;
            for input in inputs {
                let region = vk::BufferCopy::default().src_offset(offset).size(input.size);
                // SAFETY: both buffers are alive until the queue is idle and large enough.
                unsafe { self.device.cmd_copy_buffer(commands, staging.handle, input.handle, &[region]) };
                offset += input.size;
            }
            let nan = f32::NAN.to_bits();
            // SAFETY: as above.
            unsafe { self.device.cmd_fill_buffer(commands, output.handle, 0, vk::WHOLE_SIZE, nan) };
            self.barrier(
                commands,
                (vk::PipelineStageFlags::TRANSFER, vk::AccessFlags::TRANSFER_WRITE),
                (
                    vk::PipelineStageFlags::COMPUTE_SHADER,
                    vk::AccessFlags::SHADER_READ | vk::AccessFlags::SHADER_WRITE,
                ),
            );
        })
    }

    /// Copies what compute shaders wrote to `output`, in submissions before this one, to the start of `staging`, and
    /// waits for a fence: for the copy, and with it for all that was submitted before.
    pub(crate) fn download(&self, output: &Buffer<'_>, staging: &Buffer<'_>) -> Result<(), Failure> {
        // SAFETY: the device is alive.
        let fence = unsafe { self.device.create_fence(&vk::FenceCreateInfo::default(), None) }?;
        let submitted = self.submit(fence, |commands| {
            self.barrier(
                commands,
                (vk::PipelineStageFlags::COMPUTE_SHADER, vk::AccessFlags::SHADER_WRITE),
                (vk::PipelineStageFlags::TRANSFER, vk::AccessFlags::TRANSFER_READ),
            );
            let region = vk::BufferCopy::default().size(output.size);
            // SAFETY: both buffers are alive until the fence is signalled and large enough.
            unsafe { self.device.cmd_copy_buffer(commands, output.handle, staging.handle, &[region]) };
            self.barrier(
                commands,
                (vk::PipelineStageFlags::TRANSFER, vk::AccessFlags::TRANSFER_WRITE),
                (vk::PipelineStageFlags::HOST, vk::AccessFlags::HOST_READ),
            );
        });
        // SAFETY: the fence is this device's, and either was not submitted or is waited for before it goes.
        let waited =
            submitted.and_then(|()| unsafe { Ok(self.device.wait_for_fences(&[fence], true, u64::MAX)?) });
        // SAFETY: as above.
        unsafe { self.device.destroy_fence(fence, None) };
        waited
    }
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        // SAFETY: buffers borrow the device, and wgpu's objects are declared later: all are gone.
        unsafe {
            self.device.destroy_command_pool(self.pool, None);
            self.device.destroy_device(None);
        }
    }
}

/// The result of `vkCreateDevice`.
pub(crate) type Created = Result<ash::Device, vk::Result>;

/// A `VkBuffer` with memory of its own.
pub(crate) struct Buffer<'a> {
    host: &'a Device<'a>,
    handle: vk::Buffer,
    memory: vk::DeviceMemory,
    size: u64,
}

impl Buffer<'_> {
    pub(crate) fn handle(&self) -> vk::Buffer {
        self.handle
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Runs `with` on the first `len` bytes of a host-visible, coherent buffer.
    pub(crate) fn mapped<T>(&self, len: usize, with: impl FnOnce(&mut [u8]) -> T) -> Result<T, Failure> {
        if len as u64 > self.size {
            return Err(Failure::Failed(format!("{len} bytes of a buffer of {}", self.size)));
        }
        let device = &self.host.device;
        // SAFETY: the memory is host-visible and not mapped; `len` bytes are within it; no device work touches it now.
        unsafe {
            let start = device.map_memory(self.memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty())?;
            let result = with(slice::from_raw_parts_mut(start.cast(), len));
            device.unmap_memory(self.memory);
            Ok(result)
        }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: waiting is what makes this right even after an error in mid-flight. A failed wait means that the
        // device is lost, and with it all of its work.
        unsafe {
            let _ = self.host.device.queue_wait_idle(self.host.queue);
            self.host.device.destroy_buffer(self.handle, None);
            self.host.device.free_memory(self.memory, None);
        }
    }
}

fn pointers(names: &[&'static CStr]) -> Vec<*const c_char> {
    names.iter().map(|name| name.as_ptr()).collect()
}
