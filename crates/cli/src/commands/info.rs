//! `foveal info`: adapters, limits, features; and with `--roofline` what this adapter can do at most.

use anyhow::Result;
use clap::ArgMatches;
use foveal_kernels::{AdapterProfile, Rates};
use serde_json::{Value, json};

use crate::commands::Verdict;
use crate::device::{self, Choice, Device, HOW_TO_GET_ONE};
use crate::failure::usage;
use crate::ui::{self, Ui};

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let choice = Choice::of(matches);
    let adapters = device::adapters();
    let device = Device::open_quietly(&choice)?;
    if adapters.is_empty() {
        ui.line(format!("No adapter was found; {HOW_TO_GET_ONE}."));
        ui.line("Without one, `foveal run`, `foveal plan` and `foveal demo` work with the f64 reference on the CPU.");
    }
    let taken = device.as_ref().map(|device| device.profile().key());
    for adapter in &adapters {
        let profile = &adapter.profile;
        let mark = if taken.as_deref() == Some(&profile.key()) { "  <- taken" } else { "" };
        ui.line(format!("{}  {}{mark}", adapter.index, profile.name));
        describe(ui, profile);
    }
    let roofline = match (&device, matches.get_flag("roofline")) {
        (_, false) => Value::Null,
        (None, true) => {
            return Err(usage(format!("--roofline measures an adapter and none was found; {HOW_TO_GET_ONE}")));
        }
        (Some(device), true) => {
            let rates = device.roofline()?;
            rates_table(ui, device.profile(), &rates);
            json!(rates)
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
        Some((least, most)) if least == most => format!("subgroups of {least}"),
        Some((least, most)) => format!("subgroups of {least} to {most}"),
    };
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

fn rates_table(ui: Ui, profile: &AdapterProfile, rates: &Rates) {
    ui.line(format!("\nRates of {}, in 10^9 operations of one lane a second:", profile.name));
    let per = |rate: f64| if rate > 0.0 { ui::three(rates.fma / rate) } else { "-".into() };
    let shown = |rate: f64| if rate > 0.0 { ui::three(rate) } else { "none".into() };
    let row = |what: &str, rate: f64, note: String| vec![what.to_owned(), shown(rate), per(rate), note];
    let rows = [
        row(
            "f32 FMA",
            rates.fma,
            format!("two operations each: {} GFLOP/s is 100 % of peak", ui::three(rates.peak_gflops())),
        ),
        row(
            "storage load",
            rates.storage_load,
            format!("f32, cached: {} GB/s", ui::three(rates.storage_load * 4.0)),
        ),
        row(
            "workgroup load",
            rates.workgroup_load,
            format!("f32: {} GB/s", ui::three(rates.workgroup_load * 4.0)),
        ),
        row("subgroup broadcast", rates.broadcast, "a value spread to all lanes, counted once a lane".into()),
        row("exp2", rates.exp2, "one for every visible pair of a query and a key".into()),
    ];
    ui.line(ui::table(&["rate", "G/s", "cost in FMAs", ""], &rows, 1));
    ui.line("Plans estimate each variant as its operations over these rates and take the least; without a measurement");
    ui.line("they assume rates by the adapter's kind.");
}
