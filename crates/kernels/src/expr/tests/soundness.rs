//! Classes against the elements they speak for.

use std::time::Instant;

use fastrand::Rng;

use super::{
    super::{
        Class, Classifier, Comparison, Evaluator, Op, Program, Region, Shape, Sizes, StepId, ValueRange,
    },
    build::Builder,
    random,
};
use crate::HostTensor;

/// The class of a block, element by element.
fn brute(evaluator: &Evaluator<'_>, region: &Region) -> Class {
    let mut scratch = evaluator.scratch();
    let (mut some, mut all) = (false, true);
    for b in region.batch.clone() {
        for h in region.heads.clone() {
            for q in region.queries.clone() {
                evaluator.row(&mut scratch, b, h, q).unwrap();
                for k in region.keys.clone() {
                    let visible = evaluator.visible_at(&mut scratch, k).unwrap();
                    some |= visible;
                    all &= visible;
                }
                if some && !all {
                    return Class::Mixed;
                }
            }
        }
    }
    if all { Class::All } else { Class::None }
}

pub(super) fn by_name<'a>(program: &'a Program, values: &'a [HostTensor]) -> Vec<(&'a str, &'a HostTensor)> {
    program.tables.iter().map(|table| table.name.as_str()).zip(values).collect()
}

pub(super) fn ranges(values: &[HostTensor]) -> Vec<Option<ValueRange>> {
    let range = |tensor: &HostTensor| {
        let values = tensor.to_f64();
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(ValueRange { min, max })
    };
    values.iter().map(range).collect()
}

/// No class is ever wrong. FOVEAL_INTERVAL_CASES says how many blocks are tried, FOVEAL_INTERVAL_SEED where the random
/// numbers begin.
#[test]
fn classification_is_sound() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let cases = number("FOVEAL_INTERVAL_CASES").unwrap_or(200_000);
    let seed = number("FOVEAL_INTERVAL_SEED").unwrap_or(1);
    let mut rng = Rng::with_seed(u64::try_from(seed).unwrap());
    let (mut decided, mut decidable) = (0, 0);
    for case in 0..cases.div_ceil(8) {
        let sizes = random::sizes(&mut rng);
        let (tables, values) = random::tables(&mut rng, sizes);
        let program = random::mask(&mut rng, sizes, tables);
        let evaluator = Evaluator::new(&program, sizes, &by_name(&program, &values)).unwrap();
        let blind = Classifier::new(&program, sizes);
        let knowing = Classifier::with_table_ranges(&program, sizes, &ranges(&values));
        for _ in 0..8 {
            let region = random::region(&mut rng, sizes);
            let exact = brute(&evaluator, &region);
            for classifier in [&blind, &knowing] {
                let class = classifier.class(&region);
                assert!(
                    class == Class::Mixed || class == exact,
                    "case {case} of seed {seed}: {region:?} is {exact:?}, not {class:?}\n{sizes:?}\n{program:#?}"
                );
            }
            decidable += usize::from(exact != Class::Mixed);
            decided += usize::from(knowing.class(&region) != Class::Mixed);
        }
    }
    println!("{decided} of {decidable} blocks of one class were found to be");
}

/// Every range of queries and keys of small problems.
fn all_regions(sizes: Sizes) -> Vec<Region> {
    let ranges = |n: usize| (0..n).flat_map(move |start| (start + 1..=n).map(move |end| start..end));
    let pairs =
        |queries: std::ops::Range<usize>| ranges(sizes.kv_len).map(move |keys| (queries.clone(), keys));
    ranges(sizes.q_len)
        .flat_map(pairs)
        .map(|(queries, keys)| Region { batch: 0..1, heads: 0..1, queries, keys })
        .collect()
}

