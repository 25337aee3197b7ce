//! Matrix units: attention's `matrix`, where an adapter lists such matrices, and 16 x 16 where its driver takes them unlisted.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use foveal::{Engine, MatrixUnits, Options, wgpu};
use foveal_kernels::attention::{Attention, Mask, Precision, Shape};
use foveal_kernels::testing::{Case, Comparison, Reference, Rows, compare};
use foveal_kernels::{Constraints, Dtype, HostTensor, Plan, Problem, operator};
use foveal_shaders::{Library, Request};
use foveal_tests::harness::{self, Prepared, borrowed};
use foveal_tests::{device, planned, say, skipped};
use pollster::block_on;

use crate::folder;

/// Engines with matrices of 8 and of 16, as far as the adapter's driver multiplies those. An adapter that lists none has none.
fn engines(what: &str) -> Result<Vec<Engine>> {
    let mut engines = Vec::new();
    let Some(listed) = device::engine_with(what, device::options())? else { return Ok(engines) };
    let Some(unit) = listed.profile().matrix else {
        skipped(what, "the adapter lists no matrices");
        return Ok(engines);
    };
    // Software takes all sizes that its compiler knows; hardware only what it lists.
    let software = listed.profile().kind == foveal::AdapterKind::Cpu;
    engines.push(listed);
    let other = 24 - unit.side;
    if software {
        let options = Options { matrix: MatrixUnits::Side(other), ..device::options() };
        let engine = device::engine_with(what, options)?.context("the adapter is gone")?;
        ensure!(
            engine.profile().matrix.is_some_and(|unit| unit.side == other),
            "{:?}",
            engine.profile().matrix
        );
        engines.push(engine);
    }
    Ok(engines)
}

fn by_matrices(engine: &Engine, problem: &dyn Problem) -> Result<Plan> {
    Ok(engine.plan_with(problem, &Constraints::variant("matrix"))?)
}

/// Products of f16, with outputs that are not rounded to it.
fn precise(spec: Attention) -> Attention {
    spec.precision(Precision::F16).with_lse()
}

/// NMSE of `o`: the square of the relative RMSE.
fn nmse(prepared: &Prepared, outputs: &[harness::Output]) -> Result<(f64, Vec<Comparison>)> {
    let problem = &prepared.case.problem;
    let mut all = Vec::new();
    for expected in &prepared.expected {
        let output = outputs.iter().find(|output| output.tensor_spec.name == expected.name);
        let actual = harness::dense(output.context("an output is missing")?)?;
        all.push(compare(expected, &actual, problem.tolerance(&expected.name))?);
    }
    let of_o = all.iter().find(|comparison| comparison.name == "o").context("o is missing")?;
    Ok((of_o.rel_rmse * of_o.rel_rmse, all))
}

#[test]
fn outputs_are_as_precise_as_weights_of_f16_allow() -> Result<()> {
    for engine in engines(module_path!())? {
        for spec in [
            Attention::new(Shape::bhtd(1, 2, 70, 16).kv(1, 300)),
            Attention::new(Shape::bhtd(1, 2, 70, 20).kv(2, 150)).causal().value_dim(12),
            Attention::new(Shape::bhtd(2, 4, 40, 16).kv(2, 130)).mask(Mask::parse("window(30, 10)")?),
        ] {
            let plan = by_matrices(&engine, &precise(spec))?;
            let kernel = block_on(engine.prepare_exact(&plan))?;
            let case = Case { name: plan.problem.describe(), problem: plan.problem.clone(), seed: 11 };
            let prepared = Prepared::new(case)?;
            let outputs = prepared.check(&engine, &kernel, folder())?;
            let (nmse, _) = nmse(&prepared, &outputs)?;
            say(&format!("{}: NMSE {nmse:.1e}", prepared.case.name));
            ensure!(nmse <= 1e-7, "{}: NMSE {nmse:.1e}", prepared.case.name);
        }
    }
    Ok(())
}

