//! A device that goes away, at any step: an error that says so, and a new engine works.

use anyhow::{Context, Result, ensure};
use foveal::{AttentionTensors, Binding, Engine, ErrorKind, Timing, wgpu};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::{Dtype, HostTensor, testing::Reference};
use foveal_tests::{device, harness};
use pollster::block_on;

fn engine() -> Result<Option<Engine>> {
    device::engine_with(module_path!(), device::options())
}

fn spec() -> Attention {
    Attention::new(Shape::bhtd(1, 1, 17, 8))
}

fn is_lost<T>(step: &str, result: Result<T, foveal::Error>) -> Result<()> {
    let error = result.err().with_context(|| format!("{step} went well on a lost device"))?;
    ensure!(error.kind() == ErrorKind::DeviceLost, "{step}: {error} ({:?})", error.kind());
    Ok(())
}

#[test]
fn before_preparing() -> Result<()> {
    let Some(engine) = engine()? else { return Ok(()) };
    let plan = engine.plan(&spec())?;
    engine.device().destroy();
    is_lost("prepare", block_on(engine.prepare(&plan)))?;
    is_lost("prepare again", block_on(engine.prepare(&plan)))?;
    is_lost("buffer", block_on(engine.buffer("after", 64)))?;
    ensure!(engine.refused("attention").is_empty(), "the variant is not to blame");
    // Planning needs no device.
    engine.plan(&spec())?;
    works_anew()
}

#[test]
fn after_preparing() -> Result<()> {
    let Some(engine) = engine()? else { return Ok(()) };
    let kernel = block_on(engine.prepare(&engine.plan(&spec())?))?;
    let buffer = block_on(engine.buffer("before", 4096))?;
    let output = block_on(engine.buffer("o", 4096))?;
    let inputs = spec().random_inputs(1);
    engine.device().destroy();
    is_lost("run", block_on(engine.run(&kernel, &harness::borrowed(&inputs))))?;
    is_lost("read back", block_on(engine.read_back(&buffer, &[4], Dtype::F32)))?;
    is_lost("upload", block_on(engine.upload("after", &inputs[0].1, Dtype::F32)))?;
    let timing = Timing { warm_up: 1, repeats: 2 };
    is_lost("time", block_on(engine.benchmark(&kernel, &harness::borrowed(&inputs), timing)))?;
    let bound = Binding { buffer: &buffer, offset_bytes: 0, size_bytes: 1024 };
    let scope = engine.device().push_error_scope(wgpu::ErrorFilter::Validation);
    let bound = kernel.bind(&AttentionTensors::new(bound, bound, bound, &output));
    drop(scope);
    is_lost("bind", bound)?;
    works_anew()
}

#[test]
fn after_submitting() -> Result<()> {
    let Some(engine) = engine()? else { return Ok(()) };
    let kernel = block_on(engine.prepare(&engine.plan(&spec())?))?;
    let inputs = spec().random_inputs(1);
    let buffers: Vec<(&str, wgpu::Buffer)> = inputs
        .iter()
        .map(|(name, tensor)| Ok((&**name, block_on(engine.upload(name, tensor, Dtype::F32))?)))
        .collect::<Result<_>>()?;
    let output = block_on(engine.buffer("o", 17 * 8 * 4))?;
    let mut bound: Vec<(&str, &wgpu::Buffer)> =
        buffers.iter().map(|(name, buffer)| (*name, buffer)).collect();
    bound.push(("o", &output));
    let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    kernel.bind(&bound)?.encode(&mut encoder);
    engine.queue().submit([encoder.finish()]);
    engine.device().destroy();
    is_lost("read back", block_on(engine.read_back(&output, &[17, 8], Dtype::F32)))?;
    works_anew()
}

#[test]
fn a_lost_device_makes_no_engine() -> Result<()> {
    let Some(engine) = engine()? else { return Ok(()) };
    let (device, queue) = (engine.device().clone(), engine.queue().clone());
    device.destroy();
    is_lost("from_device", Engine::from_device(device, queue))?;
    works_anew()
}

fn works_anew() -> Result<()> {
    let engine = engine()?.context("the adapter is gone")?;
    let kernel = block_on(engine.prepare(&engine.plan(&spec())?))?;
    let inputs = spec().random_inputs(1);
    let outputs = block_on(engine.run(&kernel, &harness::borrowed(&inputs)))?;
    let expected = spec().reference(&harness::borrowed(&inputs), foveal_kernels::testing::Rows::All)?;
    let compared = foveal::testing::compare(&expected[0], &outputs[0].1, spec().tolerance("o"))?;
    ensure!(compared.passed, "{}", harness::describe(&compared));
    let _: &HostTensor = &outputs[0].1;
    Ok(())
}
