//! Random programs, tables and blocks.

use fastrand::Rng;
use half::{bf16, f16};

use super::{
    super::{Comparison, Op, Program, Region, Shape, Sizes, StepId, Table, Type, Variable},
    build::Builder,
};
use crate::{Dtype, HostTensor, TensorData};

pub(super) const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessEqual,
    Comparison::Greater,
    Comparison::GreaterEqual,
];

/// Small sizes, with equal lengths now and then.
pub(super) fn sizes(rng: &mut Rng) -> Sizes {
    let kv_heads = rng.usize(1..=3);
    let q_len = rng.usize(1..=24);
    let kv_len = if rng.u8(0..3) == 0 { q_len } else { rng.usize(1..=24) };
    Sizes { batch: rng.usize(1..=2), q_heads: kv_heads * rng.usize(1..=2), kv_heads, q_len, kv_len }
}

/// Tables by key, by query, and by both, broadcasting over heads; and their values.
pub(super) fn tables(rng: &mut Rng, sizes: Sizes) -> (Vec<Table>, Vec<HostTensor>) {
    let shapes = [
        ("id", Dtype::I32, vec![sizes.kv_len]),
        ("keep", Dtype::U8, vec![sizes.batch, sizes.q_len]),
        ("bias", Dtype::F32, vec![1, sizes.q_len, sizes.kv_len]),
        ("half", Dtype::F16, vec![sizes.kv_len]),
        ("brief", Dtype::Bf16, vec![sizes.q_heads]),
        ("signed", Dtype::I8, vec![sizes.kv_len]),
    ];
    shapes
        .into_iter()
        .map(|(name, element, shape)| {
            let n = shape.iter().product::<usize>();
            let mut float = || rng.f32() * 8.0 - 4.0;
            let data = match element {
                Dtype::F32 => TensorData::F32((0..n).map(|_| float()).collect()),
                Dtype::F16 => TensorData::F16((0..n).map(|_| f16::from_f32(float())).collect()),
                Dtype::Bf16 => TensorData::Bf16((0..n).map(|_| bf16::from_f32(float())).collect()),
                Dtype::I32 => TensorData::I32((0..n).map(|_| rng.i32(-3..9)).collect()),
                Dtype::U8 => TensorData::U8((0..n).map(|_| rng.u8(0..4)).collect()),
                Dtype::I8 => TensorData::I8((0..n).map(|_| rng.i8(-3..4)).collect()),
            };
            let tensor = HostTensor::new(shape.clone(), data).unwrap();
            (Table { name: name.to_owned(), element, shape }, tensor)
        })
        .unzip()
}

/// Any shape, with numbers of the sizes' magnitude.
pub(super) fn shape(rng: &mut Rng) -> Shape {
    let bound = |rng: &mut Rng| rng.bool().then(|| rng.i64(-6..20));
    match rng.u8(0..9) {
        0 => Shape::Band { left: bound(rng), right: bound(rng) },
        1 => Shape::CausalTopLeft,
        2 => Shape::Below(rng.i64(-2..26)),
        3 => Shape::Blocks { n: rng.i64(1..9), shift: rng.i64(-9..9) },
        4 => Shape::Dilated(rng.i64(1..6)),
        5 => Shape::Strided { n: rng.i64(1..6), r: rng.i64(1..5) },
        6 => Shape::Disc { w: rng.i64(1..9), r: rng.i64(-1..6) },
        7 => Shape::Local { w: rng.i64(1..9), rx: rng.i64(-1..5), ry: rng.i64(-1..5) },
        _ => Shape::Window2d { w: rng.i64(1..9), m: rng.i64(1..5), o: rng.i64(-3..4) },
    }
}

/// A mask of any operations, tables included.
pub(super) fn mask(rng: &mut Rng, sizes: Sizes, tables: Vec<Table>) -> Program {
    let mut b = Builder::new(tables);
    let depth = rng.u8(1..5);
    let root = truth(rng, &mut b, sizes, depth);
    b.finish(root)
}

/// A score of any operations.
pub(super) fn score(rng: &mut Rng, sizes: Sizes, tables: Vec<Table>) -> Program {
    let mut b = Builder::new(tables);
    b.score = true;
    let depth = rng.u8(1..5);
    let root = float(rng, &mut b, sizes, depth);
    b.finish(root)
}

pub(super) fn region(rng: &mut Rng, sizes: Sizes) -> Region {
    let mut range = |n: usize| {
        let start = rng.usize(0..n);
        start..rng.usize(start + 1..=n.min(start + 7))
    };
    Region {
        batch: range(sizes.batch),
        heads: range(sizes.q_heads),
        queries: range(sizes.q_len),
        keys: range(sizes.kv_len),
    }
}

fn pick(rng: &mut Rng, b: &mut Builder, ty: Type) -> Option<StepId> {
    // Steps that exist already, so that programs are graphs and not only trees.
    let found: Vec<_> = (0..b.program.steps.len()).filter(|&id| b.ty(id) == ty).collect();
    (rng.u8(0..6) == 0).then(|| rng.choice(found)).flatten()
}

