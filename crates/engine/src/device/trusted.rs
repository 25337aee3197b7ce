//! The three calls of wgpu that are `unsafe`, and why they may be made.
#![expect(
    unsafe_code,
    reason = "wgpu marks these calls unsafe; each function below says why its use is sound"
)]

/// A module of WGSL that Foveal made.
///
/// With `checked`, naga guards every access and loop as it does for any shader. Without, it leaves out bounds checks
/// and loop guards, worth several percent in inner loops.
pub(crate) fn shader_module(
    device: &wgpu::Device,
    label: &str,
    text: &str,
    checked: bool,
) -> wgpu::ShaderModule {
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(text.into()) };
    if checked {
        return device.create_shader_module(descriptor);
    }
    let checks = wgpu::ShaderRuntimeChecks {
        // Masks and scores may divide by any number, so division stays as WGSL defines it.
        int_div_checks: true,
        ..wgpu::ShaderRuntimeChecks::unchecked()
    };
    // SAFETY: the text comes from the engine's shader library. Plans bound every index by tensor sizes that are checked
    // against the bound buffers, and every loop has a bound that is a length or a constant. The self-check runs each
    // variant between guard words before it is used.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

/// A pipeline cache that starts from `data`, which this program wrote earlier, or empty.
pub(crate) fn pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor =
        wgpu::PipelineCacheDescriptor { label: Some("foveal.pipeline_cache"), data, fallback: true };
    // SAFETY: `data` was returned by `PipelineCache::get_data` on the same adapter and driver: the caller has verified
    // a header that names both and a checksum over all bytes. wgpu checks its own header as well.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

/// wgpu's token for experimental features, with which a device of the engine's own may have matrix units.
pub(crate) fn experimental_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: the token says that undefined behaviour of experimental features is known of and accepted. The one that is asked for
    // with it is cooperative matrices: only modules of the engine's shader library name them, with sizes that the adapter lists and in
    // uniform control flow; a product is computed and compared before any kernel is trusted, and every variant is checked between
    // guard words. Drivers that are known not to survive such modules are not asked (`AdapterProfile::matrix_denied`).
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
