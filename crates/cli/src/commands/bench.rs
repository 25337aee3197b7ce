//! `foveal bench`: how fast, after checking that it is right.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::ArgMatches;
use foveal::Roofline;
use foveal_kernels::{Operator, Problem};
use serde_json::{Map, Value, json};

use crate::args;
use crate::commands::{Verdict, plan};
use crate::device::{Choice, Device};
use crate::failure::usage;
use crate::job::{check_variant, dtype_of, operators_of};
use crate::measure::{self, Measured};
use crate::ui::{self, Ui};

/// A row takes at most about this long, compilation aside.
const ROW_LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let operators = operators_of(args::string(matches, "op"))?;
    let variant = args::string(matches, "variant");
    let against = args::string(matches, "against");
    check_variant(variant, &operators)?;
    check_variant(against, &operators)?;
    let problems = problems(matches, &operators)?;
    let repeats = matches.get_one::<u32>("repeat").map_or(measure::REPEATS, |&repeats| repeats as usize);
    let device = Device::require(&Choice::of(matches), "bench")?;
    ui.line(format!("on {}", device.name()));

    let bar = ui.progress(problems.len() * (1 + usize::from(against.is_some())), "bench");
    let measured = |problem: &Arc<dyn Problem>, variant: Option<&str>| {
        bar.set_message(problem.describe());
        let result = measure::measure(&device, &**problem, variant, repeats, ROW_LIMIT);
        bar.inc(1);
        result
    };
    bar.set_message("measuring the adapter");
    let roofline = if matches.get_flag("no-roofline") { None } else { device.try_roofline(ui) };
    let roofline = roofline.as_ref();
    let mut pairs: Vec<(Measured, Option<Measured>)> = Vec::new();
    for (_, problem) in &problems {
        let first = measured(problem, variant)?;
        let second = against.map(|against| measured(problem, Some(against))).transpose()?;
        pairs.push((first, second));
    }
    bar.finish_and_clear();

    if let Some(roofline) = roofline {
        ui.line(format!(
            "measured in this run: {} GFLOP/s of FMAs{}, {} GB/s of memory; a problem's roof is the lower of its kernel's peak \
             and of what the memory can feed",
            ui::three(roofline.peak_gflops()),
            roofline
                .matrix_gflops()
                .map_or_else(String::new, |rate| format!(", {} of matrix units", ui::three(rate))),
            ui::three(roofline.memory_gbps)
        ));
    }
    print(ui, &problems, &pairs, roofline, against);
    let rows = problems.iter().zip(&pairs).flat_map(|((operator, problem), (first, second))| {
        std::iter::once(first)
            .chain(second)
            .map(|measured| json_row(operator.name(), &**problem, measured, roofline))
            .collect::<Vec<_>>()
    });
    ui.document(&json!({ "adapter": device.name(), "results": rows.collect::<Vec<Value>>() }));
    let wrong = pairs.iter().flat_map(|(first, second)| std::iter::once(first).chain(second));
    Ok(Verdict::of(wrong.into_iter().all(|measured| measured.checked.passed())))
}

