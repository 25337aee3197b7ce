//! wgpu's noop backend: every pipeline is created, layouts match, errors are errors. Nothing is computed.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal::{Engine, ErrorKind, Options, SelfCheck, wgpu};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::{AdapterProfile, Constraints, Problem};
use foveal_shaders::Library;
use foveal_tests::{device, parallel, planned, profiles, say, wrong};
use pollster::block_on;

/// The backend computes nothing, so nothing could prove itself on it.
fn options() -> Options {
    Options { self_check: SelfCheck::Off, ..device::options() }
}

fn engine(like: &AdapterProfile, options: Options) -> Result<Engine> {
    let (device, queue) = device::noop(like)?;
    Ok(Engine::from_device_with(device, queue, options)?)
}

#[test]
fn the_engine_sees_the_device_as_it_is() -> Result<()> {
    for like in profiles::all() {
        let engine = engine(&like, options())?;
        let seen = engine.profile();
        ensure!(seen.limits == like.limits, "{:?} is seen as {:?}", like.limits, seen.limits);
        ensure!(seen.features.subgroups == like.features.subgroups, "{:?}", seen.features);
    }
    Ok(())
}

#[test]
fn every_planned_pipeline_is_created() -> Result<()> {
    let plans = planned::plans()?;
    let created = parallel::map(&profiles::all(), |like| -> Result<usize> {
        let engine = engine(like, options())?;
        let mut requests = BTreeSet::new();
        for planned in plans.iter().filter(|planned| planned.adapter.name == like.name) {
            // These devices are opened without experimental features.
            if planned.plan.variant == "matrix" {
                continue;
            }
            let kernel = block_on(engine.prepare_exact(&planned.plan));
            let kernel = kernel.with_context(|| planned.name.clone())?;
            requests.extend(planned.plan.requests().iter().map(|request| request.fingerprint()));
            // Layouts have to fit the bindings, too.
            encode(&engine, &kernel).with_context(|| format!("encoding {}", planned.name))?;
        }
        Ok(requests.len())
    });
    let created: usize = created.into_iter().sum::<Result<usize>>()?;
    say(&format!("{created} pipelines on {} noop devices", profiles::all().len()));
    Ok(())
}

fn encode(engine: &Engine, kernel: &foveal::Kernel) -> Result<()> {
    let tensor_specs = &kernel.plan().tensors;
    let buffers: Vec<wgpu::Buffer> = tensor_specs
        .iter()
        .map(|tensor_spec| {
            block_on(engine.buffer(&tensor_spec.name, tensor_spec.size_bytes()))
                .with_context(|| tensor_spec.name.clone())
        })
        .collect::<Result<_>>()?;
    let bound: Vec<(&str, &wgpu::Buffer)> =
        tensor_specs.iter().map(|tensor_spec| &*tensor_spec.name).zip(&buffers).collect();
    let scope = engine.device().push_error_scope(wgpu::ErrorFilter::Validation);
    let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let encoded = kernel.bind(&bound).map(|bound| bound.encode(&mut encoder));
    engine.queue().submit([encoder.finish()]);
    let raised = block_on(scope.pop());
    encoded?;
    ensure!(raised.is_none(), "{raised:?}");
    Ok(())
}

fn problem() -> Attention {
    Attention::new(Shape::bhtd(1, 2, 65, 64)).with_lse()
}

/// The error of a shader that does not fit its plan.
fn outcome_of(from: &str, to: &str) -> Result<foveal::Error> {
    let options = Options { library: Arc::new(wrong::library(from, to)?), ..options() };
    let engine = engine(&AdapterProfile::webgpu_floor(), options)?;
    let plan = engine.plan(&wrong::Sabotaged(Arc::new(problem())))?;
    ensure!(plan.variant == wrong::WRONG);
    block_on(engine.prepare_exact(&plan)).err().with_context(|| format!("`{to}` was taken"))
}

#[test]
fn a_shader_that_does_not_compile_is_an_error_value() -> Result<()> {
    let error = outcome_of("score += dot(", "score += cross(")?;
    ensure!(error.kind() == ErrorKind::Validation, "{error}");
    Ok(())
}

#[test]
fn a_binding_that_the_plan_does_not_make_is_an_error_value() -> Result<()> {
    let extra = "@group(0) @binding(9) var<storage, read> extra: array<f32>;\n@compute";
    let library = wrong::library("@compute", extra)?;
    let text = library.source(wrong::WRONG).context("no text")?.replacen(
        "var score = 0.0;",
        "var score = extra[0];",
        1,
    );
    let library = Library::builtin().with_modules(&[(wrong::WRONG, &text)])?;
    let engine =
        engine(&AdapterProfile::webgpu_floor(), Options { library: Arc::new(library), ..options() })?;
    let plan = engine.plan(&wrong::Sabotaged(Arc::new(problem())))?;
    let error = block_on(engine.prepare_exact(&plan)).err().context("taken")?;
    ensure!(error.kind() == ErrorKind::Internal && error.to_string().contains("extra"), "{error}");
    Ok(())
}

#[test]
fn a_module_that_does_not_exist_is_an_error_value() -> Result<()> {
    let engine = engine(&AdapterProfile::webgpu_floor(), options())?;
    let plan = engine.plan(&wrong::Sabotaged(Arc::new(problem())))?;
    let error = block_on(engine.prepare_exact(&plan)).err().context("taken")?;
    ensure!(error.to_string().contains(wrong::WRONG), "{error}");
    Ok(())
}

#[test]
fn a_plan_for_a_larger_adapter_is_an_error_that_names_the_limit() -> Result<()> {
    let roomy = profiles::discrete(32, 32);
    let mut small = AdapterProfile::webgpu_floor();
    small.limits.max_compute_workgroup_storage_size = 8 << 10;
    small.limits.max_compute_invocations_per_workgroup = 64;
    let spec = Attention::new(Shape::bhtd(1, 2, 65, 64));
    let plan = spec.plan(&roomy, &Constraints::variant("tiled"))?;
    let error = block_on(engine(&small, options())?.prepare_exact(&plan)).err().context("taken")?;
    ensure!(error.kind() == ErrorKind::Limit, "{error}");
    ensure!(error.argument() == "max_compute_invocations_per_workgroup", "{error}");
    small.limits.max_compute_invocations_per_workgroup = 256;
    let error = block_on(engine(&small, options())?.prepare_exact(&plan)).err().context("taken")?;
    ensure!(error.argument() == "max_compute_workgroup_storage_size", "{error}");
    Ok(())
}

#[test]
fn a_subgroup_kernel_on_a_device_without_is_an_error_value() -> Result<()> {
    let plan = problem().plan(&profiles::lavapipe(), &Constraints::variant("broadcast"))?;
    let engine = engine(&AdapterProfile::webgpu_floor(), options())?;
    let error = block_on(engine.prepare_exact(&plan)).err().context("taken")?;
    say(&format!("without subgroups: {error}"));
    Ok(())
}
