//! The Vulkan calls: opens a device that need not execute and compiles one compute pipeline on it.
#![expect(unsafe_code, reason = "Vulkan is a C interface, and wgpu cannot open a device without hardware")]

use std::ffi::{CStr, CString, c_char};

use ash::{khr, vk};

use crate::spirv::{BindingKind, Spirv};

/// One number the driver reports about a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statistic {
    /// The driver's name for it.
    pub(crate) name: String,
    /// Its value, rounded towards zero where the driver gives a fraction.
    pub(crate) value: u64,
}

/// The driver's statistics of one compiled pipeline.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    /// `VkPhysicalDeviceProperties::deviceName`.
    pub(crate) device: String,
    /// `VkPhysicalDeviceDriverProperties::driverInfo`, which for Mesa is its version.
    pub(crate) driver: String,
    /// Subgroup size the pipeline was compiled for, as the driver states it (0 where it does not).
    pub(crate) subgroup_size: u32,
    /// Statistics in the driver's order.
    pub(crate) statistics: Vec<Statistic>,
    /// Textual internal representations: name and text.
    pub(crate) representations: Vec<(String, String)>,
}

/// The device. Lives as long as its worker process.
pub(crate) struct Device {
    // Dropped last: everything below points into the library it keeps loaded.
    _entry: ash::Entry,
    instance: ash::Instance,
    physical: vk::PhysicalDevice,
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    name: String,
    driver: String,
    /// Smallest and largest subgroup the device has.
    subgroups: (u32, u32),
}

impl Device {
    /// Opens the first device whose name contains `named`: RADV lists a single one while `RADV_FORCE_FAMILY` is set, as does
    /// every driver on a shim.
    pub(crate) fn open(named: &str) -> Result<Self, String> {
        // SAFETY: loading the Vulkan loader runs its initialisers; this process loads it once and has no other thread
        // that changes the environment.
        let entry = unsafe { ash::Entry::load() }.map_err(|e| format!("no Vulkan loader: {e}"))?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: the structures live until the call returns, and no layer or extension is asked for.
        let instance =
            unsafe { entry.create_instance(&info, None) }.map_err(|e| format!("no Vulkan instance: {e}"))?;
        let opened = Self::pick(&instance, named)
            .and_then(|(p, name)| Self::logical(&instance, p).map(|d| (p, name, d)));
        match opened {
            Ok((physical, name, device)) => {
                let executables = khr::pipeline_executable_properties::Device::new(&instance, &device);
                let (driver, subgroups) = describe(&instance, physical);
                Ok(Self { _entry: entry, instance, physical, device, executables, name, driver, subgroups })
            }
            Err(message) => {
                // SAFETY: nothing made from the instance survives.
                unsafe { instance.destroy_instance(None) };
                Err(message)
            }
        }
    }

    fn pick(instance: &ash::Instance, named: &str) -> Result<(vk::PhysicalDevice, String), String> {
        // SAFETY: the instance is alive.
        let all = unsafe { instance.enumerate_physical_devices() }
            .map_err(|e| format!("the driver lists no device: {e}"))?;
        let mut seen = Vec::new();
        for physical in all {
            // SAFETY: the handle comes from this instance.
            let properties = unsafe { instance.get_physical_device_properties(physical) };
            let name = text(&properties.device_name);
            if name.contains(named) {
                return Ok((physical, name));
            }
            seen.push(name);
        }
        Err(format!("no device to compile for among {seen:?}; it may be unknown to this Mesa"))
    }

