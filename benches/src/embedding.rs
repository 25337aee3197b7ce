//! Figures of a guest in another program's frame: the cost of recording, and how well slices keep to their budget.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use foveal::{Constraints, Engine, Kernel, wgpu};
use foveal_kernels::Problem;
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::linear_attention::{Gate, LinearAttention, LinearShape, Rule};

use crate::{Figure, dense};

/// The time that a slice should take.
const BUDGET: Duration = Duration::from_millis(4);
/// Turns of the sliced job and of the whole kernel, side by side.
const TURNS: usize = 7;

pub(crate) async fn measure(engine: &Engine, bars: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut figure = |what: String, value: f64, unit: &'static str, bar: Option<f64>| {
        figures.push(Figure { what, value, unit, bar: bar.filter(|_| bars), more: false });
    };
    let chunked = chunked_of(4096);
    for (name, spec, variant) in [
        ("attention, one pass", &dense(512, 64) as &dyn Problem, None),
        ("chunked delta rule, five passes", &chunked, Some("chunked")),
    ] {
        let kernel = prepare(engine, spec, variant, None).await?;
        let recording = recording(engine, &kernel).await?;
        figure(format!("binding a kernel: {name}"), micros(recording.bind), "us", None);
        figure(format!("recording a bound kernel: {name}"), micros(recording.encode), "us", Some(20.0));
        figure(
            format!("the same with its share of finishing the encoder: {name}"),
            micros(recording.finish),
            "us",
            None,
        );
        figure(format!("the same in a pass that is open: {name}"), micros(recording.in_pass), "us", None);
    }
    let many = || Attention::new(Shape::bhtd(1, 64, 1024, 64));
    for (name, spec, variant, workgroup) in [
        ("64 heads, T=1024", &many() as &dyn Problem, None, None),
        ("64 heads, T=1024, causal", &many().causal(), None, None),
        ("8 heads, T=4096", &dense(4096, 64), None, None),
        ("8 heads, T=4096, keys split", &dense(4096, 64), None, Some(BUDGET / 8)),
        ("8 heads, T=4096, causal", &dense(4096, 64).causal(), None, None),
        ("delta rule by chunks, 8 heads, T=8192", &chunked_of(8192), Some("chunked"), None),
    ] {
        let kernel = prepare(engine, spec, variant, workgroup).await?;
        let sliced = slices(engine, &kernel).await?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        figure(format!("slices of 4 ms: the whole job, {name}"), ms(sliced.whole), "ms", None);
        figure(format!("slices of 4 ms: median, {name}"), ms(sliced.median), "ms", None);
        figure(format!("slices of 4 ms: 95th percentile, {name}"), ms(sliced.p95), "ms", Some(6.0));
        figure(format!("slices of 4 ms: all of them over the whole, {name}"), sliced.ratio, "", Some(1.1));
    }
    Ok(figures)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn chunked_of(len: usize) -> LinearAttention {
    LinearAttention::new(LinearShape::bhtd(1, 8, len, 64)).rule(Rule::Delta).gate(Gate::Scalar)
}

async fn prepare(
    engine: &Engine,
    spec: &dyn Problem,
    variant: Option<&str>,
    workgroup_time: Option<Duration>,
) -> Result<Kernel> {
    let constraints = variant.map_or_else(Constraints::default, Constraints::variant);
    let constraints = Constraints { workgroup_time, ..constraints };
    Ok(engine.prepare_exact(&engine.plan_with(spec, &constraints)?).await?)
}

/// Buffers for all of a kernel's tensors, the inputs random.
async fn tensors(engine: &Engine, kernel: &Kernel) -> Result<Vec<(String, wgpu::Buffer)>> {
    let inputs = kernel.plan().problem.random_inputs(1);
    let mut tensors = Vec::new();
    for tensor_spec in &kernel.plan().tensors {
        let buffer = match inputs.iter().find(|(name, _)| *name == tensor_spec.name) {
            Some((_, tensor)) if tensor_spec.access.reads() => {
                engine.upload(&tensor_spec.name, tensor, tensor_spec.dtype).await?
            }
            _ => engine.buffer(&tensor_spec.name, tensor_spec.size_bytes()).await?,
        };
        tensors.push((tensor_spec.name.to_string(), buffer));
    }
    Ok(tensors)
}

