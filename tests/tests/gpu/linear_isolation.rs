//! Heads and batch entries of linear attention do not affect each other, and bits are the same each time.

use anyhow::{Context, Result, ensure};
use foveal_kernels::linear_attention::{Direction, Gate, LinearAttention, LinearShape, Rule};
use foveal_kernels::{Described, Dtype, Layout, testing::Reference};
use foveal_tests::harness::{self, Output};
use foveal_tests::linear::{Given, Tensor, Tensors, off};

use crate::engine_or_skip;
use crate::linear::{Refused, kernel, variants};

/// Every way in which inputs reach a kernel: as they are, 16 bits of uneven widths, prepared in a buffer first. But for the
/// uneven ones the kernels are those of other tests, which have compiled them.
fn specs() -> Vec<LinearAttention> {
    let of = |rule, gate| {
        LinearAttention::new(LinearShape::bhtd(3, 2, 90, 32).value_heads(4).value_dim(20))
            .rule(rule)
            .gate(gate)
    };
    let uneven = LinearAttention::new(LinearShape::bhtd(3, 2, 90, 30).value_dim(17))
        .rule(Rule::Delta)
        .gate(Gate::Scalar)
        .dtype(Dtype::F16);
    let mut both = of(Rule::Delta, Gate::Vector);
    both.direction = Direction::Both;
    vec![
        of(Rule::Add, Gate::Scalar).with_states(),
        of(Rule::Delta, Gate::Vector).layout(Layout::Bthd).with_states(),
        uneven,
        of(Rule::Dplr, Gate::Vector).with_states(),
        both,
    ]
}

/// The batch entry and head of keys that are spoilt.
const SPOILT: (usize, usize) = (1, 0);

/// Whether a result's elements are of a head that reads what is spoilt.
fn reads_spoilt(spec: &LinearAttention, b: usize, value_head: usize) -> bool {
    (b, value_head / spec.group()) == SPOILT
}

/// The inputs with a NaN in one row of one (batch, head), in the middle.
fn spoilt(given: &Given, name: &str) -> Given {
    let tensor = given.tensor(name);
    let (heads, rows) = (tensor.sizes[1], tensor.sizes[2]);
    let own_heads = heads == given.spec.value_heads && !["q", "k", "a", "b"].contains(&name);
    let nan = tensor.map(|[b, h, r, c], x| {
        let head = if own_heads { h / given.spec.group() } else { h };
        if (b, head) == SPOILT && r == rows / 2 && c == tensor.sizes[3] / 2 { f64::NAN } else { x }
    });
    given.clone().with(name, nan)
}

fn same_elsewhere(spec: &LinearAttention, clean: &Tensors, nan: &Tensors) -> Result<bool> {
    let mut seen = false;
    for (name, clean) in clean {
        let nan = nan.get(name).context("an output is gone")?;
        let [batch, heads, rows, width] = clean.sizes;
        let places = (0..batch).flat_map(|b| (0..heads).map(move |h| (b, h)));
        for (b, h) in places {
            let head = |of: &Tensor| -> Vec<u64> {
                let at = (b * heads + h) * rows * width;
                of.values[at..at + rows * width].iter().map(|x| x.to_bits()).collect()
            };
            if reads_spoilt(spec, b, h) {
                seen |= head(nan).iter().any(|&bits| f64::from_bits(bits).is_nan());
            } else {
                ensure!(head(clean) == head(nan), "`{name}` of batch entry {b}, head {h} changed");
            }
        }
    }
    Ok(seen)
}

/// NaN in one head's inputs is that head's own affair: every other comes out the same to the bit.
#[test]
fn nan_stays_within_its_head() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in specs() {
        let given = Given::random(spec.clone(), 7)?;
        for variant in variants()? {
            let kernel = match kernel(&engine, &spec, variant) {
                Ok(kernel) => kernel,
                Err(error) if error.is::<Refused>() => continue,
                Err(error) => return Err(error),
            };
            let clean = given.on(&engine, &kernel)?;
            for name in ["q", "k", "v", "a", "b", "g", "beta", "state_in"] {
                if !given.tensors.contains_key(name) {
                    continue;
                }
                let what = || format!("NaN in `{name}`, {variant}: {}", spec.describe());
                let outputs = spoilt(&given, name).on(&engine, &kernel)?;
                let seen = same_elsewhere(&spec, &clean, &outputs).with_context(what)?;
                ensure!(seen, "{}: the head itself shows none", what());
            }
        }
    }
    Ok(())
}

/// A gate of minus infinity, the logarithm of 0, forgets everything, and is no reason for a NaN.
#[test]
fn gates_of_minus_infinity_forget() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in specs() {
        let given = Given::random(spec.clone(), 13)?;
        let g = given.tensor("g");
        let infinite = g.map(|[.., t, d], x| if (t * 7 + d * 3) % 11 == 0 { f64::NEG_INFINITY } else { x });
        let given = given.with("g", infinite);
        let tolerance = spec.tolerance("o").rel_rmse;
        for variant in variants()? {
            let kernel = match kernel(&engine, &spec, variant) {
                Ok(kernel) => kernel,
                Err(error) if error.is::<Refused>() => continue,
                Err(error) => return Err(error),
            };
            let off = off(&given.on(&engine, &kernel)?, &given.reference()?);
            ensure!(off < tolerance, "{variant} is {off:.1e} off: {}", spec.describe());
        }
    }
    Ok(())
}

#[test]
fn two_runs_are_bitwise_equal() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in specs() {
        let inputs = spec.random_inputs(9);
        for variant in variants()? {
            let kernel = match kernel(&engine, &spec, variant) {
                Ok(kernel) => kernel,
                Err(error) if error.is::<Refused>() => continue,
                Err(error) => return Err(error),
            };
            let storage = harness::storage(&kernel.plan().tensors, &inputs)?;
            let first = harness::run(&engine, &kernel, &storage)?;
            ensure!(first == harness::run(&engine, &kernel, &storage)?, "{variant}: {}", spec.describe());
        }
    }
    Ok(())
}

#[test]
fn results_do_not_depend_on_the_place_in_the_batch() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in specs() {
        let mut given = Given::random(spec.clone(), 11)?;
        for tensor in given.tensors.values_mut().filter(|tensor| tensor.sizes[0] == spec.batch) {
            *tensor = tensor.batch(&vec![0; spec.batch]);
        }
        let inputs = given.inputs()?;
        for variant in variants()? {
            let kernel = match kernel(&engine, &spec, variant) {
                Ok(kernel) => kernel,
                Err(error) if error.is::<Refused>() => continue,
                Err(error) => return Err(error),
            };
            let outputs =
                harness::run(&engine, &kernel, &harness::storage(&kernel.plan().tensors, &inputs)?)?;
            for Output { tensor_spec, bytes } in &outputs {
                let used = &bytes[..tensor_spec.span * tensor_spec.dtype.size_bytes()];
                let mut entries = used.chunks(used.len() / spec.batch);
                let first = entries.next().unwrap_or_default();
                ensure!(
                    entries.all(|entry| entry == first),
                    "{variant}: `{}` of {}",
                    tensor_spec.name,
                    spec.describe()
                );
            }
        }
    }
    Ok(())
}
