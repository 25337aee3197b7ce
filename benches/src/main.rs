//! The figures of docs/BENCHMARKS.md, measured on one adapter in one run: `cargo run --release -p foveal-benches`.
//!
//! Ratios only: a share of the FMA peak that is measured in the same run, or one time over another. `--json` prints them as
//! one document; `attention`, `masks`, `linear`, `serving`, `embedding` choose some of them. The process times need the `foveal` command beside this one: `cargo build --release` makes it.

mod embedding;
mod linear;
mod masks;
mod process;
mod serving;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use foveal::{
    Constraints, Dtype, Engine, HostTensor, Options, Problem, Timing,
    testing::{Rows, compare},
};
use foveal_kernels::Name;
use foveal_kernels::attention::{Attention, Shape};
use serde::Serialize;

/// A figure, with the bar it was meant to reach.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) bar: Option<f64>,
    /// Whether more is better.
    pub(crate) more: bool,
}

impl Figure {
    fn met(&self) -> Option<bool> {
        self.bar.map(|bar| if self.more { self.value >= bar } else { self.value <= bar })
    }
}

#[derive(Serialize)]
struct Report {
    adapter: String,
    peak_gflops: f64,
    figures: Vec<Figure>,
}

fn main() -> Result<()> {
    let (flags, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    for given in flags.iter().chain(&wanted) {
        let known = ["--json", "attention", "masks", "linear", "serving", "embedding"];
        anyhow::ensure!(
            known.contains(&given.as_str()),
            "expected some of {}, got `{given}`",
            known.join(", ")
        );
    }
    let json = !flags.is_empty();
    let report = pollster::block_on(measure(&wanted))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("{}, FMA peak {:.0} GFLOP/s\n", report.adapter, report.peak_gflops);
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["figure", "measured", "bar", ""]);
    for figure in &report.figures {
        let sign = if figure.more { ">=" } else { "<=" };
        let bar = figure.bar.map_or(String::new(), |bar| format!("{sign} {bar} {}", figure.unit));
        let met = figure.met().map_or("", |met| if met { "met" } else { "missed" });
        table.add_row([
            figure.what.clone(),
            format!("{:.3} {}", figure.value, figure.unit),
            bar,
            met.to_owned(),
        ]);
    }
    println!("{table}");
    Ok(())
}

pub(crate) fn dense(len: usize, dim: usize) -> Attention {
    Attention::new(Shape::bhtd(1, 8, len, dim))
}

async fn measure(wanted: &[String]) -> Result<Report> {
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let engine = Engine::new(Options::default()).await.context("these figures need an adapter")?;
    let software = engine.profile().name.to_lowercase();
    let four_wide = software.contains("swiftshader");
    // Measured before and after, so that a machine that slows down in between does not flatter us.
    let before = engine.measure_roofline().await?;
    // The first kernel of a process also warms caches and clocks.
    median(&engine, &dense(512, 64)).await?;
    let mut figures = Vec::new();
    let mut peak = before.peak_gflops();
    if wants("attention") {
        figures.extend(attention(&engine, four_wide, &mut peak).await?);
    }
    if wants("masks") {
        figures.extend(masks::measure(&engine, !four_wide).await?);
    }
    if wants("linear") {
        figures.extend(linear::measure(&engine, !four_wide).await?);
    }
    if wants("serving") {
        figures.extend(serving::measure(&engine, !four_wide).await?);
    }
    if wants("embedding") {
        figures.extend(embedding::measure(&engine, !four_wide).await?);
    }
    Ok(Report { adapter: engine.profile().name.clone(), peak_gflops: peak, figures })
}

