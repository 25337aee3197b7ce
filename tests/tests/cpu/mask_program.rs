//! Meaning of masks, lists of blocks and sinks, by the reference: identities that follow from the definition.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::block_mask::{BlockGrid, BlockMask};
use foveal_kernels::expr::{Evaluator, Expr, ExprKind, Sizes, Table};
use foveal_kernels::{
    Described, Dtype, HostTensor, Name, TensorData,
    testing::{Expected, Reference, Rows},
};

type Inputs = Vec<(Name, HostTensor)>;

const SEEDS: std::ops::Range<u64> = 0..40;

/// Numbers that look random, from a seed: the tests have no other use for a generator.
fn noise(seed: u64, at: usize) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (at as u64).wrapping_mul(0xd134_2543_de82_ef95);
    for _ in 0..2 {
        x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    x ^ (x >> 32)
}

fn pick(seed: u64, at: usize, of: &[usize]) -> usize {
    of[usize::try_from(noise(seed, at) % of.len() as u64).unwrap_or(0)]
}

/// A small problem: odd lengths, grouped heads, two batch entries at times.
fn small(seed: u64) -> Attention {
    let [batch, kv_heads, group] =
        [(0, [1, 2, 1]), (1, [1, 2, 1]), (2, [1, 2, 3])].map(|(at, of)| pick(seed, at, &of));
    let (q_len, kv_len) = (pick(seed, 3, &[1, 5, 33, 40]), pick(seed, 4, &[1, 7, 32, 45]));
    Attention::new(Shape::bhtd(batch, kv_heads * group, q_len, 4).kv(kv_heads, kv_len)).with_lse()
}

fn reference(spec: &Attention, inputs: &Inputs) -> Result<Vec<Expected>> {
    let inputs: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    spec.reference(&inputs, Rows::All).with_context(|| spec.describe())
}

/// The largest difference of two results.
fn off(a: &[Expected], b: &[Expected]) -> f64 {
    let values = a.iter().flat_map(|a| &a.values).zip(b.iter().flat_map(|b| &b.values));
    let off = values.map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() });
    off.fold(0.0, |worst: f64, next| if next.is_nan() { f64::NAN } else { worst.max(next) })
}

/// The elements of a problem that `visible` shows, as the table of a mask: `[B, H, Tq, Tk]`.
fn table_of(
    spec: &Attention,
    mut visible: impl FnMut(usize, usize, usize, usize) -> Result<bool>,
) -> Result<HostTensor> {
    let mut values = Vec::new();
    for b in 0..spec.batch {
        for h in 0..spec.q_heads {
            for q in 0..spec.q_len {
                for k in 0..spec.kv_len {
                    values.push(u8::from(visible(b, h, q, k)?));
                }
            }
        }
    }
    Ok(HostTensor::new(vec![spec.batch, spec.q_heads, spec.q_len, spec.kv_len], TensorData::U8(values))?)
}

/// The problem with a mask that is read from a table.
fn with_table(spec: &Attention) -> Result<Attention> {
    let shape = vec![spec.batch, spec.q_heads, spec.q_len, spec.kv_len];
    Ok(spec.clone().mask(Expr::parse_mask("shown[b, h, q, k] != 0")?).table(Table::new(
        "shown",
        Dtype::U8,
        shape,
    )))
}

fn with(inputs: &Inputs, name: &'static str, tensor: HostTensor) -> Inputs {
    inputs.iter().cloned().chain([(name.into(), tensor)]).collect()
}

fn sizes(spec: &Attention) -> Sizes {
    Sizes {
        batch: spec.batch,
        q_heads: spec.q_heads,
        kv_heads: spec.kv_heads,
        q_len: spec.q_len,
        kv_len: spec.kv_len,
    }
}

#[test]
fn a_block_mask_is_the_dense_mask_that_it_describes() -> Result<()> {
    for seed in SEEDS {
        let spec = small(seed);
        let lists = (pick(seed, 5, &[1, spec.batch]), pick(seed, 6, &[1, spec.q_heads]));
        let (q_block, kv_block) = (pick(seed, 7, &[16, 17, 32]), pick(seed, 8, &[16, 19, 32]));
        let grid = BlockGrid::new(spec.q_len, spec.kv_len, q_block, kv_block).per(lists.0, lists.1);
        let map: Vec<u8> =
            (0..grid.rows() * grid.kv_blocks()).map(|at| (noise(seed, 100 + at) % 3) as u8).collect();
        let bit = |b: usize, h: usize, q: usize, k: usize| {
            let at = ((b * spec.q_heads + h) * spec.q_len + q) * spec.kv_len + k;
            !noise(seed, 1_000_000 + at).is_multiple_of(3)
        };
        let plain = BlockMask::from_dense_blocks(grid, &map)?;
        let inputs = spec.random_inputs(seed);
        // A block that the map calls full hides nothing, whether there are bits or not; an element of a partial one is
        // hidden by its bit or by the expression.
        let class = |b: usize, h: usize, q: usize, k: usize| {
            let row = grid.row(b, h, q / q_block);
            map[row * grid.kv_blocks() + k / kv_block]
        };
        let shared =
            |b: usize, h: usize| (if lists.0 == 1 { 0 } else { b }, if lists.1 == 1 { 0 } else { h });
        let by_bits = table_of(&spec, |b, h, q, k| {
            let (lb, lh) = shared(b, h);
            Ok(class(b, h, q, k) == 1 || class(b, h, q, k) == 2 && bit(lb, lh, q, k))
        })?;
        let dense = reference(&with_table(&spec)?, &with(&inputs, "shown", by_bits))?;
        let listed = reference(&spec.clone().block_mask(plain.with_bits(&bit)?), &inputs)?;
        ensure!(off(&dense, &listed) == 0.0, "with bits, seed {seed}");

        let by_expression = table_of(&spec, |b, h, q, k| {
            Ok(class(b, h, q, k) == 1 || class(b, h, q, k) == 2 && (q + 2 * k + h + b) % 3 != 0)
        })?;
        let dense = reference(&with_table(&spec)?, &with(&inputs, "shown", by_expression))?;
        let masked =
            spec.clone().mask(Expr::parse_mask("(q + 2 * k + h + b) % 3 != 0")?).block_mask(plain.clone());
        ensure!(off(&dense, &reference(&masked, &inputs)?) == 0.0, "with an expression, seed {seed}");

        let all = table_of(&spec, |b, h, q, k| Ok(class(b, h, q, k) != 0))?;
        let dense = reference(&with_table(&spec)?, &with(&inputs, "shown", all))?;
        ensure!(off(&dense, &reference(&spec.block_mask(plain), &inputs)?) == 0.0, "alone, seed {seed}");
    }
    Ok(())
}

