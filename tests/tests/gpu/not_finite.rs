//! Numbers at the ends of f32, and beyond: what a query does not see must not reach it, what it sees must, and finite scores count.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, DeviceBlockMask, QkNorm, Shape};
use foveal_kernels::block_mask::{BlockGrid, BlockMask};
use foveal_kernels::expr::{Expr, Table};
use foveal_kernels::{
    Described, Dtype, HostTensor, Name, Problem,
    testing::{Reference, Rows},
};
use foveal_tests::harness::{self, Output};
use pollster::block_on;

use crate::engine_or_skip;
use crate::visibility::{by_every_variant, inputs_with, values};

/// Changes elements of an input: those of `[0, head, position, column]` for which `new` has a value.
fn change(
    inputs: &mut [(Name, HostTensor)],
    name: &str,
    new: impl Fn(usize, usize, usize) -> Option<f32>,
) -> Result<()> {
    let (_, tensor) = inputs.iter_mut().find(|(given, _)| given == name).context("no such input")?;
    let &[_, _, len, width] = tensor.shape() else { anyhow::bail!("{name} is no tensor of tokens") };
    #[expect(clippy::cast_possible_truncation, reason = "they were f32, or less")]
    let values: Vec<f32> = tensor.to_f64().into_iter().map(|x| x as f32).collect();
    let place = |at: usize| (at / width / len, at / width % len, at % width);
    let changed = values.iter().enumerate().map(|(at, &x)| {
        let (head, position, column) = place(at);
        new(head, position, column).unwrap_or(x)
    });
    let dtype = tensor.dtype().context("an input without type")?;
    *tensor = HostTensor::from_f32(tensor.shape().to_vec(), &changed.collect::<Vec<_>>(), dtype)?;
    Ok(())
}

fn causal_like() -> Result<Vec<Attention>> {
    let spec = |len: usize| Attention::new(Shape::bhtd(1, 4, len, 64).kv(2, len)).with_lse();
    let doc = Table::new("doc", Dtype::I32, vec![1, 600]);
    let bits = BlockMask::from_dense_blocks(BlockGrid::new(260, 260, 64, 64), &[2; 25])?
        .with_bits(&|_, _, q, k| k <= q)?;
    Ok(vec![
        spec(260).causal(),
        spec(260).causal().dtype(Dtype::F16),
        spec(260).mask(Expr::parse_mask("k <= q")?),
        spec(260)
            .mask(Expr::parse_mask("causal & window(70, 0)")?)
            .score(Expr::parse_score("softcap(20.0)")?),
        spec(600).mask(Expr::parse_mask("causal & same(doc)")?).table(doc),
        spec(260).block_mask(bits),
        Attention::new(Shape::bhtd(1, 8, 5, 40).kv(2, 90)).with_lse().causal(),
        // Three queries of a chunk see up to three keys more or less.
        Attention::new(Shape::bhtd(1, 8, 4, 40).kv(2, 7)).with_lse().causal(),
        Attention::new(Shape::bhtd(1, 8, 4, 80).kv(2, 7)).with_lse().causal().splits(2),
        Attention::new(Shape::bhtd(1, 2, 260, 33)).with_lse().causal().dtype(Dtype::Bf16),
    ])
}

/// The value of one key in the middle is NaN, another's infinite in one column: rows that do not see them are as they were, bit
/// for bit, rows that do are NaN in those columns.
#[test]
fn a_value_that_is_not_finite_reaches_those_that_see_its_key_and_no_others() -> Result<()> {
    let engine = engine_or_skip!();
    for spec in causal_like()? {
        let keys = spec.kv_len;
        let (far, near) = (keys * 3 / 4, keys * 3 / 4 + 3);
        let clean = spec.random_inputs(3);
        let mut inputs = clean.clone();
        change(&mut inputs, "v", |_, key, column| match key {
            _ if key == far && column % 5 != 4 => Some(f32::NAN),
            _ if key == near && column == 9 => Some(f32::NEG_INFINITY),
            _ => None,
        })?;
        let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
        let odd = expected[0].values.iter().filter(|x| x.is_nan()).count();
        ensure!(odd > 0 && odd < expected[0].values.len(), "{odd} values are NaN in {}", spec.describe());
        let before = std::cell::RefCell::new(Vec::new());
        by_every_variant(&engine, &spec, clean, |outputs| {
            before.borrow_mut().push(values(outputs, "o")?);
            Ok(())
        })?;
        let before = before.into_inner().into_iter();
        let before = std::cell::RefCell::new(before);
        by_every_variant(&engine, &spec, inputs, |outputs| {
            let before = before.borrow_mut().next().context("fewer variants")?;
            let now = values(outputs, "o")?;
            for ((now, before), expected) in now.iter().zip(&before).zip(&expected[0].values) {
                ensure!(
                    expected.is_nan() == now.is_nan(),
                    "NaN where {expected} is expected, or the other way"
                );
                ensure!(now.is_nan() || now == before, "{now} was {before}");
            }
            ensure!(values(outputs, "lse")?.iter().all(|lse| lse.is_finite()));
            Ok(())
        })?;
    }
    Ok(())
}

