//! Keys in segments, merged: right for every variant, and as many as were asked for.

use std::time::Duration;

use anyhow::{Result, ensure};
use foveal::Constraints;
use foveal_kernels::operator;
use foveal_tests::harness::Prepared;
use pollster::block_on;

use crate::{engine_or_skip, folder};

/// Few enough for a software driver; sinks, lengths, lists, folded heads, uneven widths and 16-bit storage among them.
const CASES: [&str; 13] = [
    "len_200_causal",
    "cross_37_100_causal_top_left",
    "grouped_8_1_5",
    "dims_33_66",
    "f16_causal_bthd",
    "bf16_dim_7_bthd",
    "mask_some_rows_nothing",
    "mask_table_on_device",
    "sinks_folded",
    "lengths_causal",
    "listed_tested",
    "blocks_grouped",
    "no_lse",
];

#[test]
fn segments_are_merged_exactly() -> Result<()> {
    let engine = engine_or_skip!();
    let attention = operator("attention")?;
    let mut seen = 0;
    for case in attention.cases() {
        if !CASES.contains(&case.name.as_str()) {
            continue;
        }
        seen += 1;
        let prepared = Prepared::new(case)?;
        for variant in attention.variants() {
            let constraints = Constraints {
                workgroup_time: Some(Duration::from_nanos(1)),
                ..Constraints::variant(variant.name)
            };
            // A variant that this adapter does not have is no news.
            let Ok(plan) = engine.plan_with(&*prepared.case.problem, &constraints) else { continue };
            ensure!(
                plan.passes.iter().any(|pass| pass.label.ends_with("combine")),
                "{} is whole",
                prepared.case.name
            );
            let kernel = block_on(engine.prepare_exact(&plan))?;
            prepared.check(&engine, &kernel, folder())?;
        }
    }
    ensure!(seen == CASES.len(), "{} cases are gone from the table", CASES.len() - seen);
    Ok(())
}

#[test]
fn a_long_row_is_split_until_its_workgroups_are_short() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = foveal_kernels::attention::Attention::new(
        foveal_kernels::attention::Shape::bhtd(1, 1, 1, 64).kv(1, 20_000),
    );
    let segments = |time: Duration| -> Result<usize> {
        let constraints = Constraints { workgroup_time: Some(time), ..Constraints::default() };
        let plan = engine.plan_with(&spec, &constraints)?;
        // A dispatch each, or a workgroup.
        let kernels = plan.passes.iter().filter(|pass| !pass.label.ends_with("combine"));
        Ok(kernels.map(|pass| pass.workgroups[0] as usize).sum())
    };
    let whole = engine.plan(&spec)?.cost.time;
    // Two fill the adapter, if it is a CPU's driver.
    let plain = engine.plan(&spec)?.passes[0].workgroups[0] as usize;
    ensure!(segments(whole * 3)? == plain, "a workgroup that is short enough was split");
    let (few, many) = (segments(whole / 4)?, segments(whole / 16)?);
    ensure!((4..=16 * plain).contains(&few) && many > few, "{few} and {many} segments");
    Ok(())
}
