//! Tables and bounds that are refused, and programs that pass the check.

use fastrand::Rng;

use super::{
    super::{Evaluator, Op, Sizes, StepId, Table, Variable, check},
    build::Builder,
    naive::{Element, Naive, naive},
    random,
    soundness::ranges,
};
use crate::{Dtype, HostTensor, TensorData};

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
    refused(constant(Op::Exp, 90.0), "this constant is no finite number of at most 3e38 in size");
    refused(constant(Op::Log, 0.0), "this constant is no finite number of at most 3e38 in size");
    refused(constant(Op::Sqrt, 1e300), "this constant is no finite number of at most 3e38 in size");
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
