//! Meaning of builtins, and the form of programs.

use foveal_kernels::Dtype;
use foveal_kernels::expr::{Comparison, Expr, Op, Program, Shape, Table, Type, Variable};

/// The variables of one element: q, k, nq, nk, b and h.
#[derive(Clone, Copy)]
struct At {
    q: i64,
    k: i64,
    nq: i64,
    nk: i64,
    b: i64,
    h: i64,
}

/// A program's value by the plainest of interpreters; bools are 0 and 1, an int table's element is a number made of its
/// indices, the score is 1.5 and a head's slope 2^-h.
fn value(program: &Program, at: At) -> f64 {
    let mut values: Vec<f64> = Vec::new();
    for step in &program.steps {
        let v = |id: usize| values[id];
        let int = step.ty == Type::Int;
        let quotient = |a: f64, b: f64| match int {
            true if b == 0.0 => 0.0,
            true => (a / b).floor(),
            false => a / b,
        };
        let truth = f64::from;
        values.push(match &step.op {
            Op::Bool(x) => truth(u8::from(*x)),
            Op::Int(x) => *x as f64,
            Op::Float(x) => *x,
            Op::Variable(variable) => match variable {
                Variable::Batch => at.b as f64,
                Variable::Head | Variable::KvHead => at.h as f64,
                Variable::Query => at.q as f64,
                Variable::Key => at.k as f64,
                Variable::QueryCount => at.nq as f64,
                Variable::KeyCount => at.nk as f64,
                Variable::Score => 1.5,
            },
            Op::Not(a) => 1.0 - v(*a),
            Op::And(a, b) => v(*a) * v(*b),
            Op::Or(a, b) => v(*a).max(v(*b)),
            Op::Compare(comparison, a, b) => {
                let (a, b) = (v(*a), v(*b));
                truth(u8::from(match comparison {
                    Comparison::Equal => a == b,
                    Comparison::NotEqual => a != b,
                    Comparison::Less => a < b,
                    Comparison::LessEqual => a <= b,
                    Comparison::Greater => a > b,
                    Comparison::GreaterEqual => a >= b,
                }))
            }
            Op::Negate(a) => -v(*a),
            Op::Abs(a) => v(*a).abs(),
            Op::Add(a, b) => v(*a) + v(*b),
            Op::Subtract(a, b) => v(*a) - v(*b),
            Op::Multiply(a, b) => v(*a) * v(*b),
            Op::Divide(a, b) => quotient(v(*a), v(*b)),
            Op::Remainder(a, b) => v(*a) - v(*b) * (v(*a) / v(*b)).floor(),
            Op::Min(a, b) => v(*a).min(v(*b)),
            Op::Max(a, b) => v(*a).max(v(*b)),
            Op::Floor(a) => v(*a).floor(),
            Op::Sqrt(a) => v(*a).sqrt(),
            Op::Exp(a) => v(*a).exp(),
            Op::Log(a) => v(*a).ln(),
            Op::Tanh(a) => v(*a).tanh(),
            Op::ToFloat(a) => v(*a),
            Op::Slope(a) => (-v(*a)).exp2(),
            Op::Lookup { table, indices } => {
                let position = indices.iter().fold(*table as f64 + 1.0, |p, index| p * 31.0 + v(*index));
                (position / 3.0).floor() % 5.0
            }
            Op::Shape { lowered, .. } => v(*lowered),
        });
    }
    values.last().copied().unwrap_or(f64::NAN)
}

