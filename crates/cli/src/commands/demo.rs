//! `foveal demo`: three numbers to trust, on real data, and a picture.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::{ArgMatches, parser::ValueSource};
use foveal_kernels::{
    HostTensor, Name, OptionMap, Problem,
    testing::{Expected, Rows},
};
use serde_json::{Map, Value, json};

use crate::commands::Verdict;
use crate::device::{Choice, Device, how_to_get_one};
use crate::failure::one_line;
use crate::io::{self, OutputPath};
use crate::job::Job;
use crate::measure::{self, Measured, Times};
use crate::picture::{self, Weights, png, terminal};
use crate::ui::{self, Ui};
use crate::verify::{self, Checked};

/// Inputs and outputs of a real model's attention; `data/README.md` says where they come from.
const SAMPLE: &[u8] = include_bytes!("../../data/sample.safetensors");

/// A variant is measured about this long, and the large shape.
const VARIANT_LIMIT: Duration = Duration::from_millis(300);
const LARGE_LIMIT: Duration = Duration::from_secs(2);

/// Characters that the picture in the terminal is wide.
const COLUMNS: usize = 64;

/// The sample, ready to run.
struct Sample {
    job: Job,
    title: String,
    model: String,
    heads: Vec<String>,
    /// The shape that is large enough for rates to mean something.
    bench_shape: String,
    stored: Vec<Expected>,
}

/// A variant's result on the sample.
struct Shown {
    variant: String,
    against_stored: Checked,
    against_reference: Checked,
    times: Option<Times>,
}

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let sample = sample()?;
    let picture = Picture::prepare(matches, ui)?;
    let problem = &*sample.job.problem;
    ui.line(format!("{}: {}, {}", sample.title, sample.model, problem.describe()));

    let choice = Choice::of(matches);
    let device = Device::open_quietly(&choice)?;
    let weights = weights(&sample)?;
    let (outcome, mut document, summary) = match &device {
        Some(device) => on_device(device, &sample, ui)?,
        None => on_cpu(&sample, &choice, ui)?,
    };
    show(ui, &weights);
    let place = picture.write(&sample, &weights, &summary, ui);
    document.insert("picture".into(), json!(place));
    document.insert(
        "sample".into(),
        json!({"title": sample.title, "model": sample.model, "shape": problem.shape()}),
    );
    ui.document(&Value::Object(document));
    Ok(outcome)
}

fn sample() -> Result<Sample> {
    let file = io::parse(SAMPLE)?;
    let text = |key: &str| file.metadata.get(key).cloned().unwrap_or_default();
    let (title, model, bench_shape) = (text("title"), text("model"), text("bench_shape"));
    let heads = serde_json::from_str(&text("heads"))?;
    let job = Job::new(file, None, None, |_| Ok(OptionMap::new()))?;
    let stored = verify::stored(&job.problem.tensors(), |name| job.tensor(name))?;
    Ok(Sample { job, title, model, heads, bench_shape, stored })
}

fn weights(sample: &Sample) -> Result<Vec<Weights>> {
    let find = |name: &str| {
        let tensor = sample.job.tensor(name)?;
        tensor.ok_or_else(|| anyhow!("the sample has no tensor `{name}`"))
    };
    let scale = sample.job.problem.options().number("scale");
    let scale = scale.ok_or_else(|| anyhow!("the sample says no scale"))?;
    picture::weights(&find("q")?, &find("k")?, scale, &sample.heads)
}

/// The verdict, what `--json` prints, and a line for the picture.
type Told = (Verdict, Map<String, Value>, String);

