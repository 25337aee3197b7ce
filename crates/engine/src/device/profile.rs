//! wgpu's view of an adapter, as the plain data that plans are made from.

use foveal_kernels::{AdapterKind, AdapterProfile, Features, Limits, Rates};

/// The profile of an adapter or device.
pub(crate) fn profile(
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
    limits: &wgpu::Limits,
) -> AdapterProfile {
    let kind = kind(info.device_type);
    AdapterProfile {
        // Browsers withhold names that might identify their user.
        name: if info.name.is_empty() { "an adapter without a name".to_owned() } else { info.name.clone() },
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        backend: info.backend.to_str().to_owned(),
        kind,
        limits: Limits {
            max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            max_buffer_size: limits.max_buffer_size,
            min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment,
            min_uniform_buffer_offset_alignment: limits.min_uniform_buffer_offset_alignment,
            max_uniform_buffer_binding_size: limits.max_uniform_buffer_binding_size,
            max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: limits.max_compute_workgroup_size_x,
            // Without threads along any axis there are no workgroups either.
            max_compute_workgroups_per_dimension: if limits.max_compute_workgroup_size_y == 0
                || limits.max_compute_workgroup_size_z == 0
            {
                0
            } else {
                limits.max_compute_workgroups_per_dimension
            },
        },
        features: Features {
            subgroups: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some((info.subgroup_min_size, info.subgroup_max_size)),
            f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            pipeline_cache: features.contains(wgpu::Features::PIPELINE_CACHE),
        },
        rates: Rates::assumed(kind),
        loop_turns: None,
        maths: None,
        matrix: None,
    }
}

fn kind(kind: wgpu::DeviceType) -> AdapterKind {
    match kind {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Cpu,
        wgpu::DeviceType::Other => AdapterKind::Other,
    }
}
