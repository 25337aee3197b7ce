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
        driver: driver(info, features),
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

/// The driver, and what else makes code of a shader. DirectX 12 has two compilers, of which only DXC knows subgroups: a self-check
/// that one passed says nothing of the other.
fn driver(info: &wgpu::AdapterInfo, features: wgpu::Features) -> String {
    let dxc = info.backend == wgpu::Backend::Dx12 && features.contains(wgpu::Features::SUBGROUP);
    let parts = [&*info.driver, &*info.driver_info, if dxc { "(DXC)" } else { "" }];
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(backend: wgpu::Backend, features: wgpu::Features) -> String {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, backend);
        (info.name, info.driver_info) = ("a GPU".to_owned(), "1.2.3".to_owned());
        profile(&info, features, &wgpu::Limits::default()).key()
    }

    #[test]
    fn what_one_compiler_of_directx_passed_is_not_trusted_of_the_other() {
        use wgpu::{Backend, Features};
        assert_eq!(key(Backend::Dx12, Features::empty()), "a GPU | 1.2.3 | dx12");
        assert_eq!(key(Backend::Dx12, Features::SUBGROUP), "a GPU | 1.2.3 (DXC) | dx12");
        assert_eq!(key(Backend::Vulkan, Features::SUBGROUP), key(Backend::Vulkan, Features::empty()));
    }
}
