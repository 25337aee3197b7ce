//! A second implementation of evaluation: one that agrees with the first, and one that rounds as devices do.

use std::cell::RefCell;

use fastrand::Rng;

use super::{
    super::{Class, Classifier, Evaluator, Op, OwnLengths, Program, Sizes, StepId, Type, Variable},
    random,
    soundness::{by_name, ranges},
};
use crate::{
    HostTensor, TensorData,
    expr::ir::{
        arithmetic::{alibi_slope, compare},
        dependence::data_dependent,
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Naive {
    Bool(bool),
    Int(i128),
    Float(f64),
}

pub(super) struct Element<'a> {
    pub(super) program: &'a Program,
    pub(super) values: &'a [HostTensor],
    pub(super) sizes: Sizes,
    pub(super) at: [usize; 4],
    pub(super) s: f64,
    /// The result of arithmetic on an exact float.
    pub(super) round: &'a dyn Fn(f64) -> f64,
    /// The value of a constant.
    pub(super) constant: fn(f64) -> f64,
}

/// A second implementation, from the operations' documentation, one step at a time.
pub(super) fn naive(element: &Element<'_>, id: StepId) -> Naive {
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
