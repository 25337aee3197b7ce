//! Translation of kernels by naga, as wgpu and Firefox do it.

use anyhow::{Context, Result, anyhow};
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// A module that naga accepts.
#[derive(Debug)]
pub struct Validated {
    /// The module.
    pub module: naga::Module,
    /// The validator's information about it.
    pub info: ModuleInfo,
}

/// Kernels are trusted: wgpu translates them without bounds checks, and so do these.
const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// Parses and validates a kernel. It may use what `subgroups` and `matrices` allow and nothing else that is optional.
///
/// # Errors
/// naga's complaint, with the place in the text.
pub fn validate(text: &str, subgroups: bool, matrices: bool) -> Result<Validated> {
    let module =
        naga::front::wgsl::parse_str(text).map_err(|error| anyhow!("{}", error.emit_to_string(text)))?;
    // `unpack2x16float` is WGSL of the floor; naga tells it apart for GL drivers below that.
    let floor = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let mut capabilities = if subgroups { floor | Capabilities::SUBGROUP } else { floor };
    if matrices {
        capabilities |= Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16;
    }
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| anyhow!("{}", error.emit_to_string(text)))?;
    Ok(Validated { module, info })
}

/// SPIR-V as wgpu makes it for Vulkan 1.1.
///
/// # Errors
/// Constructs that naga cannot write.
pub fn spirv(kernel: &Validated) -> Result<Vec<u32>> {
    let options = spv::Options {
        lang_version: (1, 3),
        bounds_check_policies: UNCHECKED,
        force_loop_bounding: false,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..spv::Options::default()
    };
    spv::write_vec(&kernel.module, &kernel.info, &options, None).context("SPIR-V")
}

/// Metal's language, 2.4: what macOS 12 and later have.
///
/// # Errors
/// Constructs that naga cannot write.
pub fn metal(kernel: &Validated) -> Result<String> {
    let options = msl::Options {
        lang_version: (2, 4),
        bounds_check_policies: UNCHECKED,
        force_loop_bounding: false,
        zero_initialize_workgroup_memory: false,
        ..msl::Options::default()
    };
    let text = msl::write_string(&kernel.module, &kernel.info, &options, &msl::PipelineOptions::default());
    let (text, info) = text.context("MSL")?;
    entry_points_written(
        info.entry_point_names.into_iter().map(|name| name.map_err(|error| anyhow!("{error}"))),
    )?;
    Ok(text)
}

/// HLSL, for shader model 6 where subgroups are used and 5.1 where not.
///
/// # Errors
/// Constructs that naga cannot write.
pub fn direct3d(kernel: &Validated, subgroups: bool) -> Result<String> {
    let options = hlsl::Options {
        shader_model: if subgroups { hlsl::ShaderModel::V6_0 } else { hlsl::ShaderModel::V5_1 },
        restrict_indexing: false,
        force_loop_bounding: false,
        zero_initialize_workgroup_memory: false,
        ..hlsl::Options::default()
    };
    let pipeline = hlsl::PipelineOptions::default();
    let mut text = String::new();
    let info = hlsl::Writer::new(&mut text, &options, &pipeline).write(&kernel.module, &kernel.info, None);
    let info = info.context("HLSL")?;
    entry_points_written(
        info.entry_point_names.into_iter().map(|name| name.map_err(|error| anyhow!("{error}"))),
    )?;
    Ok(text)
}

/// GLSL: OpenGL ES 3.1 without subgroups, OpenGL 4.5 with the extension for them, where `mix` selects integers too. wgpu 30 offers
/// no subgroups on GL.
///
/// # Errors
/// Constructs that naga cannot write.
pub fn opengl(kernel: &Validated, entry: &str, subgroups: bool) -> Result<String> {
    let version = if subgroups { glsl::Version::Desktop(450) } else { glsl::Version::new_gles(310) };
    let options =
        glsl::Options { version, zero_initialize_workgroup_memory: false, ..glsl::Options::default() };
    let pipeline = glsl::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: entry.to_owned(),
        multiview: None,
    };
    let mut text = String::new();
    let (module, info) = (&kernel.module, &kernel.info);
    let writer =
        glsl::Writer::new(&mut text, module, info, &options, &pipeline, BoundsCheckPolicies::default());
    writer.context("GLSL")?.write().context("GLSL")?;
    Ok(text)
}

fn entry_points_written(names: impl Iterator<Item = Result<String>>) -> Result<()> {
    let names: Vec<String> = names.collect::<Result<_>>().context("entry point")?;
    anyhow::ensure!(names.len() == 1, "one entry point is expected, got {names:?}");
    Ok(())
}
