//! Adapters as plain data: the floor, the software drivers that tests run on, and GPUs that need not be there.

use foveal_kernels::{AdapterKind, AdapterProfile, Features, Limits, MatrixUnit, Rates};

fn profile(name: &str, kind: AdapterKind, subgroups: (u32, u32), limits: Limits) -> AdapterProfile {
    AdapterProfile {
        name: name.into(),
        driver: String::new(),
        backend: "vulkan".into(),
        kind,
        limits,
        features: Features { subgroups: Some(subgroups), f16: true, timestamps: true, pipeline_cache: true },
        rates: Rates::assumed(kind),
        loop_turns: None,
        maths: None,
        matrix: None,
    }
}

fn gpu_limits() -> Limits {
    Limits {
        max_storage_buffers_per_shader_stage: 16,
        max_storage_buffer_binding_size: (2 << 30) - 4,
        max_buffer_size: (4 << 30) - 4,
        min_storage_buffer_offset_alignment: 32,
        max_compute_workgroup_storage_size: 32 << 10,
        max_compute_invocations_per_workgroup: 1024,
        max_compute_workgroup_size_x: 1024,
        ..Limits::WEBGPU_DEFAULT
    }
}

/// As Mesa's lavapipe: eight lanes, on the CPU.
#[must_use]
pub fn lavapipe() -> AdapterProfile {
    let limits = Limits { max_storage_buffer_binding_size: 128 << 20, ..gpu_limits() };
    profile("as lavapipe", AdapterKind::Cpu, (8, 8), limits)
}

/// As SwiftShader: four lanes, on the CPU.
#[must_use]
pub fn swiftshader() -> AdapterProfile {
    let limits = Limits {
        min_storage_buffer_offset_alignment: 256,
        max_compute_invocations_per_workgroup: 256,
        max_compute_workgroup_size_x: 256,
        ..gpu_limits()
    };
    profile("as SwiftShader", AdapterKind::Cpu, (4, 4), limits)
}

/// A discrete GPU with subgroups from `least` to `most` lanes.
#[must_use]
pub fn discrete(min: u32, max: u32) -> AdapterProfile {
    profile(&format!("discrete, subgroups {min} to {max}"), AdapterKind::Discrete, (min, max), gpu_limits())
}

/// An integrated GPU with subgroups from `least` to `most` lanes.
#[must_use]
pub fn integrated(min: u32, max: u32) -> AdapterProfile {
    let name = format!("integrated, subgroups {min} to {max}");
    profile(&name, AdapterKind::Integrated, (min, max), gpu_limits())
}

/// As Apple's GPUs, for which tiles are of their own; without subgroups, so that its plans run everywhere.
#[must_use]
pub fn apple() -> AdapterProfile {
    let like = integrated(32, 32);
    AdapterProfile {
        name: "as Apple".into(),
        features: Features { subgroups: None, ..like.features },
        ..like
    }
}

/// An adapter with matrix units besides: matrices of that side, in subgroups of so many lanes.
#[must_use]
pub fn with_matrices(adapter: AdapterProfile, side: u32, lanes: u32) -> AdapterProfile {
    let name = format!("{}, matrices of {side} in {lanes} lanes", adapter.name);
    AdapterProfile { name, matrix: Some(MatrixUnit { side, lanes }), ..adapter }
}

/// All that plans are tested for. The floor comes first.
#[must_use]
pub fn all() -> Vec<AdapterProfile> {
    vec![
        AdapterProfile::webgpu_floor(),
        lavapipe(),
        swiftshader(),
        discrete(32, 32),
        discrete(64, 64),
        discrete(32, 64),
        integrated(8, 32),
        // Mobile GPUs whose drivers promise no more than this.
        integrated(4, 128),
        apple(),
        with_matrices(discrete(32, 64), 16, 64),
        with_matrices(lavapipe(), 8, 8),
    ]
}
