//! Plans in the words of `foveal.d.ts`.

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
