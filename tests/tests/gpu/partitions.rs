//! A problem that is split over dispatches because of a limit equals the whole.

use anyhow::{Context, Result, ensure};
use foveal::Engine;
use foveal_kernels::attention::{Attention, Layout, QkNorm, Rotary, Scale, Shape};
use foveal_kernels::block_mask::{BlockGrid, BlockMask};
use foveal_kernels::expr::{Expr, Table};
use foveal_kernels::linear_attention::{FeatureMap, Gate, LinearAttention, LinearShape, Rule};
use foveal_kernels::specs::Pairing;
use foveal_kernels::{
    AdapterProfile, Constraints, Described, Dtype, ErrorKind, Problem, operator, operators, testing::Case,
};
use foveal_tests::harness::Prepared;
use foveal_tests::{device, say};
use pollster::block_on;
use std::sync::Arc;

use crate::{engine_or_skip, folder};

fn split_equals_whole<P: Problem + Clone + 'static>(
    engine: &Engine,
    spec: &P,
    lowered: &AdapterProfile,
    why: &str,
) -> Result<()> {
    split_is_right(engine, spec, lowered, why, |_| true)
}

/// Pieces are right, and have the bits of the whole by variants of which that is asked.
fn split_is_right<P: Problem + Clone + 'static>(
    engine: &Engine,
    spec: &P,
    lowered: &AdapterProfile,
    why: &str,
    same_bits: impl Fn(&str) -> bool,
) -> Result<()> {
    let prepared = Prepared::new(Case { name: spec.describe(), problem: Arc::new(spec.clone()), seed: 9 })?;
    let mut max = 0;
    for variant in operator(spec.operator())?.variants() {
        let constraints = Constraints::variant(variant.name);
        let Ok(whole) = engine.plan_with(spec, &constraints) else { continue };
        let split = match spec.plan(lowered, &constraints) {
            Ok(plan) => plan,
            // A variant whose tile alone exceeds the limit.
            Err(error) if error.kind() == ErrorKind::Limit => continue,
            Err(error) => return Err(error).with_context(|| format!("{why}: {}", variant.name)),
        };
        ensure!(split.requests() == whole.requests(), "{why}: {} has other kernels", variant.name);
        max = max.max(1 + split.passes.len().saturating_sub(whole.passes.len()));
        let [whole, split] = [whole, split].map(|plan| -> Result<_> {
            let kernel = block_on(engine.prepare_exact(&plan))?;
            prepared.check(engine, &kernel, folder()).with_context(|| format!("{why}: {}", variant.name))
        });
        let same = whole? == split?;
        ensure!(
            same || !same_bits(variant.name),
            "{why}: pieces by {} differ from the whole in their bits",
            variant.name
        );
    }
    ensure!(max > 1, "{why}: nothing was split");
    say(&format!("{}: in up to {max} pieces ({why})", spec.describe()));
    Ok(())
}

fn lowered(engine: &Engine, change: impl FnOnce(&mut foveal_kernels::Limits)) -> AdapterProfile {
    let mut profile = engine.profile().clone();
    change(&mut profile.limits);
    profile
}

#[test]
fn keys_beyond_a_binding_are_right() -> Result<()> {
    let shared = engine_or_skip!();
    // The self-check would be planned for the adapter's own limits.
    let engine = device::unchecked(&shared)?;
    // 256 keys of 64 elements are 64 KiB.
    let small = lowered(&engine, |limits| limits.max_storage_buffer_binding_size = 72 << 10);
    let spec = || Attention::new(Shape::bhtd(1, 2, 40, 64).kv(1, 700)).with_lse();
    let mut odd = spec().kv_lengths("keys").causal().dtype(Dtype::F16).layout(Layout::Bthd);
    (odd.head_dim, odd.value_dim) = (63, 70);
    odd.sink_logits = Some("sinks".into());
    let few = Attention::new(Shape::bhtd(1, 4, 2, 64).kv(2, 700)).with_lse().causal();
    let turned = spec().causal().dtype(Dtype::F16).rotary(Rotary::new(Pairing::Halves));
    for spec in [spec().causal(), spec().qk_norm(QkNorm::L2), turned, odd, few.clone().splits(5), few] {
        let prepared =
            Prepared::new(Case { name: spec.describe(), problem: Arc::new(spec.clone()), seed: 9 })?;
        let mut seen = 0;
        for variant in operator("attention")?.variants() {
            let Ok(plan) = spec.plan(&small, &Constraints::variant(variant.name)) else { continue };
            ensure!(plan.passes.iter().any(|pass| pass.label.ends_with("combine")), "{plan}");
            let kernel = block_on(engine.prepare_exact(&plan))?;
            prepared.check(&engine, &kernel, folder()).with_context(|| variant.name)?;
            seen += 1;
        }
        ensure!(
            seen >= if spec.splits.is_some() { 1 } else { 2 },
            "only {seen} variants of {}",
            spec.describe()
        );
    }
    Ok(())
}