fn on_device(device: &Device, sample: &Sample, ui: Ui) -> Result<Told> {
    ui.line(format!("on {} ({}, {})\n", device.name(), device.profile().backend, device.profile().driver));
    let bar = ui.progress(sample.job.operator.variants().len() + 2, "demo");
    bar.set_message("measuring the adapter");
    let peak = device.try_roofline(ui).map(|roofline| roofline.peak_gflops());
    bar.inc(1);
    let (shown, left_out) = every_variant(device, sample, &bar)?;
    bar.set_message(sample.bench_shape.clone());
    let large = sample.job.operator.problem_of_shape(&sample.bench_shape, &OptionMap::new())?;
    let measured = measure::measure(device, &*large, None, measure::REPEATS, LARGE_LIMIT)?;
    bar.finish_and_clear();

    variants_table(ui, &*sample.job.problem, &shown);
    for (variant, reason) in &left_out {
        ui.line(format!("{variant} was left out: {reason}"));
    }
    let errors = shown.iter().map(|shown| shown.against_stored.rel_rmse());
    let worst = errors.fold(0.0, f64::max);
    let allowed =
        shown.iter().flat_map(|shown| &shown.against_stored.outputs).map(|output| output.tolerance.rel_rmse);
    let passed = !shown.is_empty()
        && measured.checked.passed()
        && shown.iter().all(|shown| shown.against_stored.passed() && shown.against_reference.passed());
    for complaint in complaints(&shown, &measured) {
        ui.line(format!("WRONG  {complaint}"));
    }
    let allowed = allowed.fold(f64::INFINITY, f64::min);
    ui.line("\nThree numbers to trust");
    let right = if passed { "yes" } else { "NO" };
    ui.line(format!(
        "  right?     {right}: at most {worst:.1e} off the stored output of the model (relative RMSE; {allowed:.0e} allowed)"
    ));
    let mut document = Map::new();
    if let Some(times) = measured.times {
        let gflops = times.rate(large.work().flops);
        ui.line(format!(
            "  how fast?  {} GFLOP/s: {} for {} with {}",
            ui::three(gflops),
            ui::time(times.median),
            large.describe(),
            measured.variant
        ));
        if let Some(peak) = peak {
            let (share, peak) = (ui::percent(gflops / peak), ui::three(peak));
            ui.line(format!("  limit?     {share} of the {peak} GFLOP/s that this adapter can do at most"));
        }
    }
    document.insert("adapter".into(), json!(device.name()));
    document.insert("passed".into(), json!(passed));
    document.insert("peak_gflops".into(), json!(peak));
    document.insert("variants".into(), shown.iter().map(json_row).collect());
    let gflops = measured.times.map(|times| times.rate(large.work().flops));
    document.insert(
        "large".into(),
        json!({
            "shape": large.shape(),
            "variant": measured.variant,
            "median_ms": measured.times.map(|times| times.median.as_secs_f64() * 1e3),
            "gflops": gflops,
            "roofline_share": gflops.zip(peak).map(|(gflops, peak)| gflops / peak),
        }),
    );
    let summary =
        format!("checked on {}: {worst:.1e} off the model's own output (relative RMSE)", device.name());
    Ok((Verdict::of(passed), document, summary))
}

/// A variant that cannot run here, and why.
type LeftOut = (String, String);

/// Every variant that can run here, and those that cannot with the reason.
fn every_variant(
    device: &Device,
    sample: &Sample,
    bar: &indicatif::ProgressBar,
) -> Result<(Vec<Shown>, Vec<LeftOut>)> {
    let problem = &*sample.job.problem;
    let inputs = sample.job.inputs()?;
    let reference = problem.reference(&inputs, Rows::All)?;
    let (mut shown, mut left_out) = (Vec::new(), Vec::new());
    for variant in sample.job.operator.variants() {
        bar.set_message(variant.name);
        let kernel = device.plan(problem, Some(variant.name)).and_then(|plan| device.prepare(&plan, true));
        bar.inc(1);
        let kernel = match kernel {
            Ok(kernel) => kernel,
            Err(error) => {
                left_out.push((variant.name.to_owned(), one_line(&error)));
                continue;
            }
        };
        let outputs = device.run(&kernel, &inputs)?;
        let against_stored = Checked::new(problem, &sample.stored, &outputs)?;
        let against_reference = Checked::new(problem, &reference, &outputs)?;
        let right = against_stored.passed() && against_reference.passed();
        let times = right
            .then(|| measure::time(device, &kernel, &inputs, measure::REPEATS, VARIANT_LIMIT))
            .transpose()?;
        shown.push(Shown { variant: variant.name.to_owned(), against_stored, against_reference, times });
    }
    Ok((shown, left_out))
}

fn variants_table(ui: Ui, problem: &dyn Problem, shown: &[Shown]) {
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|shown| {
            let error = |checked: &Checked| {
                format!("{} {:.1e}", if checked.passed() { "right" } else { "WRONG" }, checked.rel_rmse())
            };
            vec![
                shown.variant.clone(),
                error(&shown.against_stored),
                error(&shown.against_reference),
                shown.times.map_or_else(String::new, |times| ui::time(times.median)),
                shown.times.map_or_else(String::new, |times| ui::three(times.rate(problem.work().flops))),
            ]
        })
        .collect();
    ui.line(ui::table(
        &["variant", "vs the model", "vs the f64 reference", "median", "GFLOP/s"],
        &rows,
        3..5,
    ));
}