fn named(tensors: &[(String, wgpu::Buffer)]) -> Vec<(&str, &wgpu::Buffer)> {
    tensors.iter().map(|(name, buffer)| (name.as_str(), buffer)).collect()
}

fn encoder(engine: &Engine) -> wgpu::CommandEncoder {
    engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
}

/// The medians of what a kernel takes on the host.
struct Recording {
    bind: Duration,
    encode: Duration,
    /// With its share of finishing the encoder.
    finish: Duration,
    /// Without a compute pass of its own.
    in_pass: Duration,
}

async fn recording(engine: &Engine, kernel: &Kernel) -> Result<Recording> {
    const RUNS: u32 = 20;
    let tensors = tensors(engine, kernel).await?;
    let bound = kernel.bind(&named(&tensors))?;
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..100 {
        let mut whole = encoder(engine);
        let started = Instant::now();
        for _ in 0..RUNS {
            bound.encode(&mut whole);
        }
        times[1].push(started.elapsed() / RUNS);
        drop(whole.finish());
        times[2].push(started.elapsed() / RUNS);
    }
    for _ in 0..100 {
        let mut whole = encoder(engine);
        let mut pass = whole.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let started = Instant::now();
        for _ in 0..RUNS {
            bound.encode_in_pass(&mut pass);
        }
        times[3].push(started.elapsed() / RUNS);
    }
    // Last, as wgpu's lists of resources grow with thousands of bind groups.
    for _ in 0..100 {
        let started = Instant::now();
        for _ in 0..RUNS {
            kernel.bind(&named(&tensors))?;
        }
        times[0].push(started.elapsed() / RUNS);
    }
    let [bind, encode, finish, in_pass] = times.map(|mut times| quantile(&mut times, 0.5));
    Ok(Recording { bind, encode, finish, in_pass })
}

struct Sliced {
    whole: Duration,
    median: Duration,
    p95: Duration,
    ratio: f64,
}

/// A function that records something, and says whether there is more to come.
type Record<'r> = dyn FnMut(&mut wgpu::CommandEncoder) -> bool + 'r;

async fn slices(engine: &Engine, kernel: &Kernel) -> Result<Sliced> {
    let tensors = tensors(engine, kernel).await?;
    let bound = kernel.bind(&named(&tensors))?;
    let run = |record: &mut Record<'_>| {
        let mut encoder = encoder(engine);
        let started = Instant::now();
        let more = record(&mut encoder);
        engine.queue().submit([encoder.finish()]);
        engine.device().poll(wgpu::PollType::wait_indefinitely())?;
        anyhow::Ok((started.elapsed(), more))
    };
    let mut slices = bound.slices(BUDGET).await?;
    slices.calibrate().await?;
    let mut job = slices.start().await?;
    let (mut each, mut ratios, mut wholes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (whole, _) = run(&mut |encoder| {
            bound.encode(encoder);
            false
        })?;
        let mut all = Duration::ZERO;
        job.restart();
        loop {
            let (took, more) = run(&mut |encoder| !job.encode(encoder).finished)?;
            // As a host tells that measures its frames.
            job.took(took);
            all += took;
            each.push(took);
            if !more {
                break;
            }
        }
        wholes.push(whole);
        ratios.push(all.as_secs_f64() / whole.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    ensure!(each.len() > TURNS, "the job was not cut");
    Ok(Sliced {
        whole: quantile(&mut wholes, 0.5),
        median: quantile(&mut each, 0.5),
        p95: quantile(&mut each, 0.95),
        ratio: ratios[ratios.len() / 2],
    })
}

fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = (q * times.len().saturating_sub(1) as f64).round() as usize;
    times.get(index).copied().unwrap_or_default()
}
