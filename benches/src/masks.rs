//! Figures of masks: what skipping blocks saves, and what expressions cost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use foveal::{Constraints, Engine, HostTensor, wgpu};
use foveal_kernels::attention::{Attention, Mask, Shape};
use foveal_kernels::block_mask::{BlockGrid, BlockMask};
use foveal_kernels::testing::Reference;

use crate::{Figure, dense, time};

/// The median of a few runs: long ones differ little.
async fn median(engine: &Engine, spec: &Attention) -> Result<Duration> {
    time(engine, spec, &Constraints::default(), 9).await
}

/// Every figure with its bar; the bars are lavapipe's.
pub(crate) async fn measure(engine: &Engine, bars: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut figure = |what: String, value: f64, unit: &'static str, bar: f64, more: bool| {
        figures.push(Figure { what, value, unit, bar: bars.then_some(bar), more });
    };
    let over = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();

    let grid = BlockGrid::new(4096, 4096, 64, 64).per(1, 8);
    for density in [0.9, 0.5, 0.25, 0.1, 0.05] {
        let lists = BlockMask::random(grid, density, 1)?;
        // One after the other, and dense again with every density: the machine may slow down in between.
        let all = median(engine, &dense(4096, 64)).await?;
        let some = median(engine, &dense(4096, 64).block_mask(lists)).await?;
        let bar = if density > 0.5 { 1.0 } else { density + 0.05 };
        figure(
            format!("random blocks of 64, density {density}, over dense time, T=4096"),
            over(some, all),
            "",
            bar,
            false,
        );
    }
    for (text, len, bar) in [("causal & window(255, 0)", 8192, 0.10), ("disc(64, 8)", 4096, 0.20)] {
        let all = median(engine, &dense(len, 64)).await?;
        let some = median(engine, &dense(len, 64).mask(Mask::parse(text)?)).await?;
        figure(format!("{text} over dense time, T={len}"), over(some, all), "", bar, false);
    }
    let structural = median(engine, &dense(2048, 64).causal()).await?;
    let written = median(engine, &dense(2048, 64).mask(Mask::parse("k <= q + nk - nq")?)).await?;
    figure("k <= q + nk - nq over causal time, T=2048".into(), over(written, structural), "", 1.10, false);

    let long = Attention::new(Shape::bhtd(1, 8, 65_536, 64)).mask(Mask::parse("causal & window(1023, 0)")?);
    let started = Instant::now();
    std::hint::black_box(engine.plan(&long)?);
    figure(
        "plan with its lists, causal & window(1023, 0), T=65536".into(),
        started.elapsed().as_secs_f64() * 1e3,
        "ms",
        100.0,
        false,
    );

    let windows = Attention::new(Shape::bhtd(4096, 6, 49, 32));
    let together = median(engine, &windows).await?;
    let apart = window_by_window(engine, 4096).await?;
    figure(
        "4096 Swin windows, a dispatch each over one for all".into(),
        over(apart, together),
        "",
        10.0,
        true,
    );
    // The dense path visits all pairs of a raster of windows: of 64 windows here, as 4096 would take minutes.
    let raster = median(engine, &Attention::new(Shape::bhtd(1, 6, 3136, 32))).await?;
    let of_raster = median(engine, &Attention::new(Shape::bhtd(64, 6, 49, 32))).await?;
    figure(
        "a raster of 64 Swin windows, dense over window by window".into(),
        over(raster, of_raster),
        "",
        5.0,
        true,
    );
    Ok(figures)
}

/// The time of a dispatch for each window, recorded into one encoder and submitted once.
async fn window_by_window(engine: &Engine, count: u64) -> Result<Duration> {
    let spec = Attention::new(Shape::bhtd(1, 6, 49, 32));
    let kernel = engine.prepare(&engine.plan(&spec)?).await?;
    let window = kernel.plan().tensor("q").context("q")?.size_bytes();
    let owned = spec.random_inputs(7);
    let mut buffers = Vec::new();
    for name in ["q", "k", "v", "o"] {
        let buffer = engine.buffer(name, window * count).await?;
        if let Some((_, tensor)) = owned.iter().find(|(given, _)| given == name) {
            let bytes = HostTensor::to_bytes(tensor, spec.dtype);
            for index in 0..count {
                engine.queue().write_buffer(&buffer, index * window, &bytes);
            }
        }
        buffers.push((name, buffer));
    }
    let mut windows = Vec::new();
    for index in 0..count {
        let range = index * window..(index + 1) * window;
        let slices: Vec<_> =
            buffers.iter().map(|(name, buffer)| (*name, buffer.slice(range.clone()))).collect();
        windows.push(kernel.bind(&slices)?);
    }
    let once = || -> Result<Duration> {
        let started = Instant::now();
        let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for window in &windows {
            window.encode(&mut encoder);
        }
        engine.queue().submit([encoder.finish()]);
        engine.device().poll(wgpu::PollType::wait_indefinitely())?;
        Ok(started.elapsed())
    };
    once()?;
    let mut times = [once()?, once()?, once()?];
    times.sort_unstable();
    Ok(times[1])
}
