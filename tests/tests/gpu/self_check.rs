//! A variant that is wrong on this adapter is caught before it is used, named, and the next one is taken.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal::{ErrorKind, Options, SelfCheckReport};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::{Problem, testing::Case};
use foveal_tests::harness::Prepared;
use foveal_tests::wrong::{self, Sabotaged, WRONG};
use foveal_tests::{device, say};
use pollster::block_on;

use crate::folder;

fn problem() -> Arc<dyn Problem> {
    Arc::new(Attention::new(Shape::bhtd(1, 2, 200, 32)).with_lse())
}

/// The reason given for refusing a variant whose text has `to` in place of `from`. Checks that another variant gives
/// the right result.
fn refusal(from: &str, to: &str) -> Result<Option<String>> {
    let options = Options { library: Arc::new(wrong::library(from, to)?), ..device::options() };
    let Some(engine) = device::engine_with(module_path!(), options)? else { return Ok(None) };
    let problem = Sabotaged(problem());
    let plan = engine.plan(&problem)?;
    ensure!(plan.variant == WRONG, "the planner took {}", plan.variant);
    let kernel = block_on(engine.prepare(&plan))?;
    let taken = kernel.plan().variant.clone();
    ensure!(taken != WRONG, "`{to}` was not caught");
    let refused = kernel.refused().iter().find(|refused| refused.variant == WRONG);
    let reason = refused.context("the kernel does not say what was refused")?.reason.clone();
    ensure!(engine.refused(problem.operator()).contains(WRONG), "the engine has forgotten");
    ensure!(engine.plan(&problem)?.variant != WRONG, "the planner was not told");
    let case = Case { name: "after a refusal".into(), problem: Arc::new(problem), seed: 1 };
    Prepared::new(case)?.check(&engine, &kernel, folder())?;
    say(&format!("`{to}`: {reason}; {taken} taken"));
    // Asked for by name, it is refused by name.
    let error = block_on(engine.prepare_exact(&plan)).err().context("the refused variant was prepared")?;
    ensure!(error.kind() == ErrorKind::Refused && error.to_string().contains(WRONG), "{error}");
    Ok(Some(reason))
}

#[test]
fn small_errors_are_caught() -> Result<()> {
    let Some(reason) =
        refusal("weight(score, new_max)", "weight(score, new_max) * (1.0 + 1e-4 * f32(key % 2u))")?
    else {
        return Ok(());
    };
    ensure!(reason.contains("wrong") && reason.contains("relative RMSE"), "{reason}");
    Ok(())
}

#[test]
fn the_last_key_counts() -> Result<()> {
    let Some(reason) = refusal(
        "let keys = num_visible_keys(row.batch, row.query);",
        "let keys = num_visible_keys(row.batch, row.query) - 1u;",
    )?
    else {
        return Ok(());
    };
    ensure!(reason.contains("wrong"), "{reason}");
    Ok(())
}

#[test]
fn rows_that_are_not_written_are_caught() -> Result<()> {
    let Some(reason) = refusal("if index < row_count(row.batch)", "if index + 1u < row_count(row.batch)")?
    else {
        return Ok(());
    };
    ensure!(reason.contains("finite"), "{reason}");
    Ok(())
}

#[test]
fn writes_beyond_the_output_are_caught() -> Result<()> {
    // The last head's rows, one row too far.
    let to =
        "var far = row; far.query += select(0u, 1u, row.head == 1u); finish_row(&o, &row_max, &row_sum, far,";
    let Some(reason) = refusal("finish_row(&o, &row_max, &row_sum, row,", to)? else { return Ok(()) };
    ensure!(reason.contains("wrote after"), "{reason}");
    Ok(())
}

#[test]
fn what_does_not_compile_is_passed_over() -> Result<()> {
    let Some(reason) = refusal("score += dot(", "score += cross(")? else { return Ok(()) };
    ensure!(!reason.is_empty());
    Ok(())
}

#[test]
fn a_right_variant_passes_once_and_is_remembered() -> Result<()> {
    let Some(engine) = device::engine_with(module_path!(), device::options())? else { return Ok(()) };
    let plan = engine.plan(&*problem())?;
    let first = block_on(engine.prepare(&plan))?.self_check();
    ensure!(matches!(first, SelfCheckReport::Passed { .. }), "{first:?}");
    let second = block_on(engine.prepare(&plan))?.self_check();
    ensure!(second == SelfCheckReport::Remembered, "{second:?}");
    Ok(())
}