/// Hidden keys and values are NaN throughout, or infinite: nothing shows it.
#[test]
fn what_nobody_sees_may_hold_anything() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = || Attention::new(Shape::bhtd(1, 2, 150, 64).kv(2, 200)).with_lse();
    let blocks = BlockMask::from_dense_blocks(BlockGrid::new(150, 200, 16, 16), &{
        let mut map = [2u8; 130];
        map.iter_mut().enumerate().for_each(|(at, class)| *class = if at % 13 == 4 { 0 } else { 1 });
        map
    })?;
    type Seen = fn(usize) -> bool;
    let cases: Vec<(Attention, Seen)> = vec![
        (spec().mask(Expr::parse_mask("k < 70 | k > 73")?), |k| !(70..=73).contains(&k)),
        (spec().mask(Expr::parse_mask("k % 3 == 0")?), |k| k % 3 == 0),
        (spec().mask(Expr::parse_mask("dilated(3) & k < 120")?).dtype(Dtype::F16), |k| k < 120),
        (spec().block_mask(blocks), |k| !(64..80).contains(&k)),
    ];
    for (spec, seen) in cases {
        let clean = spec.random_inputs(3);
        let mut inputs = clean.clone();
        let odd = |_: usize, key: usize, column: usize| {
            let odd = if column.is_multiple_of(2) { f32::NAN } else { f32::INFINITY };
            (!seen(key)).then_some(odd)
        };
        change(&mut inputs, "k", odd)?;
        change(&mut inputs, "v", odd)?;
        let of = |inputs: &[(Name, HostTensor)]| spec.reference(&harness::borrowed(inputs), Rows::All);
        ensure!(of(&clean)? == of(&inputs)?, "the reference sees it: {}", spec.describe());
        by_every_variant(&engine, &spec, inputs, |outputs| {
            ensure!(values(outputs, "o")?.iter().all(|x| x.is_finite()));
            Ok(())
        })?;
    }
    // Hidden by their scores.
    let spec =
        spec().score(Expr::parse_score("s + bias[k]")?).table(Table::new("bias", Dtype::F32, vec![200]));
    let bias: Vec<f32> = (0..200).map(|k| if k % 7 == 3 { f32::NEG_INFINITY } else { 0.1 }).collect();
    let mut inputs = inputs_with(&spec, "bias", &bias)?;
    change(&mut inputs, "v", |_, key, _| (key % 7 == 3).then_some(f32::NAN))?;
    by_every_variant(&engine, &spec, inputs, |outputs| {
        ensure!(values(outputs, "o")?.iter().all(|x| x.is_finite()));
        Ok(())
    })
}

/// The problems that variants prove themselves with hold NaN, wherever elements are hidden.
#[test]
fn self_checks_hold_what_must_not_be_seen() -> Result<()> {
    let engine = engine_or_skip!();
    let mut specs = causal_like()?;
    specs.push(Attention::new(Shape::bhtd(2, 2, 100, 32)).with_lse().kv_lengths("keys"));
    let lists = DeviceBlockMask::new(64, 64, 3);
    specs.push(Attention::new(Shape::bhtd(1, 2, 200, 32).kv(2, 300)).with_lse().block_mask(lists));
    for spec in specs {
        let small = spec.self_check_problem();
        let inputs = small.random_inputs(1);
        let odd = |name: &str| {
            let tensor = inputs.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor);
            tensor.is_some_and(|tensor| tensor.to_f64().iter().any(|x| !x.is_finite()))
        };
        ensure!(odd("k") && odd("v"), "{}", spec.describe());
        let kernel = block_on(engine.prepare(&engine.plan(&spec)?))?;
        ensure!(kernel.refused().is_empty(), "{}: {:?}", spec.describe(), kernel.refused());
    }
    Ok(())
}