type Named = (&'static dyn Operator, Arc<dyn Problem>);

/// The shapes that were asked for, or each operator's own.
fn problems(matches: &ArgMatches, operators: &[&'static dyn Operator]) -> Result<Vec<Named>> {
    let shapes = args::all::<String>(matches, "shape");
    if !shapes.is_empty() && operators.len() > 1 {
        return Err(usage("--shape means something else to each operator: name one"));
    }
    let mut problems: Vec<Named> = Vec::new();
    for operator in operators {
        let of_shape = |shape: &str| Ok((*operator, plan::of_shape(matches, *operator, shape)?));
        if shapes.is_empty() {
            let own: Result<Vec<Named>> =
                operator.bench_shapes().iter().map(|shape| of_shape(shape)).collect();
            problems.extend(own?);
        } else {
            let asked: Result<Vec<Named>> = shapes.iter().map(|shape| of_shape(shape)).collect();
            problems.extend(asked?);
        }
    }
    Ok(problems)
}

fn print(
    ui: Ui,
    problems: &[Named],
    pairs: &[(Measured, Option<Measured>)],
    roofline: Option<&Roofline>,
    against: Option<&str>,
) {
    let versus = against.map(|against| format!("vs {against}"));
    let mut header =
        vec!["problem", "variant", "median", "p10", "p90", "GFLOP/s", "GB/s", "of roof", "density", "taken"];
    header.extend(versus.as_deref());
    let mut rows = Vec::new();
    for ((operator, problem), (first, second)) in problems.iter().zip(pairs) {
        for measured in std::iter::once(first).chain(second) {
            let mut row =
                cells(&format!("{} {}", operator.name(), problem.describe()), &**problem, measured, roofline);
            if let Some(second) = second {
                let ratio = match (first.times, second.times) {
                    (Some(a), Some(b)) if std::ptr::eq(measured, first) => {
                        format!("{}x", ui::three(b.median.as_secs_f64() / a.median.as_secs_f64()))
                    }
                    _ => String::new(),
                };
                row.push(ratio);
            }
            rows.push(row);
        }
    }
    ui.line(ui::table(&header, &rows, 2..header.len()));
    let by_host = |measured: &Measured| measured.times.is_some_and(|times| !times.by_device);
    if pairs.iter().flat_map(|(first, second)| std::iter::once(first).chain(second)).any(by_host) {
        ui.line("Some times are by the host's clock: this driver's timestamps cannot be believed.");
    }
    for measured in pairs.iter().flat_map(|(first, second)| std::iter::once(first).chain(second)) {
        if let Some(complaint) = measured.checked.complaint() {
            ui.line(format!("WRONG  {}: {complaint}", measured.variant));
        }
    }
}

fn cells(name: &str, problem: &dyn Problem, measured: &Measured, roofline: Option<&Roofline>) -> Vec<String> {
    let work = problem.work();
    let Some(times) = measured.times else {
        let mut row = vec![name.to_owned(), measured.variant.clone(), "wrong, not timed".into()];
        row.resize(10, String::new());
        return row;
    };
    let gflops = times.rate(work.flops);
    vec![
        name.to_owned(),
        measured.variant.clone(),
        ui::time(times.median),
        ui::time(times.p10),
        ui::time(times.p90),
        ui::three(gflops),
        ui::three(times.rate(work.bytes)),
        roofline.map_or_else(
            || "-".into(),
            |roofline| ui::percent(gflops / measure::roof(&work, measured.by_matrices, roofline)),
        ),
        ui::percent(work.density()),
        times.taken.to_string(),
    ]
}

fn json_row(
    operator: &str,
    problem: &dyn Problem,
    measured: &Measured,
    roofline: Option<&Roofline>,
) -> Value {
    let work = problem.work();
    let times = measured.times;
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let gflops = times.map(|times| times.rate(work.flops));
    let row: Map<String, Value> = [
        ("op", json!(operator)),
        ("shape", json!(problem.shape())),
        ("dtype", json!(dtype_of(problem).to_string())),
        ("variant", json!(measured.variant)),
        ("median_ms", json!(times.map(|times| ms(times.median)))),
        ("p10_ms", json!(times.map(|times| ms(times.p10)))),
        ("p90_ms", json!(times.map(|times| ms(times.p90)))),
        ("gflops", json!(gflops)),
        ("gbps", json!(times.map(|times| times.rate(work.bytes)))),
        (
            "roofline_share",
            json!(
                gflops
                    .zip(roofline)
                    .map(|(gflops, roofline)| gflops / measure::roof(&work, measured.by_matrices, roofline))
            ),
        ),
        ("density", json!(work.density())),
        ("checked", json!(measured.checked.passed())),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect();
    Value::Object(row)
}
