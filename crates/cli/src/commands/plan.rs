//! `foveal plan`: how a problem would run, and why.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::ArgMatches;
use foveal_kernels::{AdapterProfile, Constraints, Dtype, Operator, Plan, Problem};
use serde_json::{Value, json};

use crate::args;
use crate::commands::Verdict;
use crate::commands::plan_data::{self, Kernels};
use crate::device::{Choice, Device};
use crate::failure::usage;
use crate::io;
use crate::job::{Job, check_variant, operator};
use crate::options;
use crate::ui::{self, Ui};

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let (operator, problem) = problem(matches)?;
    let variant = args::string(matches, "variant");
    check_variant(variant, &[operator])?;
    let profile = profile(matches, ui)?;
    // As an engine plans it.
    let workgroup_time = Some(foveal::Options::default().longest_submission);
    let constraints = variant.map_or_else(Constraints::default, Constraints::variant);
    let constraints = Constraints { workgroup_time, ..constraints };
    let start = Instant::now();
    let plan = problem.plan(&profile, &constraints)?;
    let took = start.elapsed();
    let kernels = if matches.get_flag("wgsl") { plan_data::kernels(&plan)? } else { Vec::new() };

    ui.line(plan.to_string().trim_end());
    ui.line(format!("  for       {} ({})", profile.name, profile.backend));
    ui.line(format!("  planned   in {}", ui::time(took)));
    for (request, kernel) in &kernels {
        ui.line(format!("\n// {}, specialised\n{}", request.module, kernel.text.trim_end()));
    }
    ui.document(&document(&plan, &profile, took.as_secs_f64() * 1e6, &kernels));
    Ok(Verdict::Passed)
}

fn problem(matches: &ArgMatches) -> Result<(&'static dyn Operator, Arc<dyn Problem>)> {
    let name = args::string(matches, "op");
    let dtype = args::string(matches, "dtype");
    let inputs = args::all::<PathBuf>(matches, "input");
    if !inputs.is_empty() {
        let dtype: Option<Dtype> = dtype.map(str::parse).transpose()?;
        let job = Job::new(io::read_all(&inputs)?, name, dtype, |op| options::given(matches, op))?;
        return Ok((job.operator, job.problem));
    }
    let operator = operator(
        name.ok_or_else(|| usage("which operator? Give its name, or --input with a file that says"))?,
    )?;
    let shape = args::string(matches, "shape").ok_or_else(|| {
        let example = operator.bench_shapes().first().copied().unwrap_or_default();
        usage(format!("which sizes? Give --shape ({}; e.g. {example}) or --input", operator.shape_help()))
    })?;
    Ok((operator, of_shape(matches, operator, shape)?))
}

/// The problem of a shape and the options on the command line.
pub(crate) fn of_shape(
    matches: &ArgMatches,
    operator: &'static dyn Operator,
    shape: &str,
) -> Result<Arc<dyn Problem>> {
    let mut options = options::given(matches, operator)?;
    if let Some(dtype) = args::string(matches, "dtype") {
        options.insert("dtype", dtype);
    }
    Ok(operator.problem_of_shape(shape, &options)?)
}

/// The adapter's profile, or the floor's where there is no adapter.
fn profile(matches: &ArgMatches, ui: Ui) -> Result<AdapterProfile> {
    let floor = args::string(matches, "limits") == Some("floor");
    if floor || args::string(matches, "device") == Some("cpu") {
        return Ok(AdapterProfile::webgpu_floor());
    }
    let choice = Choice::of(matches);
    match Device::open_quietly(&choice)? {
        Some(device) if matches.get_flag("roofline") => {
            let rates = device.roofline()?.rates();
            Ok(AdapterProfile { rates, ..device.profile().clone() })
        }
        Some(device) => Ok(device.profile().clone()),
        None => {
            ui.warn("no adapter was found; planning for the least that any WebGPU adapter offers");
            Ok(AdapterProfile::webgpu_floor())
        }
    }
}

fn document(plan: &Plan, profile: &AdapterProfile, micros: f64, kernels: &Kernels<'_>) -> Value {
    let tensor_specs: Vec<Value> = plan
        .tensors
        .iter()
        .map(|tensor_spec| {
            let role = tensor_spec.access.word();
            json!({
                "name": tensor_spec.name, "role": role, "shape": tensor_spec.shape,
                "dtype": tensor_spec.dtype.to_string(), "bytes": tensor_spec.size_bytes(),
            })
        })
        .collect();
    let rejected: Vec<Value> = plan
        .rejected_variants
        .iter()
        .map(|other| json!({"variant": other.variant, "reason": other.reason}))
        .collect();
    let tiles: serde_json::Map<String, Value> =
        plan.tiles.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let cost = &plan.cost;
    json!({
        "adapter": profile.name,
        "op": plan.operator,
        "problem": plan.problem.describe(),
        "shape": plan.problem.shape(),
        "options": plan.problem.options(),
        "variant": plan.variant,
        "reason": plan.reason,
        "tiles": tiles,
        "ports": tensor_specs,
        "threads": plan.threads,
        "workgroup_bytes": plan.workgroup_bytes,
        "scratch_bytes": plan.scratch_bytes(),
        "passes": plan_data::passes(plan, kernels),
        "scratch": plan_data::scratch(plan, !kernels.is_empty()),
        "cost": {
            "estimated_ms": cost.time.as_secs_f64() * 1e3, "fma": cost.fma, "storage_loads": cost.storage_loads,
            "workgroup_loads": cost.workgroup_loads, "broadcasts": cost.broadcasts, "exp2": cost.exp2,
            "matrix": cost.matrix, "occupancy": cost.occupancy,
        },
        "rejected": rejected,
        "planned_in_us": micros,
        "wgsl": plan_data::texts(kernels),
    })
}