fn complaints(shown: &[Shown], measured: &Measured) -> Vec<String> {
    let of = |shown: &Shown| {
        let checks = [&shown.against_stored, &shown.against_reference];
        checks
            .iter()
            .find_map(|checked| checked.complaint())
            .map(|complaint| format!("{}: {complaint}", shown.variant))
    };
    let large = measured.checked.complaint().map(|complaint| format!("{}: {complaint}", measured.variant));
    shown.iter().filter_map(of).chain(large).collect()
}

fn json_row(shown: &Shown) -> Value {
    json!({
        "variant": shown.variant,
        "rel_rmse_stored": shown.against_stored.rel_rmse(),
        "rel_rmse_reference": shown.against_reference.rel_rmse(),
        "passed": shown.against_stored.passed() && shown.against_reference.passed(),
        "median_ms": shown.times.map(|times| times.median.as_secs_f64() * 1e3),
    })
}

fn on_cpu(sample: &Sample, choice: &Choice, ui: Ui) -> Result<Told> {
    if !choice.is_cpu() {
        ui.line(format!("No adapter was found; {}.", how_to_get_one()));
    }
    ui.line("Computing with the f64 reference on the CPU.\n");
    let start = Instant::now();
    let reference = sample.job.problem.reference(&sample.job.inputs()?, Rows::All)?;
    let took = start.elapsed();
    let outputs: Vec<(Name, HostTensor)> = reference
        .iter()
        .map(|output| Ok((output.name.clone(), output.to_tensor()?)))
        .collect::<Result<_>>()?;
    let checked = Checked::new(&*sample.job.problem, &sample.stored, &outputs)?;
    let error = checked.rel_rmse();
    let right = if checked.passed() { "yes" } else { "NO" };
    ui.line(format!("  right?     {right}: {error:.1e} off the stored output of the model (relative RMSE)"));
    ui.line(format!("  how fast?  {} on the CPU, which is not what it is for", ui::time(took)));
    let mut document = Map::new();
    document.insert("adapter".into(), Value::Null);
    document.insert("passed".into(), json!(checked.passed()));
    document.insert("rel_rmse_stored".into(), json!(error));
    document.insert("time_ms".into(), json!(took.as_secs_f64() * 1e3));
    let summary = format!("reference on the CPU: {error:.1e} off the model's own output (relative RMSE)");
    Ok((Verdict::of(checked.passed()), document, summary))
}

/// One head in the terminal: the last, whose layer has settled on few keys.
fn show(ui: Ui, weights: &[Weights]) {
    let Some(head) = weights.last() else { return };
    let Weights { label, queries, keys, .. } = head;
    ui.line(format!(
        "\nWho attends to whom: {label}, {queries} queries down, {keys} keys across, brighter is more"
    ));
    ui.line(terminal::heat_map(head, COLUMNS, terminal::Shades::of_stdout()).trim_end_matches('\n'));
}

/// A place for the picture. Without one that was asked for, it is left out with a warning.
struct Picture {
    path: PathBuf,
    place: Option<OutputPath>,
}

impl Picture {
    fn prepare(matches: &ArgMatches, ui: Ui) -> Result<Self> {
        let path = matches.get_one::<PathBuf>("png").cloned().unwrap_or_default();
        let asked = matches.value_source("png") == Some(ValueSource::CommandLine);
        let place = match OutputPath::prepare(&path, &[]) {
            Ok(place) => Some(place),
            Err(error) if asked => return Err(error),
            Err(error) => {
                ui.warn(format!("there will be no picture: {}", one_line(&error)));
                None
            }
        };
        Ok(Self { path, place })
    }

    fn write(self, sample: &Sample, weights: &[Weights], summary: &str, ui: Ui) -> Option<String> {
        let place = self.place?;
        let positions = weights.first().map_or(0, |head| head.keys);
        let lines = [
            format!(
                "{}, {positions} tokens, four of its heads. A row is a token that asks, a column one that is",
                sample.model
            ),
            "asked; its colour is the share of attention, computed in f64 from the sample's q and k."
                .to_owned(),
        ];
        let caption = png::Caption { title: &sample.title, lines: &lines, foot: summary };
        match png::write(&png::draw(weights, &caption), &place) {
            Ok(()) => {
                ui.line(format!("\nAll heads as a picture: {}", shown(&self.path)));
                Some(self.path.display().to_string())
            }
            Err(error) => {
                ui.warn(format!("the picture was not written: {}", one_line(&error)));
                None
            }
        }
    }
}

fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
