//! Plans of attention's `matrix`: when it is taken, and why not.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, DeviceBlockMask, Precision, Quantised, Shape};
use foveal_kernels::{AdapterProfile, Constraints, Dtype, MatrixUnit, Problem};
use foveal_tests::profiles;

fn gpu() -> AdapterProfile {
    profiles::with_matrices(profiles::discrete(32, 64), 16, 64)
}

fn problem() -> Attention {
    Attention::new(Shape::bhtd(1, 8, 1024, 64)).dtype(Dtype::F16)
}

/// Why `matrix` is not taken.
fn reason(spec: &Attention, adapter: &AdapterProfile) -> Result<String> {
    let plan = spec.plan(adapter, &Constraints::default())?;
    ensure!(plan.variant != "matrix", "{plan}");
    let rejected = plan.rejected_variants.iter().find(|rejected| rejected.variant == "matrix");
    Ok(rejected.context("the plan does not say")?.reason.clone())
}

#[test]
fn f16_goes_to_matrix_units_where_there_are_any() -> Result<()> {
    for spec in [
        problem(),
        problem().causal().with_lse(),
        problem().dtype(Dtype::F32).precision(Precision::F16),
        problem().dtype(Dtype::Bf16).precision(Precision::F16),
    ] {
        let plan = spec.plan(&gpu(), &Constraints::default())?;
        ensure!(plan.variant == "matrix", "{plan}");
        ensure!(plan.cost.matrix > 0.0 && plan.passes.len() == 2, "{plan}");
        // One subgroup a workgroup.
        ensure!(plan.passes[1].label.ends_with("matrix") && plan.threads == 64, "{plan}");
    }
    Ok(())
}

#[test]
fn the_plan_says_why_not() -> Result<()> {
    let of = |unit: MatrixUnit| AdapterProfile { matrix: Some(unit), ..gpu() };
    let mut no_f16 = gpu();
    no_f16.features.f16 = false;
    let mut small = gpu();
    small.limits.max_storage_buffer_binding_size = 1 << 20;
    let amd = AdapterProfile { driver: "AMD proprietary driver 25.10.1".into(), ..gpu() };
    let integers = problem().quantised(Quantised::new("ks", "vs"));
    let listed = problem().block_mask(DeviceBlockMask::new(64, 64, 4));
    let long = Attention::new(Shape::bhtd(1, 1, 64, 64).kv(1, 5000)).dtype(Dtype::F16);
    let cases = [
        (problem(), profiles::discrete(32, 64), "needs matrix units"),
        (problem().dtype(Dtype::F32), gpu(), "`precision` f16"),
        (problem().dtype(Dtype::Bf16), gpu(), "`precision` f16"),
        (problem().value_dim(257), gpu(), "up to 256"),
        (problem(), of(MatrixUnit { side: 16, lanes: 128 }), "lanes"),
        (problem(), of(MatrixUnit { side: 4, lanes: 32 }), "not served"),
        (problem(), no_f16, "shader-f16"),
        (problem(), amd, "25.10"),
        (integers, gpu(), "integers"),
        (long, small, "one binding"),
    ];
    for (spec, adapter, expected) in cases {
        let reason = reason(&spec, &adapter)?;
        ensure!(reason.contains(expected), "`{expected}` is not in: {reason}");
    }
    // Lists of blocks that are made of whole tiles are followed.
    ensure!(listed.plan(&gpu(), &Constraints::variant("matrix")).is_ok());
    Ok(())
}

#[test]
fn precision_is_for_floats() {
    let spec = problem().quantised(Quantised::new("ks", "vs")).precision(Precision::F16);
    let error = spec.plan(&gpu(), &Constraints::default()).unwrap_err();
    assert_eq!(error.argument(), "precision", "{error}");
}

#[test]
fn no_plan_for_an_adapter_without_matrices_has_any() -> Result<()> {
    for adapter in profiles::all().into_iter().filter(|adapter| adapter.matrix.is_none()) {
        let plan = problem().plan(&adapter, &Constraints::default())?;
        ensure!(plan.requests().iter().all(|request| !request.module.contains("matrix")), "{plan}");
    }
    Ok(())
}
