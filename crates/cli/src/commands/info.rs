//! `foveal info`: adapters, limits, features; and with `--roofline` what this adapter can do at most.

use anyhow::Result;
use clap::ArgMatches;
use foveal::Roofline;
use foveal_kernels::AdapterProfile;
use serde_json::{Value, json};

use crate::commands::Verdict;
use crate::device::{self, Choice, Device, how_to_get_one};
use crate::failure::usage;
use crate::ui::{self, Ui};

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let choice = Choice::of(matches);
    let adapters = device::adapters();
    let device = Device::open_quietly(&choice)?;
    if adapters.is_empty() {
        ui.line(format!("No adapter was found; {}.", how_to_get_one()));
        ui.line("Without one, `foveal run`, `foveal plan` and `foveal demo` work with the f64 reference on the CPU.");
    }
    let taken = device.as_ref().map(|device| device.profile().key());
    for adapter in &adapters {
        let profile = &adapter.profile;
        let mark = if taken.as_deref() == Some(&profile.key()) { "  <- taken" } else { "" };
        ui.line(format!("{}  {}{mark}", adapter.index, profile.name));
        describe(ui, profile);
    }
    if let Some(device) = &device {
        measured(ui, device.profile());
    }
    let roofline = match (&device, matches.get_flag("roofline")) {
        (_, false) => Value::Null,
        (None, true) => {
            return Err(usage(format!(
                "--roofline measures an adapter and none was found; {}",
                how_to_get_one()
            )));
        }
        (Some(device), true) => {
            let roofline = device.roofline()?;
            rates_table(ui, device.profile(), &roofline);
            json!(roofline)
        }
    };
    let list: Vec<Value> =
        adapters.iter().map(|adapter| json!({"index": adapter.index, "profile": adapter.profile})).collect();
    let opened = device.as_ref().map(|device| json!(device.profile()));
    ui.document(&json!({ "adapters": list, "taken": taken, "opened": opened, "roofline": roofline }));
    Ok(Verdict::Passed)
}

fn describe(ui: Ui, profile: &AdapterProfile) {
    let AdapterProfile { driver, backend, kind, limits, features, .. } = profile;
    ui.line(format!("   {backend}, {}, {driver}", format!("{kind:?}").to_lowercase()));
    let subgroups = match features.subgroups {
        None => "no subgroups".into(),
        Some((min, max)) if min == max => format!("subgroups of {min}"),
        Some((min, max)) => format!("subgroups of {min} to {max}"),
    };
    if profile.backend == "dx12" && features.subgroups.is_none() {
        ui.line("   compiled by FXC, which has no subgroups: they take dxcompiler.dll and dxil.dll of Microsoft's DXC beside foveal");
    }
    let has = |there: bool, what: &str| if there { what.to_owned() } else { format!("no {what}") };
    ui.line(format!(
        "   {subgroups}, {}, {}, {}",
        has(features.f16, "shader-f16"),
        has(features.timestamps, "timestamps"),
        has(features.pipeline_cache, "pipeline cache"),
    ));
    ui.line(format!(
        "   {} threads and {} a workgroup, {} storage buffers of at most {}, aligned to {} B",
        limits.max_compute_invocations_per_workgroup,
        ui::bytes(u64::from(limits.max_compute_workgroup_storage_size)),
        limits.max_storage_buffers_per_shader_stage,
        ui::bytes(limits.max_storage_buffer_binding_size),
        limits.min_storage_buffer_offset_alignment,
    ));
}

/// Measurements of the probes on the chosen adapter.
fn measured(ui: Ui, profile: &AdapterProfile) {
    ui.line(match profile.loop_turns {
        None => "   loops of 70,000 turns come to their end".to_owned(),
        Some(max) => format!(
            "   the driver ends an invocation's loops after {max} turns together, without a word: plans stay below"
        ),
    });
    if let Some(matrix) = profile.matrix {
        ui.line(format!(
            "   matrix units: {0} x {0}, f16 added in f32, in subgroups of {1}",
            matrix.side, matrix.lanes
        ));
    }
    let Some(maths) = profile.maths else { return };
    let not: Vec<&str> =
        maths.facts().into_iter().filter(|(_, holds)| !holds).map(|(fact, _)| fact).collect();
    if !not.is_empty() {
        ui.line(format!("   not here, and not relied on: {}", not.join("; ")));
    }
}

fn rates_table(ui: Ui, profile: &AdapterProfile, roofline: &Roofline) {
    ui.line(format!("\nWhat {} can do at most, in 10^9 operations of one lane a second:", profile.name));
    let row = |what: &str, rate: Option<f64>, note: String| {
        let shown = rate.map_or_else(|| "none".into(), ui::three);
        let cost = rate.map_or_else(|| "-".into(), |rate| ui::three(roofline.fma / rate));
        vec![what.to_owned(), shown, cost, note]
    };
    let gbps = |rate: f64| ui::three(rate * 4.0);
    let rows = [
        row(
            "f32 FMA",
            Some(roofline.fma),
            format!("two operations each: {} GFLOP/s", ui::three(roofline.peak_gflops())),
        ),
        row(
            "storage load",
            Some(roofline.storage_load),
            format!("f32, cached: {} GB/s", gbps(roofline.storage_load)),
        ),
        row(
            "workgroup load",
            Some(roofline.workgroup_load),
            format!("f32: {} GB/s", gbps(roofline.workgroup_load)),
        ),
        row("subgroup broadcast", roofline.broadcast, "with an FMA that uses it".into()),
        row("exp2", Some(roofline.exp2), "one for every query and key that see each other".into()),
        row(
            "matrix FMA",
            roofline.matrix,
            roofline
                .matrix_gflops()
                .map_or_else(String::new, |rate| format!("f16 added in f32: {} GFLOP/s", ui::three(rate))),
        ),
        row(
            "memory",
            Some(roofline.memory_gbps / 4.0),
            format!("f32, read once: {} GB/s", ui::three(roofline.memory_gbps)),
        ),
    ];
    ui.line(ui::table(&["rate", "G/s", "cost in FMAs", ""], &rows, 1..3));
    ui.line("A plan estimates every variant as its operations over such rates and takes the least. It assumes the rates");
    ui.line("of the adapter's kind unless it is given these: `foveal plan --roofline`, `Engine::with_rates`. `foveal bench`");
    ui.line("compares what it measures with the FMA peak or, for problems with few operations a byte, with the memory.");
}
