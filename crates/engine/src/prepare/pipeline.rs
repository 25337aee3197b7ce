//! Compiling requests, each once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use foveal_kernels::AdapterProfile;
use foveal_shaders::{Binding, BindingKind, Interface, Library, Request, Target};
use xxhash_rust::xxh3::xxh3_128;

use crate::device::gpu::{Gpu, lock};
use crate::device::scope::{Caught, scoped};
use crate::{Error, ErrorKind, device::trusted};

/// The uniform variable in which a dispatch finds its first workgroup (`shaders/shared/grid.wgsl`).
pub(crate) const GRID: &str = "grid";

/// Whether a binding is that variable.
pub(crate) fn is_grid(binding: &Binding) -> bool {
    binding.name == GRID && matches!(binding.kind, BindingKind::Uniform(_))
}

/// Whether a binding is one that a plan names: storage, as opposed to the parameters.
pub(crate) fn is_storage(kind: &BindingKind) -> bool {
    matches!(kind, BindingKind::Storage { .. })
}

/// A compiled request.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    /// The layout of each bind group; `None` for numbers that the shader skips.
    pub(crate) layouts: Vec<Option<wgpu::BindGroupLayout>>,
    pub(crate) interface: Interface,
    /// Hash of the final text: what self-checks are remembered by.
    pub(crate) text_hash: u128,
}

/// The compiled requests of an engine, by fingerprint: those that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_fingerprint: HashMap<u128, (u64, Slot)>,
    /// Counts requests, so that slots know when they were last asked for.
    clock: u64,
}

/// A driver keeps megabytes for a pipeline, and every other expression is another: an engine that lives long forgets those
/// that were not asked for lately. Kernels keep theirs.
const REMEMBERED_PIPELINES: usize = 128;

impl Slots {
    fn of(&mut self, fingerprint: u128) -> Slot {
        self.clock += 1;
        let entry = self.by_fingerprint.entry(fingerprint).or_default();
        entry.0 = self.clock;
        let slot = Arc::clone(&entry.1);
        if self.by_fingerprint.len() > REMEMBERED_PIPELINES {
            let oldest = self.by_fingerprint.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(fingerprint, _)| *fingerprint) {
                self.by_fingerprint.remove(&oldest);
            }
        }
        slot
    }
}

/// One lock for each pipeline: two tasks that want the same wait for one compilation, others do not wait at all.
type Slot = Arc<Mutex<Option<Arc<Pipeline>>>>;

impl Pipelines {
    /// The pipeline of `request`, and whether it was compiled for this call. With a `bound`, its loops end after so many turns.
    pub(crate) async fn get(
        &self,
        gpu: &Gpu,
        library: &Library,
        request: &Request,
        label: &str,
        compiler: &Compiler<'_>,
        bound: Option<u64>,
    ) -> Result<(Arc<Pipeline>, bool), Error> {
        gpu.check()?;
        let fingerprint = match bound {
            None => request.fingerprint(),
            Some(turns) => xxh3_128(format!("{:x} {turns}", request.fingerprint()).as_bytes()),
        };
        let slot = lock(&self.slots).of(fingerprint);
        let (pipeline, caught) = {
            let mut place = lock(&slot);
            if let Some(pipeline) = &*place {
                return Ok((Arc::clone(pipeline), false));
            }
            let (pipeline, caught) = compiler.compile(gpu, library, request, label, bound)?;
            match caught.check_now(label) {
                Ok(result) => {
                    result?;
                    *place = Some(Arc::clone(&pipeline));
                    return Ok((pipeline, true));
                }
                Err(caught) => (pipeline, caught),
            }
        };
        // A browser, which answers later and where no lock may be held meanwhile.
        caught.check(label).await?;
        *lock(&slot) = Some(Arc::clone(&pipeline));
        Ok((pipeline, true))
    }
}

/// The context that all pipelines of an engine are compiled in.
#[derive(Debug)]
pub(crate) struct Compiler<'a> {
    pub(crate) profile: &'a AdapterProfile,
    pub(crate) cache: Option<&'a wgpu::PipelineCache>,
    pub(crate) runtime_checks: bool,
}