/// The figures of attention without masks. `peak` is raised if the machine is found to be faster than it was.
async fn attention(engine: &Engine, four_wide: bool, peak: &mut f64) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let plain = median(engine, &dense(1024, 64)).await?;
    let wide = median(engine, &dense(1024, 128)).await?;
    let after = engine.measure_roofline().await?;
    *peak = peak.max(after.peak_gflops());
    let peak = *peak;
    let bar = |lavapipe: f64, swiftshader: f64| Some(if four_wide { swiftshader } else { lavapipe });
    let mut figure = |what: &str, value: f64, unit: &'static str, bar: Option<f64>, more: bool| {
        figures.push(Figure { what: what.to_owned(), value, unit, bar, more });
    };
    let share = |spec: &Attention, time: Duration| spec.work().flops / time.as_secs_f64() / 1e9 / peak;
    figure("dense T=1024 D=64, of the FMA peak", share(&dense(1024, 64), plain), "", bar(0.35, 0.30), true);
    figure("dense T=1024 D=128, of the FMA peak", share(&dense(1024, 128), wide), "", bar(0.25, 0.20), true);

    let long = median(engine, &dense(2048, 64)).await?;
    let causal = median(engine, &dense(2048, 64).causal()).await?;
    let over = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    figure("causal over dense time, T=2048", over(causal, long), "", Some(0.60), false);
    let half = median(engine, &dense(1024, 64).dtype(Dtype::F16)).await?;
    figure("f16 over f32 time, T=1024", over(half, plain), "", bar(1.1, 1.3), false);
    let naive = time(engine, &dense(1024, 64), &Constraints::variant("naive"), 5).await?;
    figure("naive over chosen time, T=1024", over(naive, plain), "", None, true);

    let plan = engine.plan(&dense(16_384, 64))?;
    #[expect(clippy::cast_precision_loss, reason = "shown in megabytes")]
    let scratch = plan.scratch_bytes() as f64 / 1e6;
    figure("memory beyond inputs and outputs, T=16384", scratch, "MB", Some(1.0), false);
    figure("plan", planning(engine)?.as_secs_f64() * 1e3, "ms", Some(1.0), false);
    figure("specialise the dense kernel", specialising(engine)?.as_secs_f64() * 1e3, "ms", Some(20.0), false);
    if let Some([cold, warm]) = process::first_results(&engine.profile().name)? {
        figure("first result of a fresh process, nothing cached", cold.as_secs_f64(), "s", Some(8.0), false);
        figure(
            "first result of a fresh process, pipelines cached",
            warm.as_secs_f64(),
            "s",
            (!four_wide).then_some(1.0),
            false,
        );
    }
    Ok(figures)
}

async fn median(engine: &Engine, spec: &Attention) -> Result<Duration> {
    time(engine, spec, &Constraints::default(), 30).await
}

/// The median time of a problem, after its result was checked.
pub(crate) async fn time(
    engine: &Engine,
    spec: &dyn Problem,
    constraints: &Constraints,
    repeats: usize,
) -> Result<Duration> {
    time_of(engine, spec, spec.random_inputs(7), constraints, repeats).await
}

/// The same with these inputs.
pub(crate) async fn time_of(
    engine: &Engine,
    spec: &dyn Problem,
    owned: Vec<(Name, HostTensor)>,
    constraints: &Constraints,
    repeats: usize,
) -> Result<Duration> {
    let kernel = engine.prepare(&engine.plan_with(spec, constraints)?).await?;
    let inputs: Vec<(&str, &HostTensor)> = owned.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let outputs = engine.run(&kernel, &inputs).await?;
    for expected in spec.reference(&inputs, Rows::affordable(&spec.work(), 1))? {
        let found = outputs.iter().find(|(name, _)| *name == expected.name);
        let (name, actual) = found.context("an output is missing")?;
        let comparison = compare(&expected, actual, spec.tolerance(name))?;
        anyhow::ensure!(
            comparison.passed,
            "{} is wrong: relative RMSE {:e}",
            spec.describe(),
            comparison.rel_rmse
        );
    }
    Ok(engine.benchmark(&kernel, &inputs, Timing { warm_up: 3, repeats }).await?.median())
}

/// The median time of making a plan.
fn planning(engine: &Engine) -> Result<Duration> {
    let mut times = Vec::new();
    for len in 1000..1101 {
        let start = Instant::now();
        std::hint::black_box(engine.plan(&dense(len, 64))?);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// The median time of specialising the kernels of a dense problem.
fn specialising(engine: &Engine) -> Result<Duration> {
    let plan = engine.plan(&dense(1024, 64))?;
    let library = foveal::shaders::Library::builtin();
    let mut times = Vec::new();
    for _ in 0..30 {
        let start = Instant::now();
        for request in plan.requests() {
            std::hint::black_box(library.specialise(request)?);
        }
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
