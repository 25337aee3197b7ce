//! Kernels depend on expressions, not on lengths: a small problem runs with the kernels of a large one.

use anyhow::{Context, Result, bail, ensure};
use foveal_kernels::{
    AdapterProfile, Constraints, ErrorKind, Plan, Problem, operator, operators, testing::Case,
};
use foveal_shaders::Request;
use foveal_tests::{parallel, planned, profiles, say};

fn problem(shape: &str, options: &str) -> Result<std::sync::Arc<dyn Problem>> {
    let options = serde_json::from_str(options)?;
    Ok(operator("attention")?.problem_of_shape(shape, &options)?)
}

fn plan(problem: &dyn Problem, adapter: &AdapterProfile, variant: &str) -> Result<Option<Plan>> {
    match problem.plan(adapter, &Constraints::variant(variant)) {
        Ok(plan) => Ok(Some(plan)),
        Err(error) if error.kind() == ErrorKind::Limit => Ok(None),
        Err(error) => Err(error).with_context(|| problem.describe()),
    }
}

fn fingerprints(plan: &Plan) -> Vec<u128> {
    plan.requests().iter().map(|request| request.fingerprint()).collect()
}

/// Whether the stand-in of a case asks for the case's kernels, wherever the case can run: the number of plans.
fn stands_in(case: &Case) -> Result<usize> {
    let canonical = case.problem.self_check_problem();
    // Half a second for the slowest variant on the slowest driver.
    ensure!(canonical.work().dense_flops < 4e8, "{} is not small", canonical.describe());
    let mut count = 0;
    for variant in planned::variants(case)? {
        for adapter in profiles::all() {
            let Some(own) = plan(&*case.problem, &adapter, variant)? else { continue };
            if own.passes.is_empty() {
                continue;
            }
            let name = || format!("{} by {variant} on {}", case.problem.describe(), adapter.name);
            let small = plan(&*canonical, &adapter, variant).with_context(name)?.with_context(name)?;
            if fingerprints(&small) != fingerprints(&own) {
                bail!(
                    "{}\nasks for {:#?}\nits stand-in {}\nfor {:#?}",
                    name(),
                    own.requests(),
                    canonical.describe(),
                    small.requests()
                );
            }
            count += 1;
        }
    }
    Ok(count)
}

/// The engine's self-check relies on this.
#[test]
fn stand_ins_ask_for_the_kernels_of_what_they_stand_in_for() -> Result<()> {
    let mut cases = planned::cases()?;
    for operator in operators() {
        cases.extend((0..300).map(|seed| operator.random_case(seed)));
    }
    let results = parallel::map(&cases, |case| stands_in(case).with_context(|| case.name.clone()));
    let failures: Vec<String> =
        results.iter().filter_map(|result| result.as_ref().err().map(|error| format!("{error:#}"))).collect();
    ensure!(failures.is_empty(), "{} of {} cases, such as\n{}", failures.len(), cases.len(), failures[0]);
    let plans: usize = results.into_iter().flatten().sum();
    say(&format!("stand-ins of {} cases ask for the kernels of {plans} plans", cases.len()));
    Ok(())
}