#[test]
fn pieces_that_fit_in_bindings_equal_the_whole() -> Result<()> {
    let engine = engine_or_skip!();
    // 32 KiB for all keys of a batch entry and head: 64 KiB holds two of them.
    let small = lowered(&engine, |limits| limits.max_storage_buffer_binding_size = 64 << 10);
    let spec = Attention::new(Shape::bhtd(3, 4, 200, 64).kv(4, 128)).with_lse().causal();
    split_equals_whole(&engine, &spec, &small, "bindings of 64 KiB")?;
    let transposed = Attention::new(Shape::bhtd(2, 3, 150, 64).kv(3, 64)).with_lse().layout(Layout::Bthd);
    let medium = lowered(&engine, |limits| limits.max_storage_buffer_binding_size = 128 << 10);
    split_equals_whole(&engine, &transposed, &medium, "bindings of 128 KiB")?;
    // Rows of odd width in 16 bits start in the middle of words and of alignments.
    let odd = Attention::new(Shape::bhtd(3, 4, 150, 33).kv(2, 100)).with_lse().dtype(Dtype::F16);
    let tiny = lowered(&engine, |limits| limits.max_storage_buffer_binding_size = 12 << 10);
    split_equals_whole(&engine, &odd, &tiny, "bindings of 12 KiB")?;
    let grouped = Attention::new(Shape::bhtd(4, 8, 3, 64).kv(2, 100)).with_lse().causal();
    split_equals_whole(&engine, &grouped, &small, "bindings of 64 KiB")?;
    // Turned rows are more than a binding holds, and are bound in parts as the others are.
    let rotary = Rotary::new(Pairing::Pairs).positions("p").key_positions("kp");
    let turned = spec.clone().dtype(Dtype::F16).rotary(rotary.clone());
    split_equals_whole(&engine, &turned, &small, "bindings of 64 KiB, turned")?;
    split_equals_whole(&engine, &grouped.rotary(rotary), &small, "bindings of 64 KiB, turned")
}

/// The scratch of chunks has to fit, too, and a dispatch may begin in the middle of a sequence.
#[test]
fn pieces_of_linear_attention_equal_the_whole() -> Result<()> {
    let engine = engine_or_skip!();
    // States at the starts of the chunks of all heads are 1.3 MB, decays of two heads' channels 395 KB.
    let small = lowered(&engine, |limits| limits.max_storage_buffer_binding_size = 512 << 10);
    let narrow = lowered(&engine, |limits| limits.max_compute_workgroups_per_dimension = 16);
    let spec = LinearAttention::new(LinearShape::bhtd(5, 2, 200, 64).value_heads(4)).with_states();
    let add = spec.clone().gate(Gate::Scalar);
    let delta = spec.rule(Rule::Delta).gate(Gate::Vector);
    for spec in [add, delta] {
        split_equals_whole(&engine, &spec, &small, "bindings of 512 KiB")?;
        split_equals_whole(&engine, &spec, &narrow, "sixteen workgroups a dimension")?;
    }
    let packed =
        LinearAttention::new(LinearShape::bhtd(1, 2, 1500, 16)).gate(Gate::Scalar).with_states().sequences(5);
    split_equals_whole(&engine, &packed, &narrow, "sixteen workgroups a dimension")
}

/// Value heads that share a key come apart. States of odd size in 16 bits share words.
#[test]
fn pieces_of_value_heads_equal_the_whole() -> Result<()> {
    let engine = engine_or_skip!();
    // Prepared inputs of a value head are 56 KB, of two 98 KB.
    let small = lowered(&engine, |limits| limits.max_storage_buffer_binding_size = 60 << 10);
    let shape = LinearShape::bhtd(2, 1, 100, 33).value_heads(4).value_dim(31).query_heads(8);
    let spec =
        LinearAttention::new(shape).rule(Rule::Delta).gate(Gate::Scalar).feature_map(FeatureMap::L2Norm);
    let spec = spec.with_states().state_dtype(Dtype::F16).checkpoint_every(64);
    split_equals_whole(&engine, &spec, &small, "bindings of 60 KiB")
}

