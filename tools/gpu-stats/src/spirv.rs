//! WGSL to SPIR-V, with the options wgpu uses for trusted modules.

use std::collections::BTreeMap;

use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ShaderStage};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A shader to compile, and how; the input of everything in this crate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Name of the variant, for tables and messages.
    pub label: String,
    /// WGSL text with at least one compute entry point.
    pub wgsl: String,
    /// Entry point to compile; `None` takes the only one.
    pub entry_point: Option<String>,
    /// Values for `override` constants, by name.
    pub constants: BTreeMap<String, f64>,
    /// Zero workgroup memory in the shader's prologue, as wgpu does unless told otherwise.
    pub zero_workgroup_memory: bool,
    /// Ask the driver for exactly this subgroup size; `None` leaves the choice to it, as wgpu does.
    pub subgroup_size: Option<u32>,
}

impl Job {
    /// A job with every option at its default: no constants, workgroup memory left as it is, driver's subgroup size.
    pub fn new(label: impl Into<String>, wgsl: impl Into<String>) -> Self {
        Self { label: label.into(), wgsl: wgsl.into(), ..Self::default() }
    }
}

/// Kind of a buffer binding: the pipeline layout needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingKind {
    /// `var<uniform>`.
    Uniform,
    /// `var<storage>`, read-only or not.
    Storage,
}

/// One buffer of the shader's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// `@group`, the descriptor set.
    pub group: u32,
    /// `@binding` inside the group.
    pub binding: u32,
    /// The bindings.
    pub kind: BindingKind,
}

/// A compute shader ready for Vulkan.
#[derive(Clone, Debug, PartialEq)]
pub struct Spirv {
    /// SPIR-V 1.6 words.
    pub words: Vec<u32>,
    /// Name of the entry point inside the module.
    pub entry_point: String,
    /// Invocations a workgroup along x, y, z.
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Buffers, in order of declaration.
    pub bindings: Vec<Binding>,
}

/// Translates a job's WGSL as wgpu 30 does for a module created with `ShaderRuntimeChecks::unchecked()`: no bounds
/// checks, no loop guards, no division guards.
///
/// # Errors
/// [`Error::Shader`] with naga's message where the text does not parse, validate or translate.
pub fn translate(job: &Job) -> Result<Spirv, Error> {
    let fail = |message: String| Error::Shader { label: job.label.clone(), message };
    let module = naga::front::wgsl::parse_str(&job.wgsl)
        .map_err(|e| fail(e.emit_to_string_with_path(&job.wgsl, &job.label)))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
    validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    let info =
        validator.validate(&module).map_err(|e| fail(e.emit_to_string_with_path(&job.wgsl, &job.label)))?;

    let computes: Vec<&str> = module
        .entry_points
        .iter()
        .filter(|e| e.stage == ShaderStage::Compute)
        .map(|e| e.name.as_str())
        .collect();
    let name = match (&job.entry_point, computes.as_slice()) {
        (Some(wanted), all) if all.contains(&wanted.as_str()) => wanted.clone(),
        (None, [only]) => (*only).to_owned(),
        (wanted, all) => {
            return Err(fail(format!("entry point {wanted:?} cannot be chosen: the module has {all:?}")));
        }
    };

    let mut constants = naga::back::PipelineConstants::default();
    for (key, value) in &job.constants {
        constants.insert(key.clone(), *value);
    }
    let (module, info) = naga::back::pipeline_constants::process_overrides(
        &module,
        &info,
        Some((ShaderStage::Compute, &name)),
        &constants,
    )
    .map_err(|e| fail(e.to_string()))?;
    let entry = module
        .entry_points
        .iter()
        .find(|e| e.name == name && e.stage == ShaderStage::Compute)
        .ok_or_else(|| fail(format!("entry point {name} is gone after the overrides were resolved")))?;

    let mut bindings = Vec::new();
    let mut workgroup_bytes = 0;
    for (_, variable) in module.global_variables.iter() {
        if variable.space == AddressSpace::WorkGroup {
            workgroup_bytes += module.types[variable.ty].inner.size(module.to_ctx()).next_multiple_of(16);
        }
        let Some(at) = &variable.binding else { continue };
        let kind = match variable.space {
            AddressSpace::Uniform => BindingKind::Uniform,
            AddressSpace::Storage { .. } => BindingKind::Storage,
            _ => return Err(fail("only uniform and storage buffers are supported".to_owned())),
        };
        bindings.push(Binding { group: at.group, binding: at.binding, kind });
    }

    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS,
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        // Vulkan 1.3 has the native form, so that is what wgpu asks naga for.
        zero_initialize_workgroup_memory: if job.zero_workgroup_memory {
            spv::ZeroInitializeWorkgroupMemoryMode::Native
        } else {
            spv::ZeroInitializeWorkgroupMemoryMode::None
        },
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: name.clone() };
    let words = spv::write_vec(&module, &info, &options, Some(&pipeline)).map_err(|e| fail(e.to_string()))?;
    Ok(Spirv { words, entry_point: name, workgroup_size: entry.workgroup_size, workgroup_bytes, bindings })
}