    fn logical(instance: &ash::Instance, physical: vk::PhysicalDevice) -> Result<ash::Device, String> {
        // Queried first, enabled as offered: wgpu turns on what the device has, and robustness can change the code.
        let mut executables = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
        let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut v11 = vk::PhysicalDeviceVulkan11Features::default();
        let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
        let mut v13 = vk::PhysicalDeviceVulkan13Features::default();
        let mut features = vk::PhysicalDeviceFeatures2::default()
            .push_next(&mut executables)
            .push_next(&mut robustness)
            .push_next(&mut v11)
            .push_next(&mut v12)
            .push_next(&mut v13);
        // SAFETY: every structure in the chain is a valid extension of VkPhysicalDeviceFeatures2 and outlives the call.
        unsafe { instance.get_physical_device_features2(physical, &mut features) };
        let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
        let extensions =
            [khr::pipeline_executable_properties::NAME.as_ptr(), ash::ext::robustness2::NAME.as_ptr()];
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&extensions)
            .push_next(&mut features);
        // SAFETY: the features were reported by this device, the names are static strings.
        unsafe { instance.create_device(physical, &info, None) }
            .map_err(|e| format!("the device cannot be opened: {e}"))
    }

    /// The instance and the device, for queries.
    pub(crate) fn physical(&self) -> (&ash::Instance, vk::PhysicalDevice) {
        (&self.instance, self.physical)
    }

    /// Compiles a compute pipeline and reads what the driver captured.
    pub(crate) fn compile(&self, spirv: &Spirv, subgroup_size: Option<u32>) -> Result<Raw, String> {
        let (min, max) = self.subgroups;
        if let Some(size) = subgroup_size
            && !(size.is_power_of_two() && (min..=max).contains(&size))
        {
            return Err(format!("the device has subgroups of {min} to {max}, not of {size}"));
        }
        let mut made = Made::default();
        let result = self.compile_inner(spirv, subgroup_size, &mut made).map_err(|e| format!("Vulkan: {e}"));
        // SAFETY: the handles were made from this device, are null or alive, and nothing is executing.
        unsafe {
            self.device.destroy_pipeline(made.pipeline, None);
            self.device.destroy_shader_module(made.module, None);
            self.device.destroy_pipeline_layout(made.layout, None);
            for set in made.sets {
                self.device.destroy_descriptor_set_layout(set, None);
            }
        }
        result
    }

    fn compile_inner(
        &self,
        spirv: &Spirv,
        subgroup_size: Option<u32>,
        made: &mut Made,
    ) -> Result<Raw, vk::Result> {
        let groups = spirv.bindings.iter().map(|b| b.group + 1).max().unwrap_or(0);
        for group in 0..groups {
            let bindings: Vec<_> = spirv
                .bindings
                .iter()
                .filter(|b| b.group == group)
                .map(|b| {
                    vk::DescriptorSetLayoutBinding::default()
                        .binding(b.binding)
                        .descriptor_count(1)
                        .stage_flags(vk::ShaderStageFlags::COMPUTE)
                        .descriptor_type(match b.kind {
                            BindingKind::Uniform => vk::DescriptorType::UNIFORM_BUFFER,
                            BindingKind::Storage => vk::DescriptorType::STORAGE_BUFFER,
                        })
                })
                .collect();
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            // SAFETY: `info` and what it points to live through the call.
            made.sets.push(unsafe { self.device.create_descriptor_set_layout(&info, None) }?);
        }
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&made.sets);
        // SAFETY: the set layouts are alive.
        made.layout = unsafe { self.device.create_pipeline_layout(&info, None) }?;
        let info = vk::ShaderModuleCreateInfo::default().code(&spirv.words);
        // SAFETY: the words come from naga's writer after validation.
        made.module = unsafe { self.device.create_shader_module(&info, None) }?;

        let entry = CString::new(spirv.entry_point.as_str()).map_err(|_| vk::Result::ERROR_UNKNOWN)?;
        let mut required = vk::PipelineShaderStageRequiredSubgroupSizeCreateInfo::default();
        let mut stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(made.module)
            .name(&entry);
        if let Some(size) = subgroup_size {
            required = required.required_subgroup_size(size);
            stage = stage.push_next(&mut required);
        } else {
            // wgpu sets this flag whenever its SUBGROUP feature is on.
            stage = stage.flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
        }
        let info = vk::ComputePipelineCreateInfo::default()
            .flags(
                vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                    | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
            )
            .stage(stage)
            .layout(made.layout);
        // SAFETY: module, layout and entry name are alive; the capture flags belong to the enabled extension.
        let pipelines =
            unsafe { self.device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None) }
                .map_err(|(_, e)| e)?;
        made.pipeline = pipelines.first().copied().unwrap_or_default();
        self.read(made.pipeline)
    }

    fn read(&self, pipeline: vk::Pipeline) -> Result<Raw, vk::Result> {
        let mut raw = Raw { device: self.name.clone(), driver: self.driver.clone(), ..Raw::default() };
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline is alive and was made by this device.
        let properties = unsafe { self.executables.get_pipeline_executable_properties(&info) }?;
        raw.subgroup_size = properties.first().map_or(0, |p| p.subgroup_size);
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: as above; a compute pipeline has executable 0, and it was made with CAPTURE_STATISTICS.
        for s in unsafe { self.executables.get_pipeline_executable_statistics(&info) }? {
            // SAFETY: `format` says which member of the union the driver wrote.
            let value = unsafe {
                match s.format {
                    vk::PipelineExecutableStatisticFormatKHR::BOOL32 => u64::from(s.value.b32),
                    vk::PipelineExecutableStatisticFormatKHR::INT64 => s.value.i64.unsigned_abs(),
                    vk::PipelineExecutableStatisticFormatKHR::UINT64 => s.value.u64,
                    _ => whole(s.value.f64),
                }
            };
            raw.statistics.push(Statistic { name: text(&s.name), value });
        }
        raw.representations = self.representations(&info)?;
        Ok(raw)
    }

    /// Two calls as the specification wants: sizes first, then texts into buffers of that size.
    fn representations(
        &self,
        info: &vk::PipelineExecutableInfoKHR<'_>,
    ) -> Result<Vec<(String, String)>, vk::Result> {
        let call = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let handle = self.device.handle();
        let mut count = 0;
        // SAFETY: a null array asks for the count only.
        unsafe { call(handle, info, &raw mut count, std::ptr::null_mut()) }.result()?;
        let mut entries = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
        // SAFETY: the array has `count` entries whose data pointers are null, which asks for sizes.
        unsafe { call(handle, info, &raw mut count, entries.as_mut_ptr()) }.result()?;
        let mut texts: Vec<Vec<u8>> = entries.iter().map(|e| vec![0; e.data_size]).collect();
        for (entry, buffer) in entries.iter_mut().zip(&mut texts) {
            entry.p_data = buffer.as_mut_ptr().cast();
        }
        // SAFETY: every data pointer has `data_size` writable bytes behind it, alive until the texts are read.
        unsafe { call(handle, info, &raw mut count, entries.as_mut_ptr()) }.result()?;
        Ok(entries
            .iter()
            .zip(&texts)
            .filter(|(e, _)| e.is_text != 0)
            .map(|(e, bytes)| {
                let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
                (text(&e.name), String::from_utf8_lossy(&bytes[..end]).into_owned())
            })
            .collect())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: `compile` destroys what it makes, so nothing of the device is left, and the device goes first.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// Handles of one compilation, destroyed together whether it failed or not.
#[derive(Default)]
struct Made {
    sets: Vec<vk::DescriptorSetLayout>,
    layout: vk::PipelineLayout,
    module: vk::ShaderModule,
    pipeline: vk::Pipeline,
}

/// The driver's version, and the range of subgroup sizes: RADV compiles nonsense for a size outside of it.
fn describe(instance: &ash::Instance, physical: vk::PhysicalDevice) -> (String, (u32, u32)) {
    let mut v13 = vk::PhysicalDeviceVulkan13Properties::default();
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut v13).push_next(&mut driver);
    // SAFETY: the handle comes from this instance, the chain outlives the call.
    unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
    (text(&driver.driver_info), (v13.min_subgroup_size, v13.max_subgroup_size))
}

/// A fixed C array as text.
pub(crate) fn text(chars: &[c_char]) -> String {
    // SAFETY: the driver terminates its names inside the array, as the specification demands.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "statistics are counts; a float cast saturates"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
