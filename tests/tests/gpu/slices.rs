//! Kernels in slices: any cut gives the bits of the kernel at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foveal::{BoundKernel, Constraints, Engine, ErrorKind, Job, Kernel, wgpu};
use foveal_kernels::{Problem, operators, testing::Reference};
use foveal_tests::harness::{self, Prepared};
use pollster::block_on;

use crate::{engine_or_skip, folder};

/// Records slices, each into an encoder of its own, until the job is finished.
fn finish(engine: &Engine, job: &mut Job) -> Result<u32> {
    let mut before = 0.0;
    for _ in 0..100_000 {
        let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let progress = job.encode(&mut encoder);
        engine.queue().submit([encoder.finish()]);
        ensure!(progress.done >= before && progress.done <= 1.0, "{progress:?} after {before}");
        before = progress.done;
        if progress.finished {
            ensure!(progress.done >= 1.0, "{progress:?}");
            return Ok(progress.slices);
        }
    }
    anyhow::bail!("the job does not end")
}

/// The cases that are cut: few enough for a software driver, and every kind of pass.
fn cases() -> Vec<(foveal_kernels::testing::Case, &'static str)> {
    let wanted = [
        ("attention", "cross_130_129_causal", "tiled"),
        ("attention", "mask_table_on_device", "tiled"),
        ("attention", "normalised", "tiled"),
        ("attention", "listed", "naive"),
        ("attention", "lengths", "naive"),
        ("attention", "grouped_8_1_5", "naive"),
        ("linear", "padded_delta", "chunked"),
        ("linear", "padded_delta", "recurrent"),
    ];
    let mut cases = Vec::new();
    for operator in operators() {
        for case in operator.cases() {
            for (op, name, variant) in wanted {
                if (op, name) == (operator.name(), case.name.as_str()) {
                    cases.push((case.clone(), variant));
                }
            }
        }
    }
    assert_eq!(cases.len(), wanted.len(), "a case is gone from the tables");
    cases
}

#[test]
fn any_cut_gives_the_bits_of_the_whole() -> Result<()> {
    let engine = engine_or_skip!();
    for (case, variant) in cases() {
        let prepared = Prepared::new(case)?;
        let problem = &*prepared.case.problem;
        let plan = engine.plan_with(problem, &Constraints::variant(variant))?;
        let kernel = block_on(engine.prepare_exact(&plan))?;
        let whole = prepared.check(&engine, &kernel, folder())?;
        let inputs = harness::storage(&plan.tensors, &prepared.inputs)?;
        let mut max = 0;
        // From a workgroup at a time to several passes at once.
        for part in [1e9, 7.0, 2.0] {
            let mut count = 0;
            let cut = harness::run_by(&engine, &kernel, &inputs, |tensors| {
                let bound = kernel.bind(tensors)?;
                let total = block_on(bound.slices(Duration::from_millis(1)))?.total();
                let slices = block_on(bound.slices(total.div_f64(part).max(Duration::from_nanos(1))))?;
                count = finish(&engine, &mut block_on(slices.start())?)?;
                Ok(())
            })?;
            max = max.max(count);
            ensure!(cut == whole, "{} {variant} in {count} slices", prepared.case.name);
        }
        ensure!(max >= 3, "{} was hardly cut: {max}", prepared.case.name);
    }
    Ok(())
}

#[test]
fn jobs_of_one_kernel_do_not_disturb_each_other() -> Result<()> {
    let engine = engine_or_skip!();
    // Chunked: each pass reads what the one before left in scratch.
    let (case, variant) =
        cases().into_iter().find(|(_, variant)| *variant == "chunked").context("no case")?;
    let prepared = Prepared::new(case)?;
    let kernel = prepare(&engine, &*prepared.case.problem, variant)?;
    let inputs = harness::storage(&kernel.plan().tensors, &prepared.inputs)?;
    let other = prepared.case.problem.random_inputs(99);
    let other = harness::storage(&kernel.plan().tensors, &other)?;
    let alone = (harness::run(&engine, &kernel, &inputs)?, harness::run(&engine, &kernel, &other)?);
    let start = |bound: &BoundKernel| block_on(block_on(bound.slices(Duration::from_nanos(1)))?.start());
    let mut seconds_outputs = Vec::new();
    let outputs = harness::run_by(&engine, &kernel, &inputs, |tensors| {
        let whole = kernel.bind(tensors)?;
        let mut first = start(&whole)?;
        seconds_outputs = harness::run_by(&engine, &kernel, &other, |others| {
            let mut second = start(&kernel.bind(others)?)?;
            for turn in 0..100_000 {
                let mut encoder =
                    engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                let done = [first.encode(&mut encoder), second.encode(&mut encoder)];
                // The kernel as a whole, in between, with scratch of its own.
                if turn % 3 == 0 {
                    whole.encode(&mut encoder);
                }
                engine.queue().submit([encoder.finish()]);
                if done.iter().all(|progress| progress.finished) {
                    return Ok(());
                }
            }
            anyhow::bail!("the jobs do not end")
        })?;
        // The whole kernel has written the first job's outputs too: the job again, alone.
        first.restart();
        finish(&engine, &mut first).map(|_| ())
    })?;
    ensure!(outputs == alone.0 && seconds_outputs == alone.1, "jobs disturb each other");
    Ok(())
}