/// NaN, and scores of +inf, make the rows that see them NaN, in `lse` too.
#[test]
fn what_a_query_sees_shows() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = || Attention::new(Shape::bhtd(1, 2, 70, 64).kv(2, 150)).with_lse();
    let specs = [
        spec(),
        spec().causal(),
        spec().mask(Expr::parse_mask("k <= q + 60")?),
        spec().score(Expr::parse_score("s + 0.5 * (k - q)")?),
        spec().causal().dtype(Dtype::F16),
    ];
    for spec in specs {
        for odd in [f32::NAN, f32::INFINITY] {
            let mut inputs = spec.random_inputs(4);
            // Of one head each.
            change(&mut inputs, "q", |head, query, column| {
                (head == 0 && query % 20 == 7 && column == 3).then_some(odd)
            })?;
            change(&mut inputs, "k", |head, key, column| {
                (head == 1 && key == 110 && column == 60).then_some(f32::NAN)
            })?;
            let expected = spec.reference(&harness::borrowed(&inputs), Rows::All)?;
            ensure!(expected[1].values.iter().filter(|lse| lse.is_nan()).count() > 4);
            by_every_variant(&engine, &spec, inputs, |outputs| {
                let lse = values(outputs, "lse")?;
                ensure!(lse.iter().zip(&expected[1].values).all(|(a, b)| a.is_nan() == b.is_nan()));
                let o = values(outputs, "o")?;
                ensure!(
                    o.chunks(64).zip(&lse).all(|(row, lse)| row.iter().all(|x| x.is_nan() == lse.is_nan()))
                );
                Ok(())
            })?;
        }
    }
    let mut spec = spec().causal();
    spec.qk_norm = Some(QkNorm::L2);
    spec.sink_logits = Some("sinks".into());
    by_every_variant(&engine, &spec, inputs_with(&spec, "sinks", &[f32::NAN, 0.5])?, |outputs| {
        ensure!(values(outputs, "lse")?.iter().enumerate().all(|(row, lse)| lse.is_nan() == (row < 70)));
        Ok(())
    })?;
    // So does one that is inf, in rows that see no key as in others: here the first 40 of 70.
    let mut spec = Attention::new(Shape::bhtd(1, 2, 70, 64).kv(2, 30)).with_lse().causal();
    spec.sink_logits = Some("sinks".into());
    let inputs = inputs_with(&spec, "sinks", &[f32::INFINITY, 0.5])?;
    let given: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    for expected in spec.reference(&given, Rows::All)? {
        let head = expected.values.len() / 2;
        ensure!(expected.values.iter().enumerate().all(|(at, x)| x.is_nan() == (at < head)));
    }
    by_every_variant(&engine, &spec, inputs, |outputs| {
        for name in ["o", "lse"] {
            let found = values(outputs, name)?;
            let head = found.len() / 2;
            ensure!(found.iter().enumerate().all(|(at, x)| x.is_nan() == (at < head)), "`{name}`");
        }
        Ok(())
    })
}

const LOWEST: f32 = f32::MIN;

/// A bias of the lowest finite number throughout is a bias like another; -inf hides.
#[test]
fn finite_scores_count_however_low() -> Result<()> {
    let engine = engine_or_skip!();
    let table = |spec: Attention| spec.table(Table::new("m", Dtype::F32, vec![40, 90]));
    let spec = || table(Attention::new(Shape::bhtd(1, 2, 40, 64).kv(2, 90)).with_lse());
    // Rows in turn: the lowest throughout; -inf but for the lowest at three keys; the lowest but for one key; far apart; -inf.
    let bias: Vec<f32> = (0..40 * 90)
        .map(|at| match (at / 90 % 5, at % 90) {
            (0, _) => LOWEST,
            (1, k) if k % 30 == 7 => LOWEST,
            (1, _) => f32::NEG_INFINITY,
            (2, k) => {
                if k == 20 {
                    -5.0
                } else {
                    LOWEST
                }
            }
            (3, k) => {
                if k == 60 {
                    3e38
                } else {
                    -1e30 * k as f32
                }
            }
            _ => f32::NEG_INFINITY,
        })
        .collect();
    let score = spec().score(Expr::parse_score("s + m[q, k]")?);
    let mut sinks = score.clone();
    sinks.sink_logits = Some("sinks".into());
    for spec in [score.clone(), sinks] {
        let mut inputs = inputs_with(&spec, "m", &bias)?;
        for (name, tensor) in &mut inputs {
            if &**name == "sinks" {
                *tensor = HostTensor::from_f32(vec![2], &[f32::NEG_INFINITY, LOWEST], Dtype::F32)?;
            }
        }
        let v = inputs.iter().find(|(name, _)| &**name == "v").context("no v")?.1.to_f64();
        by_every_variant(&engine, &spec, inputs, |outputs| {
            let (o, lse) = (values(outputs, "o")?, values(outputs, "lse")?);
            let mean = |keys: &[usize], column: usize| {
                keys.iter().map(|key| v[key * 64 + column]).sum::<f64>() / keys.len() as f64
            };
            let all: Vec<usize> = (0..90).collect();
            // The first head's sink hides nothing and adds nothing.
            for (row, keys) in [(0, &all[..]), (1, &[7, 37, 67]), (2, &[20]), (3, &[60])] {
                for column in 0..64 {
                    let (got, wanted) = (o[row * 64 + column], mean(keys, column));
                    ensure!((got - wanted).abs() < 1e-5, "row {row}: {got}, expected {wanted}");
                }
            }
            ensure!(
                lse[0] == f64::from(LOWEST) && lse[1] == f64::from(LOWEST),
                "lse is {} and {}",
                lse[0],
                lse[1]
            );
            ensure!(o[4 * 64..5 * 64].iter().all(|&x| x == 0.0) && lse[4] == f64::NEG_INFINITY);
            Ok(())
        })?;
    }
    // ONNX's rule, rows of the lowest throughout give zeros, is a mask.
    let onnx = score.mask(Expr::parse_mask("m[q, k] > -1e38")?);
    by_every_variant(&engine, &onnx, inputs_with(&onnx, "m", &bias)?, |outputs| {
        let (o, lse) = (values(outputs, "o")?, values(outputs, "lse")?);
        ensure!(o[..128].iter().all(|&x| x == 0.0) && lse[..2].iter().all(|&x| x == f64::NEG_INFINITY));
        Ok(())
    })
}