/// Of all blocks that are of one class, how many were not found to be.
fn missed(program: &Program, sizes: Sizes) -> (usize, usize) {
    let evaluator = Evaluator::new(program, sizes, &[]).unwrap();
    let classifier = Classifier::new(program, sizes);
    // Visible elements above and before, so that a block is counted at once.
    let width = sizes.kv_len + 1;
    let mut sums = vec![0usize; (sizes.q_len + 1) * width];
    let mut scratch = evaluator.scratch();
    for q in 0..sizes.q_len {
        for k in 0..sizes.kv_len {
            let visible = usize::from(evaluator.visible(&mut scratch, 0, 0, q, k).unwrap());
            sums[(q + 1) * width + k + 1] =
                visible + sums[q * width + k + 1] + sums[(q + 1) * width + k] - sums[q * width + k];
        }
    }
    let (mut missed, mut total) = (0, 0);
    for region in all_regions(sizes) {
        let (q, k) = (&region.queries, &region.keys);
        let sum = |q: usize, k: usize| sums[q * width + k];
        let visible = sum(q.end, k.end) + sum(q.start, k.start) - sum(q.start, k.end) - sum(q.end, k.start);
        let exact = if visible == 0 {
            Class::None
        } else if visible == q.len() * k.len() {
            Class::All
        } else {
            Class::Mixed
        };
        let class = classifier.class(&region);
        assert!(
            class == Class::Mixed || class == exact,
            "{region:?} is {exact:?}, not {class:?}\n{program:#?}"
        );
        total += usize::from(exact != Class::Mixed);
        missed += usize::from(exact != class);
    }
    (missed, total)
}

fn small(q_len: usize, kv_len: usize) -> Sizes {
    Sizes { batch: 1, q_heads: 1, kv_heads: 1, q_len, kv_len }
}

/// Every block of small problems, for shapes with all sorts of numbers.
#[test]
fn shapes_are_exact() {
    let mut rng = Rng::with_seed(2);
    for _ in 0..600 {
        let sizes = small(rng.usize(1..=16), rng.usize(1..=16));
        let shape = random::shape(&mut rng);
        let mut b = Builder::new(Vec::new());
        let root = b.shape(shape);
        let program = b.finish(root);
        assert_eq!(missed(&program, sizes).0, 0, "{shape:?} within {sizes:?}");
    }
}

/// Long problems, where sets would have too many runs and formulas take over.
#[test]
fn long_shapes_are_exact() {
    let mut rng = Rng::with_seed(3);
    let sizes = small(3_000_000, 2_000_000);
    for _ in 0..4000 {
        let shape = random::shape(&mut rng);
        let mut b = Builder::new(Vec::new());
        let root = b.shape(shape);
        let program = b.finish(root);
        let evaluator = Evaluator::new(&program, sizes, &[]).unwrap();
        let classifier = Classifier::new(&program, sizes);
        for _ in 0..4 {
            // Keys near the query's position, by either way of counting, where shapes change.
            let q = rng.usize(1_000_100..2_999_900);
            let k = (if rng.bool() { q } else { q - 1_000_000 }).min(1_999_900) + rng.usize(0..16) - 8;
            let queries = q..q + rng.usize(1..9);
            let region = Region { batch: 0..1, heads: 0..1, queries, keys: k..k + rng.usize(1..9) };
            assert_eq!(classifier.class(&region), brute(&evaluator, &region), "{shape:?} at {region:?}");
        }
    }
}

/// Conditions on one axis stay exact however they are combined; so do comparisons of linear ints by themselves.
#[test]
fn conditions_on_one_axis_are_exact() {
    let mut rng = Rng::with_seed(4);
    for _ in 0..400 {
        let sizes = small(rng.usize(1..=14), rng.usize(1..=14));
        let mut b = Builder::new(Vec::new());
        let axis = rng.u8(0..3);
        let root = on_axis(&mut rng, &mut b, axis, 3);
        let program = b.finish(root);
        assert_eq!(missed(&program, sizes).0, 0, "{sizes:?} {program:#?}");
    }
    for _ in 0..400 {
        let sizes = small(rng.usize(1..=14), rng.usize(1..=14));
        let mut b = Builder::new(Vec::new());
        let (q, k, qp) = (b.q(), b.k(), b.qp());
        let [x, y] = [[q, qp][rng.usize(0..2)], k].map(|at| {
            let factor = b.int(rng.i64(1..4));
            let scaled = b.push(Op::Multiply(at, factor));
            let shift = b.int(rng.i64(-9..9));
            b.push(Op::Add(scaled, shift))
        });
        let by = [Comparison::Less, Comparison::LessEqual, Comparison::Greater, Comparison::GreaterEqual];
        let root = b.compare(by[rng.usize(0..4)], x, y);
        let program = b.finish(root);
        assert_eq!(missed(&program, sizes).0, 0, "{sizes:?} {program:#?}");
    }
}

