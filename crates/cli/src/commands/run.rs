//! `foveal run`: compute an operator on tensors from files.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ArgMatches;
use foveal_kernels::{Access, Dtype, HostTensor, Name, testing::Rows};
use serde_json::{Value, json};

use crate::args;
use crate::commands::Verdict;
use crate::device::{Choice, Device};
use crate::failure::usage;
use crate::io::{self, Output};
use crate::job::{Job, check_variant};
use crate::options;
use crate::ui::{self, Ui};
use crate::verify::{self, Checked};

/// The results, their device, and the time of the computation itself.
struct Done {
    adapter: String,
    variant: String,
    time: Duration,
    outputs: Vec<(Name, HostTensor)>,
}

/// Notes for the caller, beside the outputs.
struct Notes {
    /// Of values, shown with the result.
    said: Vec<String>,
    /// Of tensors that nothing reads, shown before anything is computed.
    unread: Vec<String>,
    /// Queries that see no key, of how many.
    blind: Option<[usize; 2]>,
}

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let files = args::all::<PathBuf>(matches, "input");
    let path = matches.get_one::<PathBuf>("output").ok_or_else(|| usage("--output is missing"))?;
    let output = Output::prepare(path, &files)?;
    let dtype: Option<Dtype> = args::string(matches, "dtype").map(str::parse).transpose()?;
    let job = Job::new(io::read_all(&files)?, args::string(matches, "op"), dtype, |op| {
        options::given(matches, op)
    })?
    .with_all_outputs();
    let variant = args::string(matches, "variant");
    check_variant(variant, &[job.operator])?;
    let inputs = job.inputs()?;

    let odd = inputs
        .iter()
        .filter_map(|(name, tensor)| verify::non_finite(tensor).map(|what| format!("{name} holds {what}")));
    let mut notes = Notes { said: odd.collect(), unread: job.unread(), blind: None };
    for what in &notes.unread {
        ui.note(what);
    }
    let done = match Device::open(&Choice::of(matches), ui)? {
        Some(device) => on_device(ui, &device, &job, &inputs, variant)?,
        None => on_cpu(&job, &inputs, variant)?,
    };
    notes.blind = job.problem.queries_without_keys(&inputs, &|name| {
        done.outputs.iter().find(|(output, _)| output == name).map(|(_, tensor)| tensor.to_f64())
    });
    notes.said.extend(notes.blind.and_then(verify::blindness));
    notes.said.extend(job.problem.notes());
    notes.said.extend(done.outputs.iter().filter_map(|(name, tensor)| verify::overflow(name, tensor)));
    let checked = if matches.get_flag("check") { Some(check(&job, &inputs, &done)?) } else { None };

    let written: Vec<(&str, &HostTensor)> =
        done.outputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    output.write(&written, &job.entry())?;
    report(ui, &job, &done, checked.as_ref(), &notes, path);
    Ok(Verdict::of(checked.is_none_or(|checked| checked.passed())))
}

fn on_device(
    ui: Ui,
    device: &Device,
    job: &Job,
    inputs: &[(&str, &HostTensor)],
    variant: Option<&str>,
) -> Result<Done> {
    let plan = device.plan(&*job.problem, variant)?;
    let kernel = device.prepare(&plan, variant.is_some())?;
    let start = Instant::now();
    let outputs = device.run_with(&kernel, inputs, ui)?;
    Ok(Done {
        adapter: device.name(),
        variant: kernel.plan().variant.clone(),
        time: start.elapsed(),
        outputs,
    })
}

fn on_cpu(job: &Job, inputs: &[(&str, &HostTensor)], variant: Option<&str>) -> Result<Done> {
    if variant.is_some() {
        return Err(usage(
            "--variant names a way to compute on an adapter; there is none with the cpu device",
        ));
    }
    let start = Instant::now();
    let expected = job.problem.reference(inputs, Rows::All)?;
    let time = start.elapsed();
    let outputs = verify::as_outputs(&job.problem.tensors(), &expected)?;
    Ok(Done { adapter: "cpu".into(), variant: "reference (f64)".into(), time, outputs })
}

/// The comparison with the reference.
fn check(job: &Job, inputs: &[(&str, &HostTensor)], done: &Done) -> Result<Checked> {
    let rows = Rows::affordable(&job.problem.work(), 0);
    let expected = job.problem.reference(inputs, rows)?;
    Ok(Checked::new(&*job.problem, &expected, &done.outputs)?)
}

fn report(ui: Ui, job: &Job, done: &Done, checked: Option<&Checked>, notes: &Notes, path: &std::path::Path) {
    let problem = &job.problem;
    ui.line(format!("{} {}", job.operator.name(), problem.describe()));
    ui.line(format!("  on       {}", done.adapter));
    ui.line(format!("  variant  {}", done.variant));
    ui.line(format!("  time     {} (with transfers)", ui::time(done.time)));
    for what in &notes.said {
        ui.line(format!("  note     {what}"));
    }
    let mut check = Value::Null;
    if let Some(checked) = checked {
        let compared = verify::compared(checked);
        let verdict = match checked.complaint() {
            None if compared == 0 => "SKIPPED: there was nothing to compare".to_owned(),
            None => format!("right: rel RMSE {:.1e} over {compared} values", checked.rel_rmse()),
            Some(complaint) => format!("WRONG: {complaint}"),
        };
        ui.line(format!("  check    {verdict}"));
        if let Some(note) = checked.note() {
            ui.line(format!("           {note}"));
        }
        if checked.nan() > 0 {
            ui.line(format!("           {} values are NaN, as the reference says", checked.nan()));
        }
        check = json!({
            "status": verify::status(checked).word(),
            "rel_rmse": checked.rel_rmse(),
            "worst": checked.worst(),
            "compared": compared,
            "nan_in_reference": checked.nan(),
            "ill_conditioned": checked.ill_conditioned(),
            "reason": checked.complaint(),
        });
    }
    let outputs: Vec<String> =
        done.outputs.iter().map(|(name, tensor)| format!("{name} {:?}", tensor.shape())).collect();
    ui.line(format!("  wrote    {} to {}", outputs.join(", "), path.display()));
    let shapes = |role: fn(Access) -> bool| -> Value {
        let tensor_specs = problem.tensors();
        let tensor_specs = tensor_specs.iter().filter(|tensor_spec| role(tensor_spec.access));
        tensor_specs
            .map(|tensor_spec| {
                (
                    tensor_spec.name.clone().into_owned(),
                    json!({"shape": tensor_spec.shape, "dtype": tensor_spec.dtype.to_string()}),
                )
            })
            .collect()
    };
    ui.document(&json!({
        "adapter": done.adapter,
        "op": job.operator.name(),
        "problem": problem.describe(),
        "options": problem.options(),
        "variant": done.variant,
        "time_ms": done.time.as_secs_f64() * 1e3,
        "inputs": shapes(Access::reads),
        "outputs": shapes(Access::writes),
        "notes": notes.said.iter().chain(&notes.unread).collect::<Vec<_>>(),
        "queries_without_keys": notes.blind.map(|[blind, _]| blind),
        "check": check,
        "output": path.display().to_string(),
    }));
}
