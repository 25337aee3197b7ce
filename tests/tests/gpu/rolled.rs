//! Unrolling and turning arrays into scalars must not change what a kernel computes.

use std::sync::Arc;

use anyhow::{Result, ensure};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::{Constraints, Described, Dtype, Plan, Problem, operator, testing::Case};
use foveal_shaders::Request;
use foveal_tests::device;
use foveal_tests::harness::Prepared;
use pollster::block_on;

use crate::{engine_or_skip, folder};

/// The plan with every kernel's text rolled.
fn rolled(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for pass in &mut plan.passes {
        pass.request = Arc::new(Request { unroll: false, ..(*pass.request).clone() });
    }
    plan
}

#[test]
fn rolled_and_unrolled_text_give_the_same_numbers() -> Result<()> {
    let engine = engine_or_skip!();
    // Small: rolled text keeps its arrays, and software drivers take many seconds to compile those.
    let specs = [
        Attention::new(Shape::bhtd(1, 2, 40, 16).kv(2, 50)).with_lse().causal(),
        Attention::new(Shape::bhtd(1, 4, 3, 10).kv(2, 30)).with_lse().dtype(Dtype::F16),
    ];
    for spec in specs {
        let prepared =
            Prepared::new(Case { name: spec.describe(), problem: Arc::new(spec.clone()), seed: 3 })?;
        for variant in operator(spec.operator())?.variants() {
            let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant.name)) else { continue };
            let rolled = rolled(&plan);
            let unrolled = prepared.check(&engine, &block_on(engine.prepare_exact(&plan))?, folder())?;
            // The rolled plan's own canonical problem would be planned unrolled: no self-check for it.
            let unchecked = device::unchecked(&engine)?;
            let kernel = block_on(unchecked.prepare_exact(&rolled))?;
            let rolled = prepared.check(&unchecked, &kernel, folder())?;
            ensure!(unrolled == rolled, "{} by {}: the bits differ", spec.describe(), variant.name);
        }
    }
    Ok(())
}