#[test]
fn pieces_that_fit_in_grids_equal_the_whole() -> Result<()> {
    let engine = engine_or_skip!();
    let narrow = lowered(&engine, |limits| limits.max_compute_workgroups_per_dimension = 2);
    let spec = Attention::new(Shape::bhtd(3, 4, 300, 64).kv(4, 128)).with_lse().causal();
    split_equals_whole(&engine, &spec, &narrow, "two workgroups a dimension")?;
    let grouped = Attention::new(Shape::bhtd(3, 12, 20, 64).kv(4, 50)).with_lse().causal();
    split_equals_whole(&engine, &grouped, &narrow, "two workgroups a dimension")?;
    let shared = Attention::new(Shape::bhtd(7, 4, 30, 64).kv(2, 290)).with_lse().causal().shared_prefix(256);
    let three = lowered(&engine, |limits| limits.max_compute_workgroups_per_dimension = 4);
    // Rows of all entries of a piece meet the prefix together, so another piece gives a row another lane; and lanes of four take
    // keys in an order of their own.
    let of_eight = engine.profile().features.subgroups.is_some_and(|(min, _)| min >= 8);
    let same_bits = |variant: &str| of_eight || variant != "broadcast";
    split_is_right(&engine, &shared, &three, "four workgroups a dimension", same_bits)
}

/// Random problems of every operator where bindings are small: keys in segments, heads and batch entries apart.
#[test]
fn random_problems_in_small_bindings_are_right() -> Result<()> {
    let shared = engine_or_skip!();
    // The self-check would be planned for the adapter's own limits.
    let engine = device::unchecked(&shared)?;
    for operator in operators() {
        let mut cut = 0;
        for seed in 0..150 {
            let case = operator.random_case(9000 + seed);
            let small = lowered(&engine, |limits| limits.max_storage_buffer_binding_size = 16 << 10);
            let plans = [engine.profile(), &small].map(|of| case.problem.plan(of, &Constraints::default()));
            let [Ok(whole), Ok(plan)] = plans else { continue };
            if plan.passes.len() <= whole.passes.len() || cut == MOST_CUT {
                continue;
            }
            cut += 1;
            let kernel = block_on(engine.prepare_exact(&plan))?;
            let name = case.name.clone();
            let prepared = Prepared::new(case)?;
            prepared
                .check(&engine, &kernel, folder())
                .with_context(|| format!("{} {name}", operator.name()))?;
        }
        say(&format!("{}: {cut} random problems in bindings of 16 KiB", operator.name()));
        ensure!(cut > 0 || !["attention", "linear"].contains(&operator.name()), "nothing was cut");
    }
    Ok(())
}

/// Compiling takes seconds each.
const MOST_CUT: usize = 6;

/// Lists, tables, norms and sinks belong to rows and heads of the whole, wherever a piece begins.
#[test]
fn pieces_of_masked_problems_equal_the_whole() -> Result<()> {
    let engine = engine_or_skip!();
    let small = lowered(&engine, |limits| limits.max_storage_buffer_binding_size = 64 << 10);
    let narrow = lowered(&engine, |limits| limits.max_compute_workgroups_per_dimension = 3);
    let spec =
        |q_len: usize, kv_len: usize| Attention::new(Shape::bhtd(3, 4, q_len, 64).kv(2, kv_len)).with_lse();
    let by_head = spec(200, 128).mask(Expr::parse_mask("causal & window(30, 0) | k < h + b")?);
    let mut scored = spec(150, 120)
        .mask(Expr::parse_mask("k <= q + 20")?)
        .score(Expr::parse_score("s + bias[h, k] - 0.5 * x[b, q]")?)
        .table(Table::new("bias", Dtype::F32, vec![4, 120]))
        .table(Table::new("x", Dtype::F16, vec![3, 150]));
    scored.qk_norm = Some(QkNorm::L2);
    scored.sink_logits = Some("sinks".into());
    scored.scale = Scale::PerHead("scales".into());
    let listed =
        spec(200, 128).block_mask(BlockMask::random(BlockGrid::new(200, 128, 16, 16).per(3, 4), 0.4, 5)?);
    for spec in [by_head, scored, listed] {
        split_equals_whole(&engine, &spec, &small, "bindings of 64 KiB")?;
        split_equals_whole(&engine, &spec, &narrow, "three workgroups a dimension")?;
    }
    let documents = Attention::new(Shape::bhtd(1, 3, 600, 16).kv(3, 520))
        .with_lse()
        .mask(Expr::parse_mask("seg_q[q] == seg_k[k] | k < h")?)
        .table(Table::new("seg_q", Dtype::I32, vec![600]))
        .table(Table::new("seg_k", Dtype::I32, vec![520]));
    // The passes that make lists need a workgroup for each block of keys in a dimension.
    let modest = lowered(&engine, |limits| limits.max_compute_workgroups_per_dimension = 16);
    split_equals_whole(&engine, &documents, &modest, "sixteen workgroups a dimension")
}