impl Compiler<'_> {
    fn compile(
        &self,
        gpu: &Gpu,
        library: &Library,
        request: &Request,
        label: &str,
        bound: Option<u64>,
    ) -> Result<(Arc<Pipeline>, Caught), Error> {
        let target = if cfg!(target_family = "wasm") { Target::Browser } else { Target::Native };
        let specialised = library
            .specialise(&request.clone().target(target))
            .map_err(|error| Error::internal(label, error.to_string()))?;
        let (interface, mut text) = (specialised.interface, specialised.text);
        if let Some(turns) = bound {
            text = foveal_shaders::bound_loops(&text, u32::try_from(turns).unwrap_or(u32::MAX))
                .map_err(|error| Error::internal(label, error.to_string()))?;
        }
        self.check_interface(&interface, label)?;
        let matrices = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        if interface.uses_matrices && !gpu.device.features().contains(matrices) {
            let message = "the shader needs matrices of subgroups, the device has none";
            return Err(Error::new(ErrorKind::Unsupported, label, message));
        }
        let ((pipeline, layouts), caught) = scoped(&gpu.device, || {
            let layouts = bind_group_layouts(&gpu.device, &interface, label);
            let groups: Vec<Option<&wgpu::BindGroupLayout>> = layouts.iter().map(Option::as_ref).collect();
            let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(label),
                bind_group_layouts: &groups,
                immediate_size: 0,
            });
            let module = trusted::shader_module(&gpu.device, label, &text, self.runtime_checks);
            let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: Some(&layout),
                module: &module,
                entry_point: Some(&interface.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // Kernels write workgroup memory before they read it, as the self-check would show.
                    zero_initialize_workgroup_memory: self.runtime_checks,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: self.cache,
            });
            (pipeline, layouts)
        });
        let text_hash = xxh3_128(text.as_bytes());
        Ok((Arc::new(Pipeline { pipeline, layouts, interface, text_hash }), caught))
    }

    /// Checks that wgpu does not make, or explains less well.
    fn check_interface(&self, interface: &Interface, label: &str) -> Result<(), Error> {
        let AdapterProfile { limits, features, .. } = self.profile;
        let over = |limit: &str, needed: u64, allowed: u64| {
            Err(Error::limit(limit, format!("{label} needs {needed}, the device allows {allowed}")))
        };
        let threads = interface.workgroup_size.iter().map(|&n| u64::from(n)).product::<u64>();
        if threads > u64::from(limits.max_compute_invocations_per_workgroup) {
            let allowed = limits.max_compute_invocations_per_workgroup;
            return over("max_compute_invocations_per_workgroup", threads, allowed.into());
        }
        let wide = interface.workgroup_size[0];
        if wide > limits.max_compute_workgroup_size_x {
            let allowed = limits.max_compute_workgroup_size_x;
            return over("max_compute_workgroup_size_x", wide.into(), allowed.into());
        }
        let uniforms = interface.bindings.iter().filter_map(|binding| match &binding.kind {
            BindingKind::Uniform(layout) => Some(u64::from(layout.size_bytes)),
            BindingKind::Storage { .. } => None,
        });
        if let Some(bytes) = uniforms.max().filter(|&n| n > limits.max_uniform_buffer_binding_size) {
            let allowed = limits.max_uniform_buffer_binding_size;
            return over("max_uniform_buffer_binding_size", bytes, allowed);
        }
        if interface.workgroup_bytes > limits.max_compute_workgroup_storage_size {
            let allowed = limits.max_compute_workgroup_storage_size;
            return over(
                "max_compute_workgroup_storage_size",
                interface.workgroup_bytes.into(),
                allowed.into(),
            );
        }
        let storage =
            interface.bindings.iter().filter(|b| matches!(b.kind, BindingKind::Storage { .. })).count()
                as u64;
        if storage > u64::from(limits.max_storage_buffers_per_shader_stage) {
            let allowed = limits.max_storage_buffers_per_shader_stage;
            return over("max_storage_buffers_per_shader_stage", storage, allowed.into());
        }
        let missing = |feature: &str| {
            Err(Error::new(
                ErrorKind::Unsupported,
                label,
                format!("the shader needs {feature}, the device has none"),
            ))
        };
        if interface.uses_subgroups && features.subgroups.is_none() {
            return missing("subgroup operations");
        }
        if interface.uses_f16 && !features.f16 {
            return missing("f16 arithmetic");
        }
        Ok(())
    }
}

fn bind_group_layouts(
    device: &wgpu::Device,
    interface: &Interface,
    label: &str,
) -> Vec<Option<wgpu::BindGroupLayout>> {
    let groups = interface.bindings.iter().map(|binding| binding.group + 1).max().unwrap_or(0);
    let layout = |group: u32| {
        let entries: Vec<wgpu::BindGroupLayoutEntry> = interface
            .bindings
            .iter()
            .filter(|binding| binding.group == group)
            .map(|binding| {
                let (ty, min_binding_size) = match &binding.kind {
                    BindingKind::Storage { read_only } => {
                        (wgpu::BufferBindingType::Storage { read_only: *read_only }, None)
                    }
                    BindingKind::Uniform(layout) => {
                        (wgpu::BufferBindingType::Uniform, wgpu::BufferSize::new(layout.size_bytes.into()))
                    }
                };
                // One buffer says of all dispatches of a kernel where they begin.
                let has_dynamic_offset = is_grid(binding);
                wgpu::BindGroupLayoutEntry {
                    binding: binding.index,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size },
                    count: None,
                }
            })
            .collect();
        let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries };
        (!entries.is_empty()).then(|| device.create_bind_group_layout(&descriptor))
    };
    (0..groups).map(layout).collect()
}
