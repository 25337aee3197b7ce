//! A device as the engine would see it through wgpu: wgpu 30's reading of Vulkan's limits and features.

use ash::vk;
use foveal_kernels::{AdapterKind, AdapterProfile, Features, Limits, Rates};

use crate::vulkan::{Device, text};

/// wgpu's largest buffer on Linux, and the largest binding anywhere.
const MAX_I32: u64 = (1 << 31) - 1;

/// Shader stages that wgpu divides a set's descriptors among.
const STAGES: u32 = 3;

/// The profile of a device. Rates are those assumed of its kind.
#[expect(unsafe_code, reason = "Vulkan is a C interface")]
pub(super) fn profile(device: &Device) -> AdapterProfile {
    let (instance, physical) = device.physical();
    let mut v11 = vk::PhysicalDeviceVulkan11Properties::default();
    let mut v13 = vk::PhysicalDeviceVulkan13Properties::default();
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default()
        .push_next(&mut v11)
        .push_next(&mut v13)
        .push_next(&mut driver);
    // SAFETY: the handle comes from this instance, the chain outlives the call.
    unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
    let vk::PhysicalDeviceProperties { limits, device_type, device_name, .. } = properties.properties;
    let mut f11 = vk::PhysicalDeviceVulkan11Features::default();
    let mut f12 = vk::PhysicalDeviceVulkan12Features::default();
    let mut features = vk::PhysicalDeviceFeatures2::default().push_next(&mut f11).push_next(&mut f12);
    // SAFETY: as above.
    unsafe { instance.get_physical_device_features2(physical, &mut features) };

    let kind = match device_type {
        vk::PhysicalDeviceType::DISCRETE_GPU => AdapterKind::Discrete,
        vk::PhysicalDeviceType::INTEGRATED_GPU => AdapterKind::Integrated,
        vk::PhysicalDeviceType::VIRTUAL_GPU => AdapterKind::Virtual,
        vk::PhysicalDeviceType::CPU => AdapterKind::Cpu,
        _ => AdapterKind::Other,
    };
    let wanted = vk::SubgroupFeatureFlags::BASIC
        | vk::SubgroupFeatureFlags::VOTE
        | vk::SubgroupFeatureFlags::ARITHMETIC
        | vk::SubgroupFeatureFlags::BALLOT
        | vk::SubgroupFeatureFlags::SHUFFLE
        | vk::SubgroupFeatureFlags::SHUFFLE_RELATIVE
        | vk::SubgroupFeatureFlags::QUAD;
    let stages = vk::ShaderStageFlags::COMPUTE | vk::ShaderStageFlags::FRAGMENT;
    let subgroups =
        v11.subgroup_supported_operations.contains(wanted) && v11.subgroup_supported_stages.contains(stages);
    let threads = limits.max_compute_work_group_invocations;
    let groups = limits.max_compute_work_group_count;
    AdapterProfile {
        name: text(&device_name),
        driver: format!("{} {}", text(&driver.driver_name), text(&driver.driver_info)).trim().to_owned(),
        backend: "vulkan".to_owned(),
        kind,
        limits: Limits {
            max_storage_buffers_per_shader_stage: limits
                .max_per_stage_descriptor_storage_buffers
                .min(limits.max_descriptor_set_storage_buffers / STAGES),
            max_storage_buffer_binding_size: u64::from(limits.max_storage_buffer_range).min(MAX_I32) & !3,
            max_buffer_size: MAX_I32,
            min_storage_buffer_offset_alignment: small(limits.min_storage_buffer_offset_alignment).max(32),
            min_uniform_buffer_offset_alignment: small(limits.min_uniform_buffer_offset_alignment).max(32),
            max_uniform_buffer_binding_size: u64::from(limits.max_uniform_buffer_range).min(MAX_I32),
            max_compute_workgroup_storage_size: limits.max_compute_shared_memory_size,
            max_compute_invocations_per_workgroup: threads,
            max_compute_workgroup_size_x: limits.max_compute_work_group_size[0].min(threads),
            max_compute_workgroups_per_dimension: groups.into_iter().fold(u32::MAX, u32::min),
        },
        features: Features {
            subgroups: subgroups.then_some((v13.min_subgroup_size, v13.max_subgroup_size)),
            f16: f12.shader_float16 != 0
                && f11.storage_buffer16_bit_access != 0
                && f11.uniform_and_storage_buffer16_bit_access != 0,
            timestamps: true,
            pipeline_cache: true,
        },
        rates: Rates::assumed(kind),
        ..AdapterProfile::webgpu_floor()
    }
}

fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