#[test]
fn a_job_begins_again_with_other_tensors_and_ends_when_it_is_dropped() -> Result<()> {
    let engine = engine_or_skip!();
    let (case, variant) = cases().swap_remove(0);
    let prepared = Prepared::new(case)?;
    let kernel = prepare(&engine, &*prepared.case.problem, variant)?;
    let inputs = harness::storage(&kernel.plan().tensors, &prepared.inputs)?;
    let right = harness::run(&engine, &kernel, &inputs)?;
    let mut others_outputs = Vec::new();
    let mut error = None;
    harness::run_by(&engine, &kernel, &inputs, |tensors| {
        let bound = kernel.bind(tensors)?;
        ensure!(block_on(bound.slices(Duration::ZERO)).is_err(), "a budget of nothing");
        let mut slices = block_on(bound.slices(Duration::from_nanos(1)))?;
        block_on(slices.calibrate())?;
        ensure!(slices.is_calibrated() && slices.total() > Duration::ZERO, "{slices:?}");
        let mut job = block_on(slices.start())?;
        let mut encoder = engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        job.encode(&mut encoder);
        job.took(Duration::from_secs(1));
        engine.queue().submit([encoder.finish()]);
        // Other buffers than those it began with.
        others_outputs = harness::run_by(&engine, &kernel, &inputs, |others| {
            job.restart_with(&kernel.bind(others)?)?;
            finish(&engine, &mut job).map(|_| ())
        })?;
        let same_plan = prepare(&engine, &*prepared.case.problem, variant)?;
        error = job.restart_with(&same_plan.bind(tensors)?).err();
        job.encode(&mut engine.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default()));
        drop(job);
        let mut again = block_on(slices.start())?;
        finish(&engine, &mut again).map(|_| ())
    })?;
    ensure!(others_outputs == right, "the job began again differs");
    let error = error.context("a job took another kernel")?;
    ensure!(error.kind() == ErrorKind::Usage && error.argument() == "bound", "{error}");
    Ok(())
}

#[test]
fn what_takes_long_is_submitted_in_parts() -> Result<()> {
    let Some(engine) = foveal_tests::device::engine_with(
        module_path!(),
        foveal::Options { longest_submission: Duration::from_millis(2), ..foveal_tests::device::options() },
    )?
    else {
        return Ok(());
    };
    let spec =
        foveal_kernels::attention::Attention::new(foveal_kernels::attention::Shape::bhtd(1, 4, 700, 64))
            .causal();
    let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
    let inputs = spec.random_inputs(5);
    let inputs = harness::borrowed(&inputs);
    let mut shares = Vec::new();
    let cut = block_on(engine.run_with(&kernel, &inputs, |share| shares.push(share)))?;
    ensure!(shares.len() > 2 && shares.is_sorted() && shares[0] < 0.9, "{shares:?}");
    let whole = foveal::Options { longest_submission: Duration::ZERO, ..foveal_tests::device::options() };
    let whole = block_on(Engine::new(whole))?;
    let kernel = block_on(whole.prepare(&whole.plan(&spec)?))?;
    ensure!(block_on(whole.run(&kernel, &inputs))? == cut, "parts differ from the whole");
    Ok(())
}

fn prepare(engine: &Engine, problem: &dyn Problem, variant: &str) -> Result<Kernel> {
    let plan = engine.plan_with(problem, &Constraints::variant(variant))?;
    Ok(block_on(engine.prepare_exact(&plan))?)
}
