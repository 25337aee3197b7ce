//! Properties of every plan, for limits that no adapter has.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Layout, Mask, Shape};
use foveal_kernels::{AdapterProfile, BoundTo, Constraints, Dtype, ErrorKind, Plan, Problem, operators};
use foveal_tests::profiles;
use proptest::prelude::*;

fn problems() -> impl Strategy<Value = Attention> {
    let sizes = (1usize..5, 1usize..4, 1usize..4, 0usize..300, 1usize..300, 1usize..200, 1usize..200);
    let choices = (0usize..3, 0usize..3, any::<bool>(), any::<bool>());
    (sizes, choices).prop_map(
        |((batch, kv_heads, group, q_len, kv_len, dim, value_dim), (mask, dtype, bthd, lse))| {
            let mut spec =
                Attention::new(Shape::bhtd(batch, kv_heads * group, q_len, dim).kv(kv_heads, kv_len))
                    .value_dim(value_dim)
                    .mask([Mask::None, Mask::Causal, Mask::CausalTopLeft][mask].clone())
                    .dtype(Dtype::FLOATS[dtype])
                    .layout(if bthd { Layout::Bthd } else { Layout::Bhtd });
            spec.lse = lse;
            spec
        },
    )
}

fn adapters() -> impl Strategy<Value = AdapterProfile> {
    let limits = (10u32..22, prop::sample::select(vec![32u32, 256]), 1u32..40);
    (0..profiles::all().len(), limits).prop_map(|(index, (binding, alignment, groups))| {
        let mut adapter = profiles::all().swap_remove(index);
        adapter.limits.max_storage_buffer_binding_size = 1 << binding;
        adapter.limits.min_storage_buffer_offset_alignment = alignment;
        adapter.limits.max_compute_workgroups_per_dimension = groups;
        adapter
    })
}

/// Checks what the engine and the device would have to refuse.
fn fits(plan: &Plan, adapter: &AdapterProfile) -> Result<()> {
    let limits = &adapter.limits;
    ensure!(plan.threads <= limits.max_compute_invocations_per_workgroup, "{} threads", plan.threads);
    ensure!(
        plan.workgroup_bytes <= limits.max_compute_workgroup_storage_size,
        "{} bytes",
        plan.workgroup_bytes
    );
    for pass in &plan.passes {
        for (axis, &count) in pass.workgroups.iter().enumerate() {
            let allowed = limits.max_compute_workgroups_per_dimension;
            ensure!((1..=allowed).contains(&count), "{count} of {allowed} workgroups along axis {axis}");
        }
        for binding in &pass.bindings {
            let held = match binding.source {
                BoundTo::Tensor(index) => plan.tensors.get(index).context("no such port")?.size_bytes(),
                BoundTo::Scratch(index) => plan.scratch.get(index).context("no such scratch")?.bytes,
            };
            let alignment = u64::from(limits.min_storage_buffer_offset_alignment);
            ensure!(
                binding.offset_bytes.is_multiple_of(alignment),
                "{binding:?} is not aligned to {alignment}"
            );
            ensure!(binding.size_bytes.is_multiple_of(4) && binding.size_bytes > 0, "{binding:?}");
            ensure!(
                binding.offset_bytes + binding.size_bytes <= held,
                "{binding:?} ends beyond {held} bytes"
            );
            ensure!(
                binding.size_bytes <= limits.max_storage_buffer_binding_size,
                "{binding:?} exceeds the limit"
            );
        }
    }
    Ok(())
}

/// Workgroups of all passes, and those a single dispatch would have: pieces neither overlap nor leave gaps, as far as
/// counting can tell. (That they compute the right thing is tier 2's part.)
fn groups(plan: &Plan) -> u64 {
    plan.passes.iter().map(|pass| pass.workgroups.iter().map(|&n| u64::from(n)).product::<u64>()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_fits_its_adapter(spec in problems(), adapter in adapters()) {
        for variant in ["tiled", "broadcast", "naive"] {
            match spec.plan(&adapter, &Constraints::variant(variant)) {
                Ok(plan) => {
                    if let Err(error) = fits(&plan, &adapter) {
                        prop_assert!(false, "{variant}: {error}\n{plan}");
                    }
                    let mut roomy = adapter.clone();
                    roomy.limits.max_storage_buffer_binding_size = 1 << 40;
                    roomy.limits.max_compute_workgroups_per_dimension = u32::MAX;
                    let whole = spec.plan(&roomy, &Constraints::variant(variant)).unwrap();
                    prop_assert!(whole.passes.len() <= 1);
                    // Keys beyond a binding are visited by more workgroups, in segments that are merged.
                    if plan.passes.iter().all(|pass| !pass.label.ends_with("combine")) {
                        prop_assert_eq!(groups(&plan), groups(&whole));
                    }
                }
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Limit, "{}", error),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Masks, scores, lists, norms: all that an operator draws.
    #[test]
    fn any_random_case_fits_its_adapter(seed in any::<u64>(), adapter in adapters()) {
        for operator in operators() {
            let problem = operator.random_case(seed).problem;
            for variant in operator.variants() {
                match problem.plan(&adapter, &Constraints::variant(variant.name)) {
                    Ok(plan) => {
                        if let Err(error) = fits(&plan, &adapter) {
                            prop_assert!(false, "{}: {error}\n{plan}", problem.describe());
                        }
                    }
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Limit, "{}", error),
                }
            }
        }
    }
}
