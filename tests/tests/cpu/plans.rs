//! Plans as plain data.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Layout, Mask, Shape};
use foveal_kernels::{AdapterProfile, Constraints, Dtype, ErrorKind, Problem, operator, operators};
use foveal_tests::{planned, profiles};

#[test]
fn planning_is_deterministic() -> Result<()> {
    let profiles = profiles::all();
    for case in planned::cases()? {
        for adapter in &profiles {
            let plan = case.problem.plan(adapter, &Constraints::default())?;
            let again = case.problem.plan(adapter, &Constraints::default())?;
            ensure!(format!("{plan:?}") == format!("{again:?}"), "{} plans differently again", case.name);
        }
    }
    Ok(())
}

#[test]
fn a_plan_explains_every_variant() -> Result<()> {
    for operator in operators() {
        for case in operator.cases() {
            for adapter in profiles::all() {
                let plan = case.problem.plan(&adapter, &Constraints::default())?;
                let mut named: Vec<&str> =
                    plan.rejected_variants.iter().map(|rejected| rejected.variant.as_str()).collect();
                named.push(&plan.variant);
                named.sort_unstable();
                let mut variants: Vec<&str> =
                    operator.variants().iter().map(|variant| variant.name).collect();
                variants.sort_unstable();
                ensure!(named == variants, "{} on {}: {named:?} of {variants:?}", case.name, adapter.name);
                ensure!(
                    plan.rejected_variants.iter().all(|rejected| !rejected.reason.is_empty())
                        && !plan.reason.is_empty()
                );
                let text = plan.to_string();
                ensure!(
                    plan.rejected_variants.iter().all(|rejected| text.contains(&rejected.reason)),
                    "{text}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn refused_variants_are_not_taken() -> Result<()> {
    for case in planned::cases()? {
        let mut constraints = Constraints::default();
        loop {
            match case.problem.plan(&profiles::lavapipe(), &constraints) {
                Ok(plan) => {
                    ensure!(
                        constraints.refused.insert(plan.variant.clone()),
                        "{} takes {}",
                        case.name,
                        plan.variant
                    );
                }
                Err(error) => {
                    ensure!(error.kind() == ErrorKind::Limit, "{error}");
                    let message = error.to_string();
                    ensure!(constraints.refused.iter().all(|variant| message.contains(variant)), "{message}");
                    break;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn errors_of_limits_name_the_limit() -> Result<()> {
    let spec = || Attention::new(Shape::bhtd(2, 4, 128, 64)).with_lse();
    let floor = AdapterProfile::webgpu_floor;
    let with = |change: fn(&mut foveal_kernels::Limits)| {
        let mut adapter = floor();
        change(&mut adapter.limits);
        adapter
    };
    let any = Constraints::default();
    let tiled = Constraints::variant("tiled");
    let broadcast = Constraints::variant("broadcast");
    let cases = [
        ("max_buffer_size", with(|limits| limits.max_buffer_size = 1000), &any),
        (
            "max_storage_buffer_binding_size",
            with(|limits| limits.max_storage_buffer_binding_size = 1000),
            &any,
        ),
        (
            "max_storage_buffers_per_shader_stage",
            with(|limits| limits.max_storage_buffers_per_shader_stage = 4),
            &any,
        ),
        (
            "max_compute_workgroup_storage_size",
            with(|limits| limits.max_compute_workgroup_storage_size = 1000),
            &tiled,
        ),
        (
            "max_compute_invocations_per_workgroup",
            with(|limits| limits.max_compute_invocations_per_workgroup = 128),
            &tiled,
        ),
        ("subgroups", floor(), &broadcast),
    ];
    for (limit, adapter, constraints) in cases {
        let error =
            spec().plan(&adapter, constraints).err().with_context(|| format!("{limit} stops nothing"))?;
        ensure!(error.kind() == ErrorKind::Limit, "{limit}: {error}");
        ensure!(error.to_string().contains(limit), "`{limit}` is not in: {error}");
    }
    let unknown = spec().plan(&floor(), &Constraints::variant("tilde")).err().context("planned")?;
    ensure!(unknown.kind() == ErrorKind::Invalid && unknown.to_string().contains("tiled"), "{unknown}");
    Ok(())
}

#[test]
fn options_and_shape_lead_back_to_the_problem() -> Result<()> {
    let mut problems: Vec<_> = planned::cases()?.into_iter().map(|case| (case.problem, case.seed)).collect();
    for operator in operators() {
        problems.extend((0..300).map(|seed| (operator.random_case(seed).problem, seed)));
    }
    // Lists that were made in code are in no option.
    problems.retain(|(problem, _)| {
        problem.options().contains("block_mask") || !problem.describe().contains("blocks ")
    });
    for (problem, _) in &problems {
        let operator = operator(problem.operator())?;
        let again = operator
            .problem_of_shape(&problem.shape(), &problem.options())
            .with_context(|| problem.describe())?;
        ensure!(same(&**problem, &*again), "{problem:?} comes back as {again:?}");
    }
    // And from tensors, as files hold them.
    for (problem, seed) in problems.iter().filter(|(problem, _)| problem.work().flops < 1e7) {
        let operator = operator(problem.operator())?;
        let tensors: Vec<_> = problem
            .random_inputs(*seed)
            .into_iter()
            .map(|(name, tensor)| (name.into_owned(), tensor))
            .collect();
        let mut options = problem.options();
        // Integers in q do not tell how o is stored.
        if !options.contains("q_scale") {
            options.remove("dtype");
        }
        let again = operator.problem(&options, &tensors).with_context(|| problem.describe())?;
        ensure!(same(&**problem, &*again), "{problem:?} comes back as {again:?}");
    }
    Ok(())
}

/// Whether two problems are the same but for the order of their tables, and what random values those are filled with.
fn same(a: &dyn Problem, b: &dyn Problem) -> bool {
    let tensor_specs = |problem: &dyn Problem| {
        let mut tensor_specs = problem.tensors();
        tensor_specs.sort_by(|a, b| a.name.cmp(&b.name));
        tensor_specs
    };
    a.describe() == b.describe() && a.options() == b.options() && tensor_specs(a) == tensor_specs(b)
}

#[test]
fn case_names_are_unique() {
    for operator in operators() {
        let mut names: Vec<String> = operator.cases().into_iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }
}

#[test]
fn nonsense_is_invalid_and_says_which_argument() {
    let wrong: [(&str, Attention); 5] = [
        ("q_heads", Attention::new(Shape::bhtd(1, 3, 4, 8).kv(2, 4))),
        ("kv_heads", Attention::new(Shape::bhtd(1, 3, 4, 8).kv(0, 4))),
        ("head_dim", Attention::new(Shape::bhtd(1, 1, 4, 0))),
        ("value_dim", Attention::new(Shape::bhtd(1, 1, 4, 8)).value_dim(577)),
        ("scale", Attention::new(Shape::bhtd(1, 1, 4, 8)).scale(f64::NAN)),
    ];
    for (argument, spec) in wrong {
        let error = spec.plan(&AdapterProfile::webgpu_floor(), &Constraints::default()).unwrap_err();
        assert_eq!((error.kind(), error.argument()), (ErrorKind::Invalid, argument), "{error}");
    }
}

#[test]
fn a_k_of_another_width_or_batch_is_not_taken_for_one_of_q() {
    let q = [2, 1, 4, 64];
    for (k, v, message) in [
        ([2, 1, 4, 32], [2, 1, 4, 64], "k: expected head_dim 64 as in q, got 32"),
        ([1, 1, 4, 64], [1, 1, 4, 64], "k: expected batch 2 as in q, got 1"),
        ([2, 3, 4, 64], [2, 1, 4, 64], "v: expected heads 3 as in k, got 1"),
        ([2, 1, 9, 64], [2, 1, 4, 64], "v: expected length 9 as in k, got 4"),
    ] {
        assert!(Shape::of_tensors(q, k, v).unwrap_err().to_string().contains(message), "{message}");
    }
}

#[test]
fn every_storage_type_and_layout_runs_on_the_floor() -> Result<()> {
    for dtype in Dtype::FLOATS {
        for layout in [Layout::Bhtd, Layout::Bthd] {
            for mask in [Mask::None, Mask::Causal, Mask::CausalTopLeft] {
                for dim in [1, 63, 64, 576] {
                    let spec = Attention::new(Shape::bhtd(1, 2, 50, dim))
                        .dtype(dtype)
                        .layout(layout)
                        .mask(mask.clone());
                    let plan = spec.plan(&AdapterProfile::webgpu_floor(), &Constraints::default())?;
                    ensure!(plan.threads <= 256 && plan.workgroup_bytes <= 16 << 10, "{plan}");
                }
            }
        }
    }
    Ok(())
}