/// Keys whose norms grow seven times along them, so that rows leave their references behind.
fn growing_keys() -> Result<Prepared> {
    let spec = precise(Attention::new(Shape::bhtd(1, 2, 40, 16).kv(2, 300)));
    let mut inputs = spec.random_inputs(5);
    let (_, keys) = inputs.iter_mut().find(|(name, _)| name == "k").context("there is no k")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]
    let longer: Vec<f32> = keys
        .to_f64()
        .into_iter()
        .enumerate()
        .map(|(at, x)| x as f32 * (1.0 + 6.0 * (at / 16 % 300) as f32 / 300.0))
        .collect();
    *keys = HostTensor::from_f32(keys.shape().to_vec(), &longer, Dtype::F32)?;
    let expected = spec.reference(&borrowed(&inputs), Rows::All)?;
    let case = Case { name: "growing keys".into(), problem: Arc::new(spec), seed: 5 };
    Ok(Prepared { case, inputs, expected })
}

#[test]
fn rows_whose_maximum_grows_are_rescaled() -> Result<()> {
    let prepared = growing_keys()?;
    for engine in engines(module_path!())? {
        let plan = by_matrices(&engine, &*prepared.case.problem)?;
        let kernel = block_on(engine.prepare_exact(&plan))?;
        let outputs = prepared.check(&engine, &kernel, folder())?;
        let (nmse, _) = nmse(&prepared, &outputs)?;
        say(&format!("growing keys, matrices of {:?}: NMSE {nmse:.1e}", engine.profile().matrix));
        ensure!(nmse <= 1e-7, "NMSE {nmse:.1e}");
    }
    Ok(())
}

/// The module of the kernel's steps, and the name of one that is spoilt.
const STEPS: &str = "attention/matrix_steps";
const SPOILT: &str = "spoilt_matrix_steps";

fn spoilt(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for pass in plan.passes.iter_mut().filter(|pass| pass.request.module == "attention/matrix") {
        let request = Request::clone(&pass.request).replace(STEPS, SPOILT);
        pass.request = Arc::new(request);
    }
    plan
}

/// Each line is there for a reason: without it, these inputs and the self-check's come out wrong.
#[test]
fn without_the_slow_path_results_are_wrong() -> Result<()> {
    let builtin = Library::builtin();
    let text = builtin.source(STEPS).context("the module to spoil is gone")?;
    for (from, to, grows) in [
        ("score_rows[at] * row_factors[row]", "score_rows[at]", true),
        ("grown & (row_sum[r] != 0.0)", "false", true),
        ("nan_if(x, sees_odd(tile, row, column))", "x", false),
        ("odd = odd | (sees & (", "odd = odd | (true & (", false),
    ] {
        ensure!(text.contains(from), "the module has no `{from}` to spoil");
        let library = builtin.with_modules(&[(SPOILT, &text.replacen(from, to, 1))])?;
        for engine in engines(module_path!())?.into_iter().take(1) {
            let options = Options {
                library: Arc::new(library.clone()),
                self_check: foveal::SelfCheck::Off,
                matrix: MatrixUnits::Side(engine.profile().matrix.map_or(8, |unit| unit.side)),
                ..device::options()
            };
            let unchecked =
                Engine::from_device_with(engine.device().clone(), engine.queue().clone(), options)?;
            let growing = growing_keys()?;
            if grows {
                let plan = spoilt(&by_matrices(&engine, &*growing.case.problem)?);
                let kernel = block_on(unchecked.prepare_exact(&plan))?;
                let outputs = harness::run(
                    &unchecked,
                    &kernel,
                    &harness::storage(&kernel.plan().tensors, &growing.inputs)?,
                )?;
                let (nmse, comparisons) = nmse(&growing, &outputs)?;
                let passed = comparisons.iter().all(|comparison| comparison.passed);
                ensure!(!passed && (nmse.is_nan() || nmse > 1e-3), "`{to}` gives NMSE {nmse:.1e}");
            }
            // Causal: what some rows see, others do not.
            let small = precise(Attention::new(Shape::bhtd(1, 2, 40, 16).kv(2, 300))).causal();
            let small = Problem::self_check_problem(&small);
            let plan = spoilt(&by_matrices(&engine, &*small)?);
            let kernel = block_on(unchecked.prepare_exact(&plan))?;
            let case = Case { name: "spoilt".into(), problem: small, seed: 1 };
            let judged = Prepared::new(case)?.check(&unchecked, &kernel, folder());
            ensure!(judged.is_err(), "the self-check would not see `{to}`");
        }
    }
    Ok(())
}