/// The order of a tensor's positions along an axis changed.
fn permuted(tensor: &HostTensor, axis: usize, order: &[usize]) -> Result<HostTensor> {
    let shape = tensor.shape();
    let inner: usize = shape[axis + 1..].iter().product();
    let values = tensor.to_f64();
    let permuted: Vec<f64> = values
        .chunks(inner * order.len())
        .flat_map(|outer| {
            order.iter().flat_map(move |&from| outer[from * inner..(from + 1) * inner].iter().copied())
        })
        .collect();
    Ok(HostTensor::new(shape.to_vec(), TensorData::F64(permuted))?)
}

#[test]
fn permuted_keys_of_a_random_mask_change_nothing() -> Result<()> {
    let mut drawn = 0;
    for seed in SEEDS {
        let spec = small(seed);
        let tables = [Table::new("segments", Dtype::I32, vec![spec.batch, spec.kv_len])];
        let mut random = fastrand::Rng::with_seed(seed);
        let Ok(mask) = Expr::random(&mut random, ExprKind::Mask, &tables, &sizes(&spec), 8) else { continue };
        drawn += 1;
        let masked = if mask.table_names().is_empty() {
            spec.clone().mask(mask.clone())
        } else {
            spec.clone().mask(mask.clone()).table(tables[0].clone())
        };
        let inputs = masked.random_inputs(seed);
        let expected = reference(&masked, &inputs)?;

        // The expression's values as a table: the same mask, and one whose keys can change places.
        let program = mask.bind(&tables)?;
        let given: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        let evaluator = Evaluator::new(&program, sizes(&spec), &given)?;
        let mut scratch = evaluator.scratch();
        let shown = table_of(&spec, |b, h, q, k| Ok(evaluator.visible(&mut scratch, b, h, q, k)?))?;
        let dense = with_table(&spec)?;
        let plain: Inputs = inputs.iter().filter(|(name, _)| name != "segments").cloned().collect();
        let same = reference(&dense, &with(&plain, "shown", shown.clone()))?;
        ensure!(off(&expected, &same) == 0.0, "seed {seed}: the table of `{mask}` is another mask");

        let mut order: Vec<usize> = (0..spec.kv_len).collect();
        random.shuffle(&mut order);
        let mut moved = Inputs::new();
        for (name, tensor) in &plain {
            let tensor = if name == "q" { tensor.clone() } else { permuted(tensor, 2, &order)? };
            moved.push((name.clone(), tensor));
        }
        let moved = with(&moved, "shown", permuted(&shown, 3, &order)?);
        let difference = off(&expected, &reference(&dense, &moved)?);
        ensure!(difference < 1e-11, "seed {seed}: `{mask}` differs by {difference:e}");
    }
    ensure!(drawn > 30, "only {drawn} masks were drawn");
    Ok(())
}

/// The logits of the definition enter the denominator, and so `lse`, and nothing else.
#[test]
fn sinks_raise_lse_as_defined() -> Result<()> {
    for seed in SEEDS {
        let spec = small(seed).mask(Expr::parse_mask("k <= q + 3 & k >= 2")?);
        let mut with_sinks = spec.clone();
        with_sinks.sink_logits = Some("sinks".into());
        let inputs = spec.random_inputs(seed);
        let sinks: Vec<f64> =
            (0..spec.q_heads).map(|head| (noise(seed, 50 + head) % 1000) as f64 / 100.0 - 5.0).collect();
        let logits = HostTensor::new(vec![spec.q_heads], TensorData::F64(sinks.clone()))?;
        let without = reference(&spec, &inputs)?;
        let raised = reference(&with_sinks, &with(&inputs, "sinks", logits))?;
        let [o, lse] = [0, 1].map(|at| (&without[at].values, &raised[at].values));
        for (row, (&before, &after)) in lse.0.iter().zip(lse.1).enumerate() {
            let sink = sinks[row / spec.q_len % spec.q_heads];
            let larger = before.max(sink);
            let expected = larger + ((before - larger).exp() + (sink - larger).exp()).ln();
            ensure!((after - expected).abs() < 1e-12, "seed {seed}, row {row}: {after}, not {expected}");
            let share = (before - after).exp();
            let columns = row * spec.value_dim..(row + 1) * spec.value_dim;
            for (before, after) in o.0[columns.clone()].iter().zip(&o.1[columns]) {
                ensure!((after - before * share).abs() < 1e-12, "seed {seed}, row {row}: {after}");
            }
        }
    }
    Ok(())
}