/// Without keys every row sees nothing.
#[test]
fn no_keys_give_zeros_and_minus_infinity() -> Result<()> {
    let engine = engine_or_skip!();
    let spec = |dim: usize| Attention::new(Shape::bhtd(2, 4, 70, dim).kv(2, 0)).with_lse();
    for spec in [
        spec(64),
        spec(33).causal().dtype(Dtype::F16),
        spec(64).mask(Expr::parse_mask("causal & window(3, 0) | k % nk == 1")?).dtype(Dtype::Bf16),
        spec(64).score(Expr::parse_score("s + t[q, k]")?).table(Table::new("t", Dtype::F32, vec![70, 0])),
        spec(64).kv_lengths("keys").q_lengths("queries"),
    ] {
        let inputs = spec.random_inputs(3);
        by_every_variant(&engine, &spec, inputs, |outputs| {
            ensure!(values(outputs, "o")?.iter().all(|&x| x == 0.0));
            ensure!(values(outputs, "lse")?.iter().all(|&x| x == f64::NEG_INFINITY));
            Ok(())
        })?;
    }
    let mut sinks = spec(64);
    sinks.sink_logits = Some("sinks".into());
    by_every_variant(
        &engine,
        &sinks,
        inputs_with(&sinks, "sinks", &[1.5, -2.0, 0.0, f32::NEG_INFINITY])?,
        |outputs| {
            ensure!(
                values(outputs, "lse")?[..210]
                    .iter()
                    .enumerate()
                    .all(|(row, &lse)| lse == [1.5, -2.0, 0.0][row / 70])
            );
            ensure!(values(outputs, "o")?.iter().all(|&x| x == 0.0));
            Ok(())
        },
    )
}

/// Subnormal f16 numbers, and the largest ones, are numbers like others.
#[test]
fn f16_at_its_ends() -> Result<()> {
    let engine = engine_or_skip!();
    let finite = |outputs: &[Output]| -> Result<()> {
        ensure!(values(outputs, "lse")?.iter().all(|lse| lse.is_finite()));
        Ok(())
    };
    for spec in [
        Attention::new(Shape::bhtd(3, 12, 17, 24).kv(3, 17)).mask(Expr::parse_mask("dilated(3)")?),
        Attention::new(Shape::bhtd(1, 2, 70, 33)).causal(),
    ] {
        let spec = spec.with_lse().dtype(Dtype::F16);
        let mut inputs = spec.random_inputs(5);
        for name in ["q", "k", "v"] {
            change(&mut inputs, name, |head, position, column| {
                Some(((head * 31 + position * 7 + column) % 2047) as f32 * 5.960_464_5e-8 - 6.1e-5)
            })?;
        }
        by_every_variant(&engine, &spec, inputs, finite)?;
    }
    for width in [64, 33] {
        let spec = Attention::new(Shape::bhtd(1, 2, 30, width)).with_lse().dtype(Dtype::F16);
        let mut inputs = spec.random_inputs(6);
        change(&mut inputs, "v", |_, key, column| {
            Some(match column % 3 {
                0 => 65_504.0,
                1 => -65_504.0,
                _ => key as f32,
            })
        })?;
        by_every_variant(&engine, &spec, inputs, finite)?;
    }
    Ok(())
}