fn on_axis(rng: &mut Rng, b: &mut Builder, axis: u8, depth: u8) -> StepId {
    if depth > 0 && rng.bool() {
        let (x, y) = (on_axis(rng, b, axis, depth - 1), on_axis(rng, b, axis, depth - 1));
        return match rng.u8(0..4) {
            0 => b.push(Op::Not(x)),
            1 => b.push(Op::And(x, y)),
            2 => b.push(Op::Or(x, y)),
            _ => b.compare(random::COMPARISONS[rng.usize(0..6)], x, y),
        };
    }
    let at = match axis {
        0 => b.q(),
        1 => b.k(),
        _ => b.distance(),
    };
    let n = b.int(rng.i64(-9..14));
    let value = match rng.u8(0..7) {
        0 => b.push(Op::Abs(at)),
        1 => b.push(Op::Multiply(at, at)),
        2 => {
            let n = b.int(rng.i64(1..5));
            b.push(Op::Remainder(at, n))
        }
        3 => b.push(Op::Min(at, n)),
        4 => b.push(Op::Max(at, n)),
        _ => at,
    };
    let n = b.int(rng.i64(-9..14));
    b.compare(random::COMPARISONS[rng.usize(0..6)], value, n)
}

/// `and` and `or` of two shapes or their negations: the share of blocks of one class that are taken for mixed. Most are
/// of no use: conjunctions of a raster's neighbourhood and a stride.
#[test]
fn combinations_are_nearly_exact() {
    let mut rng = Rng::with_seed(5);
    let (mut miss, mut all) = (0, 0);
    for case in 0..3000 {
        let sizes = small(rng.usize(4..=14), rng.usize(4..=14));
        let mut b = Builder::new(Vec::new());
        let [mut x, mut y] = [random::shape(&mut rng), random::shape(&mut rng)].map(|shape| b.shape(shape));
        for part in [&mut x, &mut y] {
            if rng.u8(0..4) == 0 {
                *part = b.push(Op::Not(*part));
            }
        }
        let root = b.push(if case % 2 == 0 { Op::And(x, y) } else { Op::Or(x, y) });
        let program = b.finish(root);
        let (missed, total) = missed(&program, sizes);
        miss += missed;
        all += total;
    }
    println!("{miss} of {all} blocks missed");
    assert!(miss * 100 < all * 6, "{miss} of {all}");
}

/// Prints what a block costs: `cargo test --release -p foveal-kernels speed -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn speed() {
    let sizes = Sizes { batch: 1, q_heads: 8, kv_heads: 8, q_len: 131_072, kv_len: 131_072 };
    let mut named: Vec<(String, Program)> = Vec::new();
    let mut b = Builder::new(Vec::new());
    let causal = b.shape(Shape::Band { left: None, right: Some(0) });
    let window = b.shape(Shape::Band { left: Some(1023), right: Some(0) });
    let root = b.push(Op::And(causal, window));
    named.push(("causal & window(1023, 0)".into(), b.finish(root)));
    for shape in super::emission::SHAPES {
        let mut b = Builder::new(Vec::new());
        let (causal, shaped) = (b.shape(Shape::Band { left: None, right: Some(0) }), b.shape(shape));
        let root = b.push(Op::And(causal, shaped));
        named.push((format!("causal & {shape:?}"), b.finish(root)));
    }
    for (name, program) in named {
        let start = Instant::now();
        let classifier = Classifier::new(&program, sizes);
        let made = start.elapsed();
        let start = Instant::now();
        let mut counts = [0; 3];
        for q in 0..1024 {
            for k in 0..1024 {
                let region = Region {
                    batch: 0..1,
                    heads: 0..8,
                    queries: q * 128..(q + 1) * 128,
                    keys: k * 128..(k + 1) * 128,
                };
                counts[classifier.class(&region) as usize] += 1;
            }
        }
        let each = start.elapsed().as_nanos() >> 20;
        let evaluator = Evaluator::new(&program, sizes, &[]).unwrap();
        let mut scratch = evaluator.scratch();
        let start = Instant::now();
        let mut seen = 0;
        for q in 65_000..65_064 {
            evaluator.row(&mut scratch, 0, 0, q).unwrap();
            for k in 60_000..76_384 {
                seen += u32::from(evaluator.visible_at(&mut scratch, k).unwrap());
            }
        }
        let element = start.elapsed().as_nanos() >> 20;
        println!(
            "{name}: {each} ns a block ({counts:?}), {element} ns an element ({seen}), made in {made:?}"
        );
    }
}
