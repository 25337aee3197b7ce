//! A second implementation of evaluation: one that agrees with the first, and one that rounds as devices do.

use std::cell::RefCell;

use fastrand::Rng;

use super::{
    super::{
        Class, Classifier, Evaluator, Op, OwnLengths, Program, Sizes, StepId, Table, Type, Variable, check,
    },
    build::Builder,
    random,
    soundness::{by_name, ranges},
};
use crate::{
    Dtype, HostTensor, TensorData,
    expr::ir::{
        arithmetic::{alibi_slope, compare},
        dependence::data_dependent,
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Naive {
    Bool(bool),
    Int(i128),
    Float(f64),
}

struct Element<'a> {
    program: &'a Program,
    values: &'a [HostTensor],
    sizes: Sizes,
    at: [usize; 4],
    s: f64,
    /// The result of arithmetic on an exact float.
    round: &'a dyn Fn(f64) -> f64,
    /// The value of a constant.
    constant: fn(f64) -> f64,
}

/// A second implementation, from the operations' documentation, one step at a time.
fn naive(element: &Element<'_>, id: StepId) -> Naive {
    let Element { program, values, sizes, at, s, round, constant } = *element;
    let of = |id: StepId| naive(element, id);
    let int = |id: StepId| match of(id) {
        Naive::Int(value) => value,
        other => panic!("{other:?} is no int"),
    };
    let float = |id: StepId| match of(id) {
        Naive::Float(value) => value,
        other => panic!("{other:?} is no float"),
    };
    let truth = |id: StepId| of(id) == Naive::Bool(true);
    let real = |a: StepId, of: fn(f64) -> f64| Naive::Float(round(of(float(a))));
    let both = |a: StepId, b: StepId, ints: fn(i128, i128) -> i128, floats: fn(f64, f64) -> f64| match (
        of(a),
        of(b),
    ) {
        (Naive::Int(a), Naive::Int(b)) => Naive::Int(ints(a, b)),
        (Naive::Float(a), Naive::Float(b)) => Naive::Float(round(floats(a, b))),
        other => panic!("{other:?} are not alike"),
    };
    let floor = |a: i128, b: i128| if b == 0 { 0 } else { a.div_euclid(b.abs()) * b.signum() + up(a, b) };
    let whole = |n: usize| Naive::Int(i128::try_from(n).unwrap());
    match program.steps[id].op {
        Op::Bool(value) => Naive::Bool(value),
        Op::Int(value) => Naive::Int(value.into()),
        Op::Float(value) => Naive::Float(constant(value)),
        Op::Variable(variable) => match variable {
            Variable::Batch => whole(at[0]),
            Variable::Head => whole(at[1]),
            Variable::KvHead => whole(at[1] / (sizes.q_heads / sizes.kv_heads)),
            Variable::Query => whole(at[2]),
            Variable::Key => whole(at[3]),
            Variable::QueryCount => whole(sizes.q_len),
            Variable::KeyCount => whole(sizes.kv_len),
            Variable::Score => Naive::Float(s),
        },
        Op::Not(a) => Naive::Bool(!truth(a)),
        Op::And(a, b) => Naive::Bool(truth(a) && truth(b)),
        Op::Or(a, b) => Naive::Bool(truth(a) || truth(b)),
        Op::Compare(by, a, b) => Naive::Bool(match (of(a), of(b)) {
            (Naive::Bool(a), Naive::Bool(b)) => compare(by, &a, &b),
            (Naive::Int(a), Naive::Int(b)) => compare(by, &a, &b),
            (Naive::Float(a), Naive::Float(b)) => compare(by, &a, &b),
            other => panic!("{other:?} are not alike"),
        }),
        Op::Negate(a) => match of(a) {
            Naive::Int(a) => Naive::Int(-a),
            _ => Naive::Float(-float(a)),
        },
        Op::Abs(a) => match of(a) {
            Naive::Int(a) => Naive::Int(a.abs()),
            _ => Naive::Float(float(a).abs()),
        },
        Op::Add(a, b) => both(a, b, |a, b| a + b, |a, b| a + b),
        Op::Subtract(a, b) => both(a, b, |a, b| a - b, |a, b| a - b),
        Op::Multiply(a, b) => both(a, b, |a, b| a * b, |a, b| a * b),
        Op::Divide(a, b) => match (of(a), of(b)) {
            (Naive::Int(a), Naive::Int(b)) => Naive::Int(floor(a, b)),
            _ => Naive::Float(round(float(a) / float(b))),
        },
        Op::Remainder(a, b) => match (of(a), of(b)) {
            (Naive::Int(_), Naive::Int(0)) => Naive::Int(0),
            (Naive::Int(a), Naive::Int(b)) => Naive::Int(a - b * floor(a, b)),
            _ => {
                let (a, b) = (float(a), float(b));
                Naive::Float(round(a - round(b * round(a / b).floor())))
            }
        },
        Op::Min(a, b) => both_exact(of(a), of(b), i128::min, |a, b| if a < b || a.is_nan() { a } else { b }),
        Op::Max(a, b) => both_exact(of(a), of(b), i128::max, |a, b| if a > b || a.is_nan() { a } else { b }),
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as documented")]
        Op::Floor(a) if data_dependent(program, OwnLengths::default())[a] => {
            Naive::Int((float(a).floor() as i64).clamp(-(1 << 24), 1 << 24).into())
        }
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as documented")]
        Op::Floor(a) => Naive::Int((float(a).floor() as i64).into()),
        Op::Sqrt(a) => real(a, f64::sqrt),
        Op::Exp(a) => real(a, f64::exp),
        Op::Log(a) => real(a, f64::ln),
        Op::Tanh(a) => real(a, f64::tanh),
        #[expect(clippy::cast_precision_loss, reason = "as ints are converted")]
        Op::ToFloat(a) => Naive::Float(int(a) as f64),
        Op::Slope(a) => {
            let heads = i64::try_from(sizes.q_heads).unwrap();
            Naive::Float(round(alibi_slope(i64::try_from(int(a)).unwrap(), heads)))
        }
        Op::Lookup { table, ref indices } => {
            let mut offset = 0;
            for (&index, &size) in indices.iter().zip(values[table].shape()) {
                let index = if size == 1 { 0 } else { usize::try_from(int(index)).unwrap() };
                offset = offset * size + index;
            }
            match values[table].data() {
                TensorData::I32(x) => Naive::Int(x[offset].into()),
                TensorData::U8(x) => Naive::Int(x[offset].into()),
                _ => Naive::Float(values[table].to_f64()[offset]),
            }
        }
        Op::Shape { lowered, .. } => of(lowered),
    }
}

fn both_exact(a: Naive, b: Naive, ints: fn(i128, i128) -> i128, floats: fn(f64, f64) -> f64) -> Naive {
    match (a, b) {
        (Naive::Int(a), Naive::Int(b)) => Naive::Int(ints(a, b)),
        (Naive::Float(a), Naive::Float(b)) => Naive::Float(floats(a, b)),
        other => panic!("{other:?} are not alike"),
    }
}

/// 1 off where a negative divisor leaves a rest: `div_euclid` rounds so that rests are positive.
fn up(a: i128, b: i128) -> i128 {
    if b < 0 && a.rem_euclid(b.abs()) != 0 { -1 } else { 0 }
}

#[test]
fn evaluation_agrees_with_a_naive_one() {
    let mut rng = Rng::with_seed(6);
    for _ in 0..6000 {
        let sizes = random::sizes(&mut rng);
        let (tables, values) = random::tables(&mut rng, sizes);
        let is_mask = rng.bool();
        let program = if is_mask {
            random::mask(&mut rng, sizes, tables)
        } else {
            random::score(&mut rng, sizes, tables)
        };
        let evaluator = Evaluator::new(&program, sizes, &by_name(&program, &values)).unwrap();
        let mut scratch = evaluator.scratch();
        let (b, h) = (rng.usize(0..sizes.batch), rng.usize(0..sizes.q_heads));
        for _ in 0..4 {
            let q = rng.usize(0..sizes.q_len);
            evaluator.row(&mut scratch, b, h, q).unwrap();
            for _ in 0..4 {
                let k = rng.usize(0..sizes.kv_len);
                let s = rng.f64() * 6.0 - 3.0;
                let at = [b, h, q, k];
                let element = Element {
                    program: &program,
                    values: &values,
                    sizes,
                    at,
                    s,
                    round: &|x| x,
                    constant: |x| x,
                };
                let expected = naive(&element, program.steps.len() - 1);
                let got = if is_mask {
                    Naive::Bool(evaluator.visible_at(&mut scratch, k).unwrap())
                } else {
                    Naive::Float(evaluator.score_at(&mut scratch, k, s).unwrap())
                };
                let nan = |value: Naive| matches!(value, Naive::Float(x) if x.is_nan());
                let equal = got == expected || (nan(got) && nan(expected));
                assert!(equal, "{got:?}, not {expected:?} at {at:?}\n{sizes:?}\n{program:#?}");
            }
        }
    }
}

/// Classes hold for f32 arithmetic that is a few units off. The reference is in f64, so that a class that followed it
/// too closely would be wrong on the device.
#[test]
fn classes_hold_for_rounded_floats() {
    let mut rng = Rng::with_seed(7);
    let mut decided = 0;
    for case in 0..20_000 {
        let sizes = random::sizes(&mut rng);
        let (tables, values) = random::tables(&mut rng, sizes);
        let program = random::mask(&mut rng, sizes, tables);
        if !program.steps.iter().any(|step| step.ty == Type::Float) {
            continue;
        }
        let classifier = Classifier::with_table_ranges(&program, sizes, &ranges(&values));
        let noise = RefCell::new(Rng::with_seed(case));
        #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
        let constant = |x: f64| f64::from(x as f32);
        // Some forty units in the last place, a quarter of what the bounds allow for.
        let round = |x: f64| constant(x) * (1.0 + 5e-6 * (noise.borrow_mut().f64() - 0.5));
        for _ in 0..3 {
            let region = random::region(&mut rng, sizes);
            let class = classifier.class(&region);
            if class == Class::Mixed {
                continue;
            }
            decided += 1;
            for q in region.queries.clone() {
                for k in region.keys.clone() {
                    let at = [region.batch.start, region.heads.start, q, k];
                    let element = Element {
                        program: &program,
                        values: &values,
                        sizes,
                        at,
                        s: 0.0,
                        round: &round,
                        constant,
                    };
                    let visible = naive(&element, program.steps.len() - 1);
                    assert_eq!(visible, Naive::Bool(class == Class::All), "{at:?} {sizes:?} {program:#?}");
                }
            }
        }
    }
    assert!(decided > 4000, "{decided}");
}

fn table(name: &str, element: Dtype, shape: &[usize]) -> Table {
    Table { name: name.to_owned(), element, shape: shape.to_vec() }
}

const SIZES: Sizes = Sizes { batch: 2, q_heads: 4, kv_heads: 2, q_len: 64, kv_len: 320 };

#[test]
fn tables_must_fit() {
    let mut b = Builder::new(vec![table("unused", Dtype::U8, &[3]), table("id", Dtype::I32, &[5, 1])]);
    let (q, k) = (b.q(), b.k());
    let id = b.push(Op::Lookup { table: 1, indices: vec![k, q] });
    let root = b.compare(super::super::Comparison::Less, id, q);
    let program = b.finish(root);
    let tensor = |shape: &[usize], data| HostTensor::new(shape.to_vec(), data).unwrap();
    let right = tensor(&[5, 1], TensorData::I32(vec![0, 1, 2, 3, 4]));
    let fails = |tables: &[(&str, &HostTensor)], says: &str| {
        let error = Evaluator::new(&program, SIZES, tables).err().unwrap().to_string();
        assert!(error.starts_with("id: ") && error.contains(says), "{error}");
    };
    fails(&[], "no values");
    fails(&[("ids", &right)], "no values");
    fails(&[("id", &tensor(&[5], TensorData::I32(vec![0; 5])))], "[5, 1], got [5]");
    fails(&[("id", &tensor(&[5, 1], TensorData::U8(vec![0; 5])))], "type i32, got u8");

    let tables = [("id", &right)];
    let evaluator = Evaluator::new(&program, SIZES, &tables).unwrap();
    let mut scratch = evaluator.scratch();
    assert!(evaluator.visible(&mut scratch, 0, 0, 5, 4).unwrap());
    assert!(!evaluator.visible(&mut scratch, 0, 0, 4, 4).unwrap());
    let error = evaluator.visible(&mut scratch, 0, 0, 7, 5).unwrap_err().to_string();
    assert_eq!(error, "id: index 0 is 5 at q = 7, k = 5; its size is 5");
    let error = evaluator.score(&mut scratch, [0, 0, 0, 0], 1.0).unwrap_err().to_string();
    assert!(error.starts_with("score: "), "{error}");
}

/// Checks that the expression of `build`, over a table `rel` of 255 floats and a table `id` of 320 ints, is refused
/// with this message.
#[track_caller]
fn refused(build: impl Fn(&mut Builder) -> StepId, message: &str) {
    let rel = table("rel", Dtype::F32, &[1, 255]);
    let mut b = Builder::new(vec![rel, table("id", Dtype::I32, &[320])]);
    let root = build(&mut b);
    let mut program = b.finish(root);
    for (step, column) in program.steps.iter_mut().zip(1..) {
        step.column = column;
    }
    let complaint = check(&program, SIZES, &[]);
    if message.is_empty() {
        assert_eq!(complaint, Ok(()));
    } else {
        let complaint = complaint.unwrap_err();
        assert_eq!(complaint.message, message);
        assert!(complaint.column > 0);
    }
}

#[test]
fn bounds_are_checked() {
    let rel = |b: &mut Builder, at: StepId| {
        let h = b.var(Variable::Head);
        b.push(Op::Lookup { table: 0, indices: vec![h, at] })
    };
    let distance = |b: &mut Builder, shift: i64| {
        let (k, qp, shift) = (b.k(), b.qp(), b.int(shift));
        let d = b.push(Op::Subtract(k, qp));
        b.push(Op::Add(d, shift))
    };
    refused(
        |b| {
            let at = distance(b, 256);
            rel(b, at)
        },
        "index 1 of `rel` runs from -63 to 319, its size is 255; use clamp(..)",
    );
    refused(
        |b| {
            let (at, zero, last) = (distance(b, 256), b.int(0), b.int(254));
            let at = b.push(Op::Max(at, zero));
            let at = b.push(Op::Min(at, last));
            rel(b, at)
        },
        "",
    );
    refused(
        |b| {
            let at = b.int(255);
            rel(b, at)
        },
        "index 1 of `rel` is 255, its size is 255",
    );
    // Contents of tables are clamped by the device.
    refused(
        |b| {
            let k = b.k();
            let id = b.push(Op::Lookup { table: 1, indices: vec![k] });
            rel(b, id)
        },
        "",
    );
    let divided = |op: fn(StepId, StepId) -> Op, low: i64| {
        move |b: &mut Builder| {
            let (q, k, low) = (b.q(), b.k(), b.int(low));
            let by = b.push(Op::Max(q, low));
            b.push(op(k, by))
        }
    };
    refused(divided(Op::Divide, 0), "the divisor runs from 0 to 63: it can be zero; use max(.., 1)");
    refused(divided(Op::Remainder, 0), "the modulus runs from 0 to 63: it can be zero; use max(.., 1)");
    refused(divided(Op::Divide, 1), "");
    refused(
        |b| {
            let (q, zero) = (b.q(), b.int(0));
            b.push(Op::Divide(q, zero))
        },
        "the divisor is zero",
    );
    let times = |factor: i64| {
        move |b: &mut Builder| {
            let (k, factor) = (b.k(), b.int(factor));
            b.push(Op::Multiply(k, factor))
        }
    };
    refused(times(6_731_923), "");
    refused(times(6_731_924), "this runs from 0 to 2147483756, which does not fit 32 bits");
    refused(|b| b.int(1 << 31), "this is 2147483648, which does not fit 32 bits");
    let id_times = |factor: i64| {
        move |b: &mut Builder| {
            let (k, factor) = (b.k(), b.int(factor));
            let id = b.push(Op::Lookup { table: 1, indices: vec![k] });
            b.push(Op::Multiply(id, factor))
        }
    };
    refused(id_times(127), "");
    refused(id_times(128), "this runs from -2147483648 to 2147483648, which does not fit 32 bits");
    let constant = |of: fn(StepId) -> Op, x: f64| {
        move |b: &mut Builder| {
            let x = b.push(Op::Float(x));
            b.push(of(x))
        }
    };
    refused(constant(Op::Exp, 80.0), "");
    refused(constant(Op::Exp, 90.0), "this constant is not a finite 32-bit number");
    refused(constant(Op::Log, 0.0), "this constant is not a finite 32-bit number");
    refused(constant(Op::Sqrt, 1e300), "this constant is not a finite 32-bit number");
}

/// Programs that pass the check have no int beyond i32, no index out of range and no zero divisor at any element.
#[test]
fn checked_programs_stay_within_bounds() {
    let mut rng = Rng::with_seed(8);
    let mut passed = 0;
    for _ in 0..3000 {
        let sizes = random::sizes(&mut rng);
        let (tables, values) = random::tables(&mut rng, sizes);
        let program = random::score(&mut rng, sizes, tables);
        if check(&program, sizes, &ranges(&values)).is_err() {
            continue;
        }
        passed += 1;
        for _ in 0..4 {
            let at = [sizes.batch, sizes.q_heads, sizes.q_len, sizes.kv_len].map(|n| rng.usize(0..n));
            let s = rng.f64() - 0.5;
            let element =
                Element { program: &program, values: &values, sizes, at, s, round: &|x| x, constant: |x| x };
            for id in 0..program.steps.len() {
                let floored = matches!(program.steps[id].op, Op::Floor(_));
                if let Naive::Int(value) = naive(&element, id) {
                    assert!(floored || i32::try_from(value).is_ok(), "{value} at {at:?} {program:#?}");
                }
            }
        }
    }
    assert!(passed > 500, "{passed}");
}
