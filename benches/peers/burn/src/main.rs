//! burn's attention, measured as `foveal bench attention` measures Foveal's: checked, then the median of several runs.

mod check;
mod measure;
mod report;
mod shape;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

use crate::measure::{Measured, Path};
use crate::report::{Document, Row, three};
use crate::shape::Shape;

/// Measures burn's attention, compiled by way of WGSL: dense, f32
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Shapes to measure: BxHxTxD, T and D optionally as Tq:Tk and Dk:Dv
    #[arg(value_name = "SHAPE", default_values = ["1x8x512x64", "1x8x1024x64"])]
    shapes: Vec<Shape>,
    /// Measurements of each
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Adapter by a part of its name; by default that of --foveal, or burn's choice
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Also measure burn's attention of separate operations, which it does not try by itself where T > D
    #[arg(long)]
    fallback: bool,
    /// Print one JSON document on stdout instead of text
    #[arg(long)]
    json: bool,
    /// Compare with what `foveal bench attention --json` printed into this file
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    foveal: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    // Before minutes of measuring, not after.
    let foveal = args.foveal.as_deref().map(Document::read).transpose()?;
    let wanted = args.adapter.as_deref().or(foveal.as_ref().map(|document| document.adapter.as_str()));
    let (device, adapter) = measure::device(wanted)?;
    eprintln!("burn {} on {adapter}", burn_version());

    let paths = if args.fallback { &[Path::Tuned, Path::Fallback][..] } else { &[Path::Tuned] };
    let mut results = Vec::new();
    for shape in &args.shapes {
        for &path in paths {
            let variant = variant(path);
            eprintln!(
                "{shape}: {variant}; the first call compiles and autotunes, which may take a minute or two"
            );
            let measured = measure::measure(&device, shape, path, args.repeat as usize)?;
            eprintln!("{shape}: the first call took {:.1} s", measured.first.as_secs_f64());
            let row = row(shape, variant, &measured);
            if !args.json {
                print(&row, &measured);
            }
            results.push(row);
        }
    }

    let burn = Document { adapter, results };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&burn)?);
    }
    if let Some(foveal) = foveal {
        println!("\n{}", report::compare(&foveal, &burn)?);
    }
    let right = burn.results.iter().all(|row| row.checked);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn variant(path: Path) -> String {
    let version = burn_version();
    match path {
        Path::Tuned => format!("burn {version}"),
        Path::Fallback => format!("burn {version} fallback"),
    }
}

/// The version that was built: the lock file names it.
fn burn_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let mut lines = lock.lines().skip_while(|&line| line != "name = \"burn\"").skip(1);
    lines.next().and_then(|line| line.split('"').nth(1)).unwrap_or("of unknown version")
}

fn row(shape: &Shape, variant: String, measured: &Measured) -> Row {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let median = measured.quantile(0.5);
    Row {
        op: "attention".into(),
        shape: shape.to_string(),
        dtype: "f32".into(),
        variant,
        median_ms: Some(ms(median)),
        p10_ms: Some(ms(measured.quantile(0.1))),
        p90_ms: Some(ms(measured.quantile(0.9))),
        gflops: Some(shape.flops() / median.as_secs_f64() / 1e9),
        checked: measured.accuracy.passed(),
    }
}

fn print(row: &Row, measured: &Measured) {
    let number = |value: Option<f64>| value.map(three).unwrap_or_default();
    println!(
        "{} {} {}  {}  median {} ms (p10 {}, p90 {})  {} GFLOP/s  {}: off by {:.1e} of RMS, {:.1e} at worst",
        row.op,
        row.shape,
        row.dtype,
        row.variant,
        number(row.median_ms),
        number(row.p10_ms),
        number(row.p90_ms),
        number(row.gflops),
        if row.checked { "right" } else { "WRONG" },
        measured.accuracy.rel_rmse,
        measured.accuracy.worst,
    );
}