fn truth(rng: &mut Rng, b: &mut Builder, sizes: Sizes, depth: u8) -> StepId {
    if let Some(found) = pick(rng, b, Type::Bool) {
        return found;
    }
    let deeper = depth.saturating_sub(1);
    let kind = if depth == 0 { rng.u8(0..8) } else { rng.u8(0..16) };
    match kind {
        0..4 => {
            let shape = shape(rng);
            b.shape(shape)
        }
        4 if rng.u8(0..4) == 0 => b.push(Op::Bool(rng.bool())),
        4..7 => {
            let (x, y) = (int(rng, b, sizes, deeper), int(rng, b, sizes, deeper));
            let by = COMPARISONS[rng.usize(0..6)];
            b.compare(by, x, y)
        }
        7 => {
            let (x, y) = (float(rng, b, sizes, deeper), float(rng, b, sizes, deeper));
            let by = COMPARISONS[rng.usize(0..6)];
            b.compare(by, x, y)
        }
        8 | 9 => {
            let a = truth(rng, b, sizes, deeper);
            b.push(Op::Not(a))
        }
        10 => {
            let (x, y) = (truth(rng, b, sizes, deeper), truth(rng, b, sizes, deeper));
            let by = COMPARISONS[rng.usize(0..6)];
            b.compare(by, x, y)
        }
        other => {
            let (x, y) = (truth(rng, b, sizes, deeper), truth(rng, b, sizes, deeper));
            b.push(if other < 14 { Op::And(x, y) } else { Op::Or(x, y) })
        }
    }
}

/// An index that is certainly in range.
fn index(rng: &mut Rng, b: &mut Builder, sizes: Sizes, variable: Variable, size: usize, depth: u8) -> StepId {
    if rng.bool() {
        return b.var(variable);
    }
    let any = int(rng, b, sizes, depth);
    let (zero, last) = (b.int(0), b.int(i64::try_from(size).unwrap() - 1));
    let raised = b.push(Op::Max(any, zero));
    b.push(Op::Min(raised, last))
}

fn int(rng: &mut Rng, b: &mut Builder, sizes: Sizes, depth: u8) -> StepId {
    if let Some(found) = pick(rng, b, Type::Int) {
        return found;
    }
    let deeper = depth.saturating_sub(1);
    let kind = if depth == 0 { rng.u8(0..8) } else { rng.u8(0..22) };
    match kind {
        0 | 1 => b.q(),
        2 | 3 => b.k(),
        4 => b.qp(),
        5 => b.int(rng.i64(-8..24)),
        6 => {
            let variables =
                [Variable::Batch, Variable::Head, Variable::KvHead, Variable::QueryCount, Variable::KeyCount];
            b.var(variables[rng.usize(0..5)])
        }
        7 => b.distance(),
        8 => {
            let at = index(rng, b, sizes, Variable::Key, sizes.kv_len, deeper);
            b.push(Op::Lookup { table: 0, indices: vec![at] })
        }
        9 => {
            let batch = index(rng, b, sizes, Variable::Batch, sizes.batch, deeper);
            let query = index(rng, b, sizes, Variable::Query, sizes.q_len, deeper);
            b.push(Op::Lookup { table: 1, indices: vec![batch, query] })
        }
        10 | 11 => {
            let a = int(rng, b, sizes, deeper);
            b.push(if kind == 10 { Op::Negate(a) } else { Op::Abs(a) })
        }
        12 => {
            let a = float(rng, b, sizes, deeper);
            b.push(Op::Floor(a))
        }
        _ => {
            let x = int(rng, b, sizes, deeper);
            let y = if rng.bool() { b.int(rng.i64(-5..9)) } else { int(rng, b, sizes, deeper) };
            let ops: [fn(StepId, StepId) -> Op; 9] = [
                Op::Add,
                Op::Subtract,
                Op::Multiply,
                Op::Divide,
                Op::Remainder,
                Op::Min,
                Op::Max,
                Op::Add,
                Op::Subtract,
            ];
            b.push(ops[usize::from(kind) - 13](x, y))
        }
    }
}

fn float(rng: &mut Rng, b: &mut Builder, sizes: Sizes, depth: u8) -> StepId {
    if let Some(found) = pick(rng, b, Type::Float) {
        return found;
    }
    let deeper = depth.saturating_sub(1);
    let kind = if depth == 0 { rng.u8(0..3) } else { rng.u8(0..20) };
    match kind {
        0 | 1 => {
            let a = int(rng, b, sizes, deeper);
            b.push(Op::ToFloat(a))
        }
        2 => {
            let x = [0.0, 1.0, -1.0, 0.5, 0.1, 3.0, 1e-3, -7.25][rng.usize(0..8)];
            b.push(Op::Float(x))
        }
        3 if b.score => b.var(Variable::Score),
        3 => b.push(Op::Float(2.5)),
        4 => {
            let a = int(rng, b, sizes, deeper);
            b.push(Op::Slope(a))
        }
        5 => {
            let head = int(rng, b, sizes, deeper);
            let query = index(rng, b, sizes, Variable::Query, sizes.q_len, deeper);
            let key = index(rng, b, sizes, Variable::Key, sizes.kv_len, deeper);
            b.push(Op::Lookup { table: 2, indices: vec![head, query, key] })
        }
        6 => {
            let (table, variable, size) = if rng.bool() {
                (3, Variable::Key, sizes.kv_len)
            } else {
                (4, Variable::Head, sizes.q_heads)
            };
            let at = index(rng, b, sizes, variable, size, deeper);
            b.push(Op::Lookup { table, indices: vec![at] })
        }
        7..13 => {
            let ops = [Op::Sqrt, Op::Exp, Op::Log, Op::Tanh, Op::Negate, Op::Abs];
            let a = float(rng, b, sizes, deeper);
            b.push(ops[usize::from(kind) - 7](a))
        }
        _ => {
            let (x, y) = (float(rng, b, sizes, deeper), float(rng, b, sizes, deeper));
            let ops: [fn(StepId, StepId) -> Op; 7] =
                [Op::Add, Op::Subtract, Op::Multiply, Op::Divide, Op::Remainder, Op::Min, Op::Max];
            b.push(ops[usize::from(kind) - 13](x, y))
        }
    }
}
