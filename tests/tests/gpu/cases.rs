//! The table of cases, by every variant that plans.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use foveal::{Engine, SelfCheckReport};
use foveal_kernels::{operators, testing::Case};
use foveal_tests::harness::Prepared;
use foveal_tests::{device, parallel, planned, say};
use pollster::block_on;

use crate::{engine_or_skip, folder};

/// Pipelines that were built, and how long the longest took to its first result.
#[derive(Default)]
struct Progress {
    requests: BTreeSet<u128>,
    slowest: (Duration, String),
    cases: usize,
    runs: usize,
}

/// Memory of this process, where the system tells: software drivers compile within it.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}

fn run_case(engine: &Engine, case: &Case, progress: &Mutex<Progress>) -> Result<usize> {
    let prepared = Prepared::new(case.clone())?;
    let mut runs = 0;
    for variant in planned::variants(case)? {
        let Some(plan) = planned::plan(case, engine.profile(), variant)? else { continue };
        let started = Instant::now();
        let kernel =
            block_on(engine.prepare_exact(&plan)).with_context(|| format!("{} {variant}", case.name))?;
        let unchecked = matches!(kernel.self_check(), SelfCheckReport::Off);
        ensure!(!unchecked, "the self-check is part of the test");
        prepared.check(engine, &kernel, folder()).with_context(|| format!("{} {variant}", case.name))?;
        runs += 1;
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.requests.extend(plan.requests().iter().map(|request| request.fingerprint()));
        progress.runs += 1;
        let took = started.elapsed();
        if took > Duration::from_secs(15) {
            // Compiling, nearly always: users wait for it once a driver, so it is worth knowing.
            say(&format!("  slow: {} {variant}, {took:.0?}; {} MiB resident", case.name, resident_mib()));
        }
        if took > progress.slowest.0 {
            progress.slowest = (took, format!("{} {variant}", case.name));
        }
    }
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    progress.cases += 1;
    if progress.cases.is_multiple_of(20) {
        say(&format!(
            "  {} cases, {} runs, {} pipelines",
            progress.cases,
            progress.runs,
            progress.requests.len()
        ));
    }
    Ok(runs)
}

/// Cases that share kernels, together: each group is run by one thread, on a device of that thread's own.
fn groups(engine: &Engine) -> Result<Vec<Vec<Case>>> {
    let mut groups: BTreeMap<Vec<u128>, Vec<Case>> = BTreeMap::new();
    for case in planned::cases()? {
        let mut key = Vec::new();
        for variant in planned::variants(&case)? {
            let plan = planned::plan(&case, engine.profile(), variant)?;
            key.extend(plan.iter().flat_map(|plan| plan.requests()).map(|request| request.fingerprint()));
        }
        groups.entry(key).or_default().push(case);
    }
    Ok(groups.into_values().collect())
}

#[test]
fn every_case_by_every_variant_is_right() -> Result<()> {
    let Some(first) = device::engine_with(module_path!(), device::options())? else { return Ok(()) };
    let second = device::engine_with(module_path!(), device::options())?.context("the adapter is gone")?;
    say(&format!("cases run on {}", first.profile().key()));
    let started = Instant::now();
    let progress = Mutex::new(Progress::default());
    let groups = groups(&first)?;
    let engines = [first, second];
    let next = AtomicUsize::new(0);
    let results = parallel::map(&engines, |engine| {
        let mut results = Vec::new();
        while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            results.extend(group.iter().map(|case| (case.name.clone(), run_case(engine, case, &progress))));
        }
        results
    });
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (slowest, name) = &progress.slowest;
    say(&format!(
        "{} cases, {} runs, {} pipelines in {:.0?}; slowest: {name}, {slowest:.1?}",
        progress.cases,
        progress.runs,
        progress.requests.len(),
        started.elapsed()
    ));
    let mut failures = Vec::new();
    for (name, result) in results.into_iter().flatten() {
        match result {
            Ok(0) => failures.push(format!("{name}: no variant runs it")),
            Ok(_) => {}
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    ensure!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
    for (engine, operator) in engines.iter().flat_map(|engine| operators().iter().map(move |op| (engine, op)))
    {
        let refused = engine.refused(operator.name());
        ensure!(refused.is_empty(), "the self-check refused {refused:?} although all cases pass");
    }
    Ok(())
}

/// The plan that users get, with bounds checks and loop guards compiled in: what they change would be an index that a plan
/// did not prove.
#[test]
fn runtime_checks_change_nothing() -> Result<()> {
    let unguarded = engine_or_skip!();
    let options = foveal::Options { runtime_checks: true, ..device::options() };
    let Some(guarded) = device::engine_with(module_path!(), options)? else { return Ok(()) };
    for case in planned::cases()?.into_iter().filter(|case| GUARDED.contains(&case.name.as_str())) {
        let prepared = Prepared::new(case.clone())?;
        for variant in planned::variants(&case)? {
            let Some(plan) = planned::plan(&case, guarded.profile(), variant)? else { continue };
            let outputs = [&guarded, &*unguarded].map(|engine| -> Result<_> {
                let kernel = block_on(engine.prepare_exact(&plan))?;
                prepared.check(engine, &kernel, folder())
            });
            let [a, b] = outputs;
            ensure!(a? == b?, "{} {variant} differs", case.name);
        }
    }
    Ok(())
}

/// Cases that differ in their indices; each compiles all variants once more.
const GUARDED: [&str; 7] = [
    "len_65_causal",
    "f16_dim_7_bthd",
    "grouped_6_2_5",
    "mask_folded",
    "mask_table_f16",
    "score_narrow_biases",
    "blocks_uneven",
];
