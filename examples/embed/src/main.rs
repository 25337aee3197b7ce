//! A host with a device of its own adds one attention to its frame.
//!
//! The host draws a noisy photo. Attention, recorded into the same encoder, lets every pixel look at those around it and
//! take the colour of what resembles it. The host draws the result from the very buffer that attention wrote. What is
//! Foveal's is in `frame`; the rest of the host is in `host.rs`.

mod host;
mod photo;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use foveal::{
    Attention, AttentionTensors, Dtype, Engine, Mask, Problem, Shape,
    testing::{Reference, Rows, compare},
    wgpu,
};

use crate::host::{Screen, say};
use crate::photo::{COLOURS, FEATURES, Photo, SIDE};

/// Exit codes: 0 the frame is written and right, 1 it is wrong or a step failed, 2 no device.
fn main() -> ExitCode {
    let told = |error: Box<dyn Error>| host::complain(&error);
    match pollster::block_on(open()).map_err(told) {
        Err(()) => ExitCode::from(2),
        Ok((device, queue)) => match pollster::block_on(frame(&device, &queue)).map_err(told) {
            Err(()) => ExitCode::from(1),
            Ok(()) => ExitCode::SUCCESS,
        },
    }
}

/// The host's own device, which asks for what makes Foveal fast where it is there; none of it is needed.
async fn open() -> Result<(wgpu::Device, wgpu::Queue), Box<dyn Error>> {
    let adapter = host::adapter().await?;
    let descriptor = wgpu::DeviceDescriptor {
        required_features: Engine::desired_features(&adapter),
        required_limits: Engine::desired_limits(&adapter),
        ..wgpu::DeviceDescriptor::default()
    };
    let (device, queue) = adapter.request_device(&descriptor).await?;
    // wgpu panics on errors without a handler. Foveal handles its own, and leaves this to the host.
    device.on_uncaptured_error(Arc::new(|error: wgpu::Error| host::complain(&error)));
    Ok((device, queue))
}

async fn frame(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), Box<dyn Error>> {
    // Once: what is computed, how, and is it right on this adapter?
    let engine = Engine::from_device(device.clone(), queue.clone())?;
    let shape = Shape::bhtd(1, 1, SIDE * SIDE, FEATURES).value_dim(COLOURS);
    let nearby = Mask::parse(&format!("disc({SIDE}, 12)"))?;
    let problem = Attention::new(shape).scale(1.0).mask(nearby);
    let plan = engine.plan(&problem)?;
    say(format_args!("{plan}"));
    let kernel = engine.prepare(&plan).await?;

    // The host's own buffers. Foveal asks for the usage STORAGE, and for no more.
    let photo = Photo::new()?;
    let [q, k, v] = photo.tensors().map(|(name, tensor)| host::upload(device, name, tensor));
    let o = host::buffer(device, "o", v.size());
    let bound = kernel.bind(&AttentionTensors::new(&q, &k, &v, &o))?;
    let screen = Screen::new(device);
    let (before, after) = (screen.panel(device, &v, 0), screen.panel(device, &o, 1));

    // Every frame: `encode` records between the host's own passes. It neither submits nor waits, and cannot fail.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    screen.clear_and_draw(&mut encoder, &before);
    bound.encode(&mut encoder);
    screen.draw_over(&mut encoder, &after);
    queue.submit([encoder.finish()]);

    // The picture, and whether o agrees with the definition in f64.
    let got = engine.read_back(&o, &[1, 1, SIDE * SIDE, COLOURS], Dtype::F32).await?;
    screen.save(&engine, "embed.png", [(&before, photo.colours()), (&after, &got)]).await?;
    let inputs = photo.tensors();
    let expected = problem.reference(&inputs, Rows::affordable(&problem.work(), 1))?;
    let comparison = compare(&expected[0], &got, problem.tolerance("o"))?;
    let (off, allowed) = (comparison.rel_rmse, comparison.tolerance.rel_rmse);
    let verdict = if comparison.passed { "right" } else { "WRONG" };
    say(format_args!(
        "o is {verdict}: {off:.1e} off the f64 reference (relative RMSE; {allowed:.0e} allowed)"
    ));
    comparison.passed.then_some(()).ok_or_else(|| "attention is wrong on this adapter".into())
}
