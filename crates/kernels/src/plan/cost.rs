//! Parts of estimates.

use crate::{AdapterKind, AdapterProfile, Cost};

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub(crate) fn float(x: usize) -> f64 {
    x as f64
}

/// Dimensions and tile sizes are at most a few thousand.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the spec's checks")]
pub(crate) fn small(x: usize) -> u32 {
    x as u32
}

pub(crate) fn tile(name: &str, value: usize) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// The share of an adapter that so many workgroups occupy: two threads of a CPU, or many workgroups of a GPU.
pub(crate) fn occupancy(groups: f64, adapter: &AdapterProfile) -> f64 {
    let wanted = adapter.workgroups_at_once();
    (groups / wanted).clamp(1.0 / wanted, 1.0)
}

/// How many of so many workgroups run at the same time.
pub(crate) fn parallel(groups: f64, adapter: &AdapterProfile) -> f64 {
    groups.clamp(1.0, adapter.workgroups_at_once())
}

/// Time of a cost: on a CPU everything shares the same ports, on a GPU the slowest pipe hides the others.
pub(crate) fn timed(mut cost: Cost, adapter: &AdapterProfile) -> Cost {
    let rates = &adapter.rates;
    let parts = [
        cost.fma / rates.fma,
        cost.storage_loads / rates.storage_load,
        cost.workgroup_loads / rates.workgroup_load,
        if cost.broadcasts > 0.0 { cost.broadcasts / rates.broadcast } else { 0.0 },
        cost.exp2 / rates.exp2,
        if cost.matrix > 0.0 { cost.matrix / rates.matrix } else { 0.0 },
    ];
    let nanoseconds = match adapter.kind {
        AdapterKind::Cpu => parts.iter().sum::<f64>(),
        _ => parts.iter().copied().fold(0.0, f64::max) + 0.1 * parts.iter().sum::<f64>(),
    } / cost.occupancy.max(1e-3);
    // No plan of a year is ever run: saturate instead of failing.
    cost.time = std::time::Duration::from_secs_f64((nanoseconds * 1e-9).min(3e7));
    cost
}

/// Why an adapter does not run workgroups of that many threads and bytes, if so.
pub(crate) fn check_workgroup(adapter: &AdapterProfile, threads: usize, bytes: u32) -> Result<(), String> {
    let limits = &adapter.limits;
    let max = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    if threads > max as usize {
        return Err(format!(
            "needs {threads} threads a workgroup, max_compute_invocations_per_workgroup is {max}"
        ));
    }
    if bytes > limits.max_compute_workgroup_storage_size {
        return Err(format!(
            "needs {bytes} bytes of workgroup memory, max_compute_workgroup_storage_size is {}",
            limits.max_compute_workgroup_storage_size
        ));
    }
    Ok(())
}
