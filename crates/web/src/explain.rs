//! Plans in the words of `foveal.d.ts`.

use foveal::{Clock, Roofline, Timings};
use foveal_kernels::Plan;
use serde_json::{Value, json};

/// A plan as JSON.
pub(crate) fn plan(plan: &Plan) -> String {
    let work = plan.problem.work();
    let passes = plan.passes.iter().map(|pass| json!({"label": pass.label, "workgroups": pass.workgroups}));
    json!({
        "operator": plan.operator,
        "problem": plan.problem.describe(),
        "variant": plan.variant,
        "explanation": plan.to_string(),
        "scratchBytes": plan.scratch_bytes(),
        "passes": Value::from_iter(passes),
        "density": work.density(),
        "flops": work.flops,
    })
    .to_string()
}

/// How long a kernel took, as JSON.
pub(crate) fn timings(plan: &Plan, timings: &Timings) -> String {
    let ms = |share: f64| timings.quantile(share).as_secs_f64() * 1e3;
    let gflops = plan.problem.work().flops / timings.median().as_secs_f64().max(1e-9) / 1e9;
    json!({
        "variant": plan.variant,
        "medianMs": timings.median().as_secs_f64() * 1e3,
        "p10Ms": ms(0.1),
        "p90Ms": ms(0.9),
        "gflops": gflops,
        "timestamps": timings.clock == Clock::Device,
        "samples": timings.samples.len(),
    })
    .to_string()
}

/// Peak rates of a device, as JSON.
pub(crate) fn roofline(roofline: &Roofline) -> String {
    let mut rows = vec![
        json!({"name": "f32 FMA", "value": roofline.peak_gflops(), "unit": "GFLOP/s"}),
        json!({"name": "exp2", "value": roofline.exp2, "unit": "billion/s"}),
        json!({"name": "workgroup load", "value": roofline.workgroup_load, "unit": "billion/s"}),
        json!({"name": "storage load, cached", "value": roofline.storage_load, "unit": "billion/s"}),
        json!({"name": "memory", "value": roofline.memory_gbps, "unit": "GB/s"}),
    ];
    if let Some(rate) = roofline.matrix_gflops() {
        rows.push(json!({"name": "matrix FMA", "value": rate, "unit": "GFLOP/s"}));
    }
    if let Some(rate) = roofline.broadcast {
        rows.insert(2, json!({"name": "subgroup broadcast", "value": rate, "unit": "billion/s"}));
    }
    json!({"peakGflops": roofline.peak_gflops(), "rows": rows}).to_string()
}