#[expect(clippy::panic, reason = "tests report by panicking")]
fn bound(text: &str, tables: &[Table]) -> Program {
    let bound = text.parse::<Expr>().and_then(|expression| expression.bind(tables));
    bound.unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Every pair of a few problems: square, decoding, and more queries than keys.
fn everywhere(mut check: impl FnMut(At)) {
    for (nq, nk) in [(20, 20), (5, 33), (18, 7)] {
        for q in 0..nq {
            for k in 0..nk {
                check(At { q, k, nq, nk, b: q % 2, h: k % 3 });
            }
        }
    }
}

#[test]
fn named_masks_mean_what_the_table_says() {
    type Meaning = fn(At) -> bool;
    let masks: [(&str, Meaning, Option<Shape>); 15] = [
        ("causal", |a| a.k <= a.q + a.nk - a.nq, Some(Shape::Band { left: None, right: Some(0) })),
        ("causal_top_left", |a| a.k <= a.q, Some(Shape::CausalTopLeft)),
        (
            "window(3, 1)",
            |a| (-1..=3).contains(&(a.q + a.nk - a.nq - a.k)),
            Some(Shape::Band { left: Some(3), right: Some(1) }),
        ),
        (
            "window(-3, 5)",
            |a| (-5..=-3).contains(&(a.q + a.nk - a.nq - a.k)),
            Some(Shape::Band { left: Some(-3), right: Some(5) }),
        ),
        ("sinks(2)", |a| a.k < 2, Some(Shape::Below(2))),
        ("prefix(5)", |a| a.k < 5, Some(Shape::Below(5))),
        ("blocks(4)", |a| a.q / 4 == a.k / 4, Some(Shape::Blocks { n: 4, shift: 0 })),
        (
            "shifted_blocks(4, -3)",
            |a| (a.q - 3).div_euclid(4) == (a.k - 3).div_euclid(4),
            Some(Shape::Blocks { n: 4, shift: -3 }),
        ),
        ("dilated(3)", |a| (a.q + a.nk - a.nq - a.k).rem_euclid(3) == 0, Some(Shape::Dilated(3))),
        ("strided(2, 3)", |a| a.k / 2 % 3 == 0, Some(Shape::Strided { n: 2, r: 3 })),
        (
            "disc(6, 2)",
            |a| (a.q % 6 - a.k % 6).pow(2) + (a.q / 6 - a.k / 6).pow(2) < 4,
            Some(Shape::Disc { w: 6, r: 2 }),
        ),
        (
            "local(6, 2, 1)",
            |a| (a.q % 6 - a.k % 6).abs() <= 2 && (a.q / 6 - a.k / 6).abs() <= 1,
            Some(Shape::Local { w: 6, rx: 2, ry: 1 }),
        ),
        (
            "window2d(6, 3, 1)",
            |a| (a.q % 6 + 1) / 3 == (a.k % 6 + 1) / 3 && (a.q / 6 + 1) / 3 == (a.k / 6 + 1) / 3,
            Some(Shape::Window2d { w: 6, m: 3, o: 1 }),
        ),
        ("window(h, 0)", |a| (0..=a.h).contains(&(a.q + a.nk - a.nq - a.k)), None),
        ("blocks(nk - nk)", |_| true, None),
    ];
    for (text, meaning, shape) in masks {
        let program = bound(text, &[]);
        let root = program.steps.last().expect("a result");
        match (&root.op, shape) {
            (Op::Shape { shape, .. }, Some(expected)) => assert_eq!(*shape, expected, "{text}"),
            (_, expected) => assert_eq!(expected, None, "{text}"),
        }
        everywhere(|at| {
            assert_eq!(value(&program, at) == 1.0, meaning(at), "{text} of q {} k {}", at.q, at.k);
        });
    }
}

#[test]
fn segments_read_the_query_where_the_table_counts() {
    let table =
        |name: &str, shape: &[usize]| Table { name: name.into(), element: Dtype::I32, shape: shape.to_vec() };
    let tables = [table("t", &[33]), table("bt", &[2, 33]), table("tq", &[20]), table("btk", &[2, 33])];
    for (text, same) in [
        ("same(t)", "t[qp] == t[k]"),
        ("same(bt)", "bt[b, qp] == bt[b, k]"),
        ("same(tq, t)", "tq[q] == t[k]"),
        ("same(tq, btk)", "tq[q] == btk[b, k]"),
    ] {
        let (program, expected) = (bound(text, &tables), bound(same, &tables));
        everywhere(|at| assert_eq!(value(&program, at), value(&expected, at), "{text}"));
        assert_eq!(program.tables, tables);
    }
}

#[test]
fn scores_mean_what_the_table_says() {
    everywhere(|at| {
        let distance = (at.q + at.nk - at.nq - at.k).abs() as f64;
        for (text, expected) in [
            ("softcap(2)", 2.0 * f64::tanh(1.5 / 2.0)),
            ("softcap(0.01)", 0.01 * f64::tanh(150.0)),
            ("softcap(s * 2, 2)", 2.0 * f64::tanh(1.5)),
            ("softcap(3, 2)", 2.0 * f64::tanh(1.5)),
            ("alibi(softcap(2))", 2.0 * f64::tanh(0.75) - f64::exp2(-at.h as f64) * distance),
            ("alibi", 1.5 - f64::exp2(-at.h as f64) * distance),
            (
                "clamp(s, 2, h) + min(k, 2.5)",
                f64::min(f64::max(1.5, 2.0), at.h as f64) + f64::min(at.k as f64, 2.5),
            ),
            ("q / 3 - k / 2.0", (at.q / 3) as f64 - at.k as f64 / 2.0),
            ("floor(q / 2.0) % -3", (at.q / 2) as f64 - 3.0 * ((at.q / 2) as f64 / 3.0).ceil()),
        ] {
            let got = value(&bound(text, &[]), at);
            assert!((got - expected).abs() < 1e-12, "{text} of q {} k {}: {got} {expected}", at.q, at.k);
        }
    });
}

#[test]
fn equal_steps_occur_once_and_none_in_vain() {
    let once = bound("causal", &[]).steps.len();
    assert_eq!(bound("causal & causal | causal", &[]).steps.len(), once);
    let one = bound("abs(q - k) <= 12", &[]).steps.len();
    assert_eq!(bound("abs(q - k) <= 12 & abs(q - k) % 3 == 0", &[]).steps.len(), one + 5);
    for text in
        ["causal & window(3, h)", "s * 2 + softcap(3) - alibi", "q % 1 == 0 | q < k", "-0.0 * s + 0.0"]
    {
        let program = bound(text, &[]);
        let mut used = vec![false; program.steps.len()];
        let last = used.len() - 1;
        used[last] = true;
        for (id, step) in program.steps.iter().enumerate() {
            assert!(step.column >= 1 && step.column <= text.len());
            for operand in operands(&step.op) {
                assert!(operand < id, "{text}");
                used[operand] = true;
            }
        }
        assert!(used.iter().all(|used| *used), "{text}: {program:?}");
    }
    // The two zeros differ in a bit, so they are two steps.
    let floats = bound("-0.0 * s + 0.0", &[]).steps;
    assert_eq!(floats.iter().filter(|step| matches!(step.op, Op::Float(_))).count(), 2);
}

#[test]
fn ints_become_floats_where_floats_are() {
    let table = |name: &str, element| Table { name: name.into(), element, shape: vec![8] };
    let tables = [table("f", Dtype::Bf16), table("i", Dtype::I32), table("u", Dtype::U8)];
    for text in ["s + i[k]", "i[k] + u[k]", "f[i[k]] * q", "sqrt(q)", "min(f[k], u[q])", "7", "q - k"] {
        let program = bound(text, &tables);
        assert_eq!(program.steps.last().expect("a result").ty, Type::Float, "{text}");
        for step in &program.steps {
            let of: Vec<Type> = operands(&step.op).into_iter().map(|id| program.steps[id].ty).collect();
            match step.op {
                Op::ToFloat(_) | Op::Slope(_) | Op::Lookup { .. } => {
                    assert!(of.iter().all(|ty| *ty == Type::Int));
                }
                Op::Floor(_) => assert_eq!(of, [Type::Float]),
                Op::Compare(..) => assert_eq!(of[0], of[1]),
                _ => assert!(of.iter().all(|ty| *ty == step.ty), "{text}: {step:?}"),
            }
        }
    }
    assert_eq!(bound("true", &[]).steps.len(), 1);
    assert!(matches!(
        bound("dilated(1)", &[]).steps[..],
        [foveal_kernels::expr::Step { op: Op::Bool(true), .. }]
    ));
}

fn operands(op: &Op) -> Vec<usize> {
    match op {
        Op::Bool(_) | Op::Int(_) | Op::Float(_) | Op::Variable(_) => vec![],
        Op::And(a, b) | Op::Or(a, b) | Op::Compare(_, a, b) | Op::Add(a, b) | Op::Subtract(a, b) => {
            vec![*a, *b]
        }
        Op::Multiply(a, b) | Op::Divide(a, b) | Op::Remainder(a, b) | Op::Min(a, b) | Op::Max(a, b) => {
            vec![*a, *b]
        }
        Op::Not(a) | Op::Negate(a) | Op::Abs(a) | Op::Floor(a) | Op::Sqrt(a) | Op::Exp(a) | Op::Log(a) => {
            vec![*a]
        }
        Op::Tanh(a) | Op::ToFloat(a) | Op::Slope(a) => vec![*a],
        Op::Lookup { indices, .. } => indices.clone(),
        Op::Shape { lowered, .. } => vec![*lowered],
    }
}