/// Options, and two shapes of which only the lengths differ.
const LENGTHS: &[(&str, [&str; 2])] = &[
    ("{}", ["1x8x1000x64", "1x8x3000x64"]),
    (r#"{"mask":"causal"}"#, ["1x8x1000x64", "1x8x3000:2999x64"]),
    (r#"{"mask":"causal & window(100, 0)"}"#, ["1x8x1000x64", "1x8x3000:2500x64"]),
    (r#"{"mask":"disc(32, 5) | k < h"}"#, ["1x8x1000x64", "1x8x2000x64"]),
    (r#"{"mask":"causal","score":"softcap(20.0) - 0.1 * abs(qp - k)"}"#, ["1x8x1000x64", "1x8x3000x64"]),
    (
        r#"{"score":"s + rel[h, clamp(k - qp, -9, 9) + 9]","tables":{"rel":"f32[8,19]"}}"#,
        ["1x8x1000x64", "1x8x3000x64"],
    ),
    (r#"{"mask":"causal & same(doc)","tables":{"doc":"i32[1,SIZE]"}}"#, ["1x8x1000x64", "1x8x3000x64"]),
    (r#"{"score":"s + bias[h, q, k]","tables":{"bias":"f32[8,SIZE,SIZE]"}}"#, ["1x8x1000x64", "1x8x2000x64"]),
    (r#"{"block_mask":{"q_block":64,"kv_block":64,"random":0.3,"seed":1}}"#, ["1x8x1000x64", "1x8x3000x64"]),
    (r#"{"qk_norm":"l2","scale":"scales","sink_logits":"sinks"}"#, ["1x8x1000x64", "1x8x3000x64"]),
];

/// The first length of a shape.
fn length(shape: &str) -> &str {
    let lengths = shape.split('x').nth(2).unwrap_or_default();
    lengths.split(':').next().unwrap_or_default()
}

/// The tunables of `broadcast` that grow with the work: larger tiles take seconds to compile, and pay only where they are
/// used for long.
const OF_WORK: [&str; 4] = ["ROWS", "TILE", "TILE_ROWS", "VALUE_ROWS"];

fn without_tiles(plan: &Plan) -> Vec<u128> {
    let strip = |request: &Request| {
        let mut request = request.clone();
        request.tunables.retain(|(name, _)| !OF_WORK.contains(&name.as_str()));
        request.fingerprint()
    };
    plan.requests().iter().map(|request| strip(request)).collect()
}

#[test]
fn a_different_length_asks_for_the_same_kernels() -> Result<()> {
    for (options, shapes) in LENGTHS {
        let [short, long] = shapes.map(|shape| problem(shape, &options.replace("SIZE", length(shape))));
        let (short, long) = (short?, long?);
        for adapter in profiles::all() {
            for variant in operator("attention")?.variants() {
                let of = |problem: &dyn Problem| plan(problem, &adapter, variant.name);
                let (Some(short), Some(long)) = (of(&*short)?, of(&*long)?) else { continue };
                let key = if variant.name == "broadcast" { without_tiles } else { fingerprints };
                ensure!(
                    key(&short) == key(&long),
                    "{options} by {} on {}: {:?}\n{:?}",
                    variant.name,
                    adapter.name,
                    short.requests(),
                    long.requests()
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_different_expression_asks_for_another_kernel() -> Result<()> {
    let shape = "1x8x1000x64";
    let tables = r#""tables":{"doc":"i32[1,1000]","bias":"f32[1000]"}"#;
    for [a, b] in [
        [r#"{"mask":"causal & window(40, 0)"}"#, r#"{"mask":"causal & window(41, 0)"}"#],
        [r#"{"mask":"causal & window(40, 0)"}"#, r#"{"mask":"causal | window(40, 0)"}"#],
        [r#"{"mask":"causal & window(40, 0)"}"#, r#"{"mask":"causal"}"#],
        [r#"{"mask":"causal & same(doc)",TABLES}"#, r#"{"mask":"causal | same(doc)",TABLES}"#],
        [r#"{"score":"softcap(20.0)"}"#, r#"{"score":"softcap(30.0)"}"#],
        [r#"{"score":"s + bias[k]",TABLES}"#, r#"{"score":"s - bias[k]",TABLES}"#],
        [r#"{"score":"s + bias[k]",TABLES}"#, "{}"],
    ] {
        let [first, second] = [a, b].map(|options| problem(shape, &options.replace("TABLES", tables)));
        let (first, second) = (first?, second?);
        for variant in ["tiled", "naive", "broadcast"] {
            let plans = [&first, &second].map(|problem| plan(&**problem, &profiles::lavapipe(), variant));
            let [first, second] = plans.map(|plan| plan.map(|plan| plan.map(|plan| fingerprints(&plan))));
            ensure!(first? != second?, "{a} and {b} are one to {variant}");
        }
    }
    Ok(())
}