/// The width of a problem's rows.
fn widest(problem: &dyn Problem) -> usize {
    let shape = problem.shape();
    let dims = shape.rsplit('x').next().unwrap_or_default().split(':');
    dims.filter_map(|dim| dim.parse().ok()).max().unwrap_or(usize::MAX)
}

#[test]
fn random_problems_are_right() -> Result<()> {
    // Narrow ones: software compiles matrices for seconds.
    const WIDEST: usize = 40;
    let asked = std::env::var("FOVEAL_RANDOM_MATRICES").ok().and_then(|count| count.parse::<usize>().ok());
    let of_attention = operator("attention")?;
    for engine in engines(module_path!())? {
        let side = engine.profile().matrix.map_or(0, |unit| unit.side);
        let wanted = asked.unwrap_or(12);
        let mut run = 0;
        let mut worst = 0.0_f64;
        for seed in (0..).take(100 * wanted) {
            let case = of_attention.random_case(seed);
            if run == wanted {
                break;
            }
            if widest(&*case.problem) > WIDEST {
                continue;
            }
            let Some(plan) = planned::plan(&case, engine.profile(), "matrix")? else { continue };
            let kernel = block_on(engine.prepare_exact(&plan)).with_context(|| case.name.clone())?;
            let prepared = Prepared::new(case)?;
            let context = || format!("seed {seed}: {}", plan.problem.describe());
            let outputs = prepared.check(&engine, &kernel, folder()).with_context(context)?;
            let (nmse, _) = nmse(&prepared, &outputs)?;
            worst = worst.max(if nmse.is_finite() { nmse } else { 0.0 });
            run += 1;
        }
        ensure!(run == wanted, "{run} of {wanted} problems were found");
        say(&format!("{run} random problems by matrices of {side}: worst NMSE {worst:.1e}"));
    }
    Ok(())
}

#[test]
fn a_host_says_which_matrices_its_device_has() -> Result<()> {
    let problem = Attention::new(Shape::bhtd(1, 1, 40, 16)).dtype(Dtype::F16);
    for engine in engines(module_path!())?.into_iter().take(1) {
        let side = engine.profile().matrix.map_or(0, |unit| unit.side);
        let host = |matrix| {
            let options = Options { matrix, ..device::options() };
            Engine::from_device_with(engine.device().clone(), engine.queue().clone(), options)
        };
        let told = host(MatrixUnits::Side(side))?;
        block_on(told.prepare(&told.plan(&problem)?))?;
        ensure!(told.profile().matrix == engine.profile().matrix, "{:?}", told.profile().matrix);
        by_matrices(&told, &problem)?;
        for untold in [host(MatrixUnits::Listed)?, host(MatrixUnits::Off)?] {
            block_on(untold.prepare(&untold.plan(&problem)?))?;
            ensure!(untold.profile().matrix.is_none(), "{:?}", untold.profile().matrix);
            ensure!(by_matrices(&untold, &problem).is_err(), "planned without matrices");
        }
    }
    Ok(())
}

#[test]
fn matrices_can_be_turned_off() -> Result<()> {
    let options = Options { matrix: MatrixUnits::Off, ..device::options() };
    let Some(engine) = device::engine_with(module_path!(), options)? else { return Ok(()) };
    ensure!(engine.profile().matrix.is_none());
    let features = engine.device().features();
    ensure!(!features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX), "{features:?}");
    Ok(())
}
