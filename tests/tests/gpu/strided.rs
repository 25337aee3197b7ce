//! Tensors with strides: parts of larger tensors, bound where they lie.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Mask, Shape, Strides};
use foveal_kernels::{
    Constraints, Dtype, HostTensor, Plan, Problem, operator,
    testing::{Reference, Rows, compare},
};
use foveal_tests::{device, harness};
use pollster::block_on;

use crate::engine_or_skip;

/// Where the elements of `[B, H, T, D]` lie in strided storage, in row-major order.
fn positions([batch, heads, len, dim]: [usize; 4], strides: Strides) -> Vec<usize> {
    let mut positions = Vec::with_capacity(batch * heads * len * dim);
    for b in 0..batch {
        for h in 0..heads {
            for t in 0..len {
                let row = b * strides.batch + h * strides.head + t * strides.position;
                positions.extend(row..row + dim);
            }
        }
    }
    positions
}

/// Storage with NaN wherever no element lies: reading there shows it.
fn poisoned(bytes: &[u8], width: usize, used: &[usize]) -> Vec<u8> {
    let mut poisoned = vec![0xff; bytes.len()];
    for &element in used {
        let range = element * width..(element + 1) * width;
        poisoned[range.clone()].copy_from_slice(&bytes[range]);
    }
    poisoned
}

fn check(engine: &foveal::Engine, spec: &Attention, plan: &Plan) -> Result<()> {
    let kernel = block_on(engine.prepare_exact(plan))?;
    let inputs = spec.random_inputs(13);
    let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
    let width = spec.dtype.size_bytes();
    let mut storage = harness::storage(&plan.tensors, &inputs)?;
    for (name, bytes) in &mut storage {
        let (sizes, strides) = match *name {
            "q" => ([spec.batch, spec.q_heads, spec.q_len, spec.head_dim], spec.q_strides),
            "k" => ([spec.batch, spec.kv_heads, spec.kv_len, spec.head_dim], spec.k_strides),
            _ => ([spec.batch, spec.kv_heads, spec.kv_len, spec.value_dim], spec.v_strides),
        };
        if let Some(strides) = strides {
            *bytes = poisoned(bytes, width, &positions(sizes, strides));
        }
    }
    let outputs = harness::run(engine, &kernel, &storage)?;
    for expected in &expected {
        let output =
            outputs.iter().find(|output| output.tensor_spec.name == expected.name).context("no output")?;
        let strides = spec.o_strides.filter(|_| output.tensor_spec.name == "o");
        let actual = if let Some(strides) = strides {
            let sizes = [spec.batch, spec.q_heads, spec.q_len, spec.value_dim];
            let used = positions(sizes, strides);
            let elements: Vec<u8> =
                used.iter().flat_map(|&at| output.bytes[at * width..(at + 1) * width].to_vec()).collect();
            // Bytes between the rows belong to another tensor, and outputs start as NaN.
            let mut between = vec![true; output.bytes.len() / width];
            used.iter().for_each(|&at| between[at] = false);
            let elements_now = output.bytes.chunks(width).zip(&between);
            ensure!(
                elements_now
                    .filter(|(_, between)| **between)
                    .all(|(now, _)| now.iter().all(|&byte| byte == 0xff)),
                "elements between the rows of `o` were written"
            );
            HostTensor::from_bytes(output.tensor_spec.shape.clone(), &elements, spec.dtype)?
        } else {
            harness::dense(output)?
        };
        let comparison = compare(expected, &actual, spec.tolerance(&expected.name))?;
        ensure!(comparison.passed, "{}", harness::describe(&comparison));
    }
    Ok(())
}

/// q, k and v side by side in each position, as a fused projection leaves them; o among other things.
fn packed(dim: usize, value_dim: usize, gap: usize, dtype: Dtype) -> Attention {
    let (batch, heads, q_len, kv_len) = (2, 2, 37, 45);
    let row = heads * (2 * dim + value_dim) + gap;
    let within = |head: usize, len: usize| Strides { batch: len * row + gap, head, position: row };
    let mut spec = Attention::new(Shape::bhtd(batch, heads, q_len, dim).kv(heads, kv_len))
        .value_dim(value_dim)
        .dtype(dtype)
        .mask(Mask::Causal)
        .with_lse();
    spec.q_strides = Some(within(dim, q_len));
    spec.k_strides = Some(within(dim + gap, kv_len));
    spec.v_strides = Some(within(value_dim, kv_len));
    let o_row = heads * value_dim + gap;
    spec.o_strides = Some(Strides { batch: q_len * o_row + 3 * gap, head: value_dim, position: o_row });
    spec
}

#[test]
fn strided_tensors_are_read_and_written_where_they_lie() -> Result<()> {
    let engine = engine_or_skip!();
    // Whether the self-check can run such problems has a test of its own.
    let unchecked = device::unchecked(&engine)?;
    let specs = [
        packed(64, 64, 0, Dtype::F32),
        packed(64, 64, 4, Dtype::F32),
        packed(64, 64, 3, Dtype::F32),
        packed(30, 18, 1, Dtype::F32),
        packed(64, 64, 4, Dtype::F16),
        packed(64, 64, 1, Dtype::F16),
        packed(7, 5, 2, Dtype::Bf16),
    ];
    for spec in specs {
        for variant in operator(spec.operator())?.variants() {
            let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant.name)) else { continue };
            let outputs = plan.tensors.iter().filter(|tensor_spec| tensor_spec.access.writes()).count();
            ensure!(outputs == 2);
            check(&unchecked, &spec, &plan).with_context(|| format!("{} of {spec:?}", variant.name))?;
        }
    }
    Ok(())
}

/// The canonical problem of uneven strides has uneven strides itself, and the self-check has to bind them.
#[test]
fn strided_problems_pass_the_self_check() -> Result<()> {
    let engine = engine_or_skip!();
    for gap in [0, 3, 4] {
        let spec = packed(64, 64, gap, Dtype::F32);
        for variant in operator(spec.operator())?.variants() {
            let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant.name)) else { continue };
            block_on(engine.prepare_exact(&plan)).with_context(|| format!("{} of {spec:?}", variant.name))?;
        }
    }
    Ok(())
}

/// A key that is read again and again: strides of zero.
#[test]
fn inputs_may_overlap_themselves() -> Result<()> {
    let engine = engine_or_skip!();
    let mut spec = Attention::new(Shape::bhtd(2, 2, 20, 32).kv(2, 30)).with_lse();
    spec.k_strides = Some(Strides { batch: 0, head: 0, position: 32 });
    spec.v_strides = Some(Strides { batch: 0, head: 960, position: 32 });
    for variant in operator(spec.operator())?.variants() {
        let Ok(plan) = engine.plan_with(&spec, &Constraints::variant(variant.name)) else { continue };
        check(&engine, &spec, &plan).with_context(|| variant.name.to_owned())?;
    }
    Ok(())
}
