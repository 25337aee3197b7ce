//! Plans for few rows: they fill an adapter, compute little more than is asked for, and with fixed splits know no batch.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::{AdapterKind, Constraints, ErrorKind, Plan, Problem, operator};
use foveal_tests::profiles;

fn kernel_groups(plan: &Plan) -> u32 {
    let kernels = plan.passes.iter().filter(|pass| pass.label.ends_with("decode"));
    kernels.map(|pass| pass.workgroups.iter().product::<u32>()).sum()
}

/// A cache of 4096 keys, with 32 query heads over 32, 8, 4 and 2 key/value heads.
#[test]
fn few_rows_fill_a_gpu_and_are_not_padded() -> Result<()> {
    for kv_heads in [32, 8, 4, 2] {
        let spec = Attention::new(Shape::bhtd(1, 32, 1, 128).kv(kv_heads, 4096));
        let useful = 32.0 * 4096.0 * 256.0;
        for adapter in profiles::all() {
            let plan = spec.plan(&adapter, &Constraints::default())?;
            let named = || format!("{kv_heads} heads on {}", adapter.name);
            // Sixteen rows are whole tiles of broadcast on four lanes, which is 1.4 times as fast there.
            if kv_heads == 2 && plan.variant == "broadcast" {
                continue;
            }
            ensure!(plan.variant == "decode", "{} is {}", named(), plan.variant);
            ensure!(
                plan.cost.fma <= 1.3 * useful,
                "{}: {} FMAs, {useful} are useful",
                named(),
                plan.cost.fma
            );
            // 16 splits of 256 keys are the most: two heads, whose rows are two tiles, have 64 workgroups.
            let wanted = if adapter.kind == AdapterKind::Cpu { 2 } else { 64 };
            ensure!(kernel_groups(&plan) >= wanted, "{}: {} workgroups", named(), kernel_groups(&plan));
        }
    }
    Ok(())
}

#[test]
fn fixed_splits_know_no_batch() -> Result<()> {
    for (heads, kv_heads, q_len) in [(32, 8, 1), (8, 8, 1), (16, 1, 1), (8, 2, 4)] {
        for adapter in profiles::all() {
            let plan = |batch: usize| {
                let shape = Shape::bhtd(batch, heads, q_len, 64).kv(kv_heads, 1000);
                Attention::new(shape).splits(6).plan(&adapter, &Constraints::default())
            };
            let one = plan(1)?;
            ensure!(one.variant == "decode", "{} on {}", one.variant, adapter.name);
            for batch in [2, 7, 64] {
                let more = plan(batch)?;
                ensure!(more.requests() == one.requests(), "{batch} on {} has other shaders", adapter.name);
                let value = |plan: &Plan, name: &str| {
                    let found = plan.passes[0].params.iter().find(|(field, _)| field == name);
                    found.map(|(_, value)| value.to_bytes()).context("no such field")
                };
                ensure!(value(&more, "splits")? == value(&one, "splits")?, "{batch} on {}", adapter.name);
            }
        }
    }
    Ok(())
}

#[test]
fn splits_that_make_no_sense_are_refused() -> Result<()> {
    let attention = operator("attention")?;
    for (value, fits) in [
        ("0", false),
        ("257", false),
        ("-1", false),
        ("1.5", false),
        ("\"many\"", false),
        ("\"0\"", false),
        ("[]", false),
        ("18446744073709551616", false),
        ("\"auto\"", true),
        ("\"4\"", true),
        ("1", true),
        ("256", true),
    ] {
        let options = serde_json::from_str(&format!(r#"{{"splits":{value}}}"#))?;
        match attention.problem_of_shape("1x2x1:100x64", &options) {
            Ok(problem) => {
                ensure!(fits, "{value} is taken");
                let again = attention.problem_of_shape("1x2x1:100x64", &problem.options())?;
                ensure!(again.options() == problem.options(), "{value} is not read back");
            }
            Err(error) => {
                ensure!(!fits && error.argument() == "splits", "{value}: {error}");
                ensure!(error.kind() == ErrorKind::Invalid, "{value}: {error}");
                ensure!(error.to_string().contains("auto"), "{value}: {error}");
            }
        }
    }
    Ok(())
}
