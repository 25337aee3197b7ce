//! Builtins in primitive steps: the one place that defines them.

use super::steps::Steps;
use crate::expr::{Op, Shape, StepId, Type, Variable, syntax::names::Builtin};

/// `qp`: `q + nk - nq`.
pub(crate) fn position(steps: &mut Steps) -> StepId {
    let q = steps.variable(Variable::Query);
    let nk = steps.variable(Variable::KeyCount);
    let nq = steps.variable(Variable::QueryCount);
    let sum = steps.add(q, nk);
    steps.subtract(sum, nq)
}

/// The value of `builtin` of `arguments`, as many as it has parameters and of the types that the checks allow.
pub(crate) fn lower(steps: &mut Steps, builtin: Builtin, arguments: &[StepId]) -> StepId {
    let lowered = primitive(steps, builtin, arguments);
    // A mask that is the same everywhere is better known as a constant.
    if matches!(steps.op(lowered), Op::Bool(_)) {
        return lowered;
    }
    let constants: Option<Vec<i64>> = arguments.iter().map(|&id| steps.constant(id)).collect();
    match constants.and_then(|constants| shape(builtin, &constants)) {
        Some(shape) => steps.push(Op::Shape { shape, lowered }, Type::Bool),
        None => lowered,
    }
}

fn primitive(steps: &mut Steps, builtin: Builtin, arguments: &[StepId]) -> StepId {
    let q = steps.variable(Variable::Query);
    let k = steps.variable(Variable::Key);
    match (builtin, arguments) {
        (Builtin::Causal, _) => {
            let qp = position(steps);
            steps.less_equal(k, qp)
        }
        (Builtin::CausalTopLeft, _) => steps.less_equal(k, q),
        (Builtin::Window, &[l, r]) => {
            let qp = position(steps);
            let (first, last) = (steps.subtract(qp, l), steps.add(qp, r));
            let (after, before) = (steps.less_equal(first, k), steps.less_equal(k, last));
            steps.and(after, before)
        }
        (Builtin::Sinks | Builtin::Prefix, &[n]) => steps.less(k, n),
        (Builtin::Blocks, &[n]) => {
            let (query_block, key_block) = (steps.divide(q, n), steps.divide(k, n));
            steps.equal(query_block, key_block)
        }
        (Builtin::ShiftedBlocks, &[n, o]) => same_block(steps, q, k, n, o),
        (Builtin::Dilated, &[r]) => {
            let qp = position(steps);
            let zero = steps.int(0);
            let behind = steps.subtract(qp, k);
            let phase = steps.remainder(behind, r);
            steps.equal(phase, zero)
        }
        (Builtin::Strided, &[n, r]) => {
            let zero = steps.int(0);
            let block = steps.divide(k, n);
            let phase = steps.remainder(block, r);
            steps.equal(phase, zero)
        }
        (Builtin::Disc, &[w, r]) => {
            let (dx, dy) = offsets(steps, q, k, w);
            let (dx, dy) = (steps.multiply(dx, dx), steps.multiply(dy, dy));
            let distance = steps.add(dx, dy);
            let radius = steps.multiply(r, r);
            steps.less(distance, radius)
        }
        (Builtin::Local, &[w, rx, ry]) => {
            let (dx, dy) = offsets(steps, q, k, w);
            let (dx, dy) = (steps.abs(dx), steps.abs(dy));
            let (column, row) = (steps.less_equal(dx, rx), steps.less_equal(dy, ry));
            steps.and(column, row)
        }
        (Builtin::Window2d, &[w, m, o]) => {
            let ((qx, qy), (kx, ky)) = (raster(steps, q, w), raster(steps, k, w));
            let column = same_block(steps, qx, kx, m, o);
            let row = same_block(steps, qy, ky, m, o);
            steps.and(column, row)
        }
        (Builtin::Softcap, &[ref x @ .., c]) => {
            let x = score_or(steps, x);
            let scaled = steps.divide(x, c);
            let bent = steps.real(Op::Tanh, scaled);
            steps.multiply(c, bent)
        }
        (Builtin::Alibi, x) => {
            let x = score_or(steps, x);
            let h = steps.variable(Variable::Head);
            let qp = position(steps);
            let slope = steps.push(Op::Slope(h), Type::Float);
            let distance = steps.subtract(qp, k);
            let distance = steps.abs(distance);
            let penalty = steps.multiply(slope, distance);
            steps.subtract(x, penalty)
        }
        (Builtin::Slope, &[h]) => steps.push(Op::Slope(h), Type::Float),
        (Builtin::Abs, &[x]) => steps.abs(x),
        (Builtin::Min, &[x, y]) => steps.min(x, y),
        (Builtin::Max, &[x, y]) => steps.max(x, y),
        (Builtin::Clamp, &[x, low, high]) => steps.clamp(x, low, high),
        (Builtin::Floor, &[x]) => steps.floor(x),
        (Builtin::Sqrt, &[x]) => steps.real(Op::Sqrt, x),
        (Builtin::Exp, &[x]) => steps.real(Op::Exp, x),
        (Builtin::Log, &[x]) => steps.real(Op::Log, x),
        (Builtin::Tanh, &[x]) => steps.real(Op::Tanh, x),
        // The parser counts arguments, and lowers `same` itself: it has tables, not values.
        _ => steps.bool(false),
    }
}

/// The argument as a float, or the score.
fn score_or(steps: &mut Steps, x: &[StepId]) -> StepId {
    match x.first() {
        Some(&x) => steps.float_of(x),
        None => steps.variable(Variable::Score),
    }
}

/// `(a + o) / n == (b + o) / n`.
fn same_block(steps: &mut Steps, a: StepId, b: StepId, n: StepId, o: StepId) -> StepId {
    let (a, b) = (steps.add(a, o), steps.add(b, o));
    let (a, b) = (steps.divide(a, n), steps.divide(b, n));
    steps.equal(a, b)
}

/// Column and row of a position on a raster of width `w`.
fn raster(steps: &mut Steps, position: StepId, w: StepId) -> (StepId, StepId) {
    (steps.remainder(position, w), steps.divide(position, w))
}

/// `dx` and `dy` from a key to a query.
fn offsets(steps: &mut Steps, q: StepId, k: StepId, w: StepId) -> (StepId, StepId) {
    let ((qx, qy), (kx, ky)) = (raster(steps, q, w), raster(steps, k, w));
    (steps.subtract(qx, kx), steps.subtract(qy, ky))
}

/// The shape of a mask of constant arguments, if it has one.
fn shape(builtin: Builtin, arguments: &[i64]) -> Option<Shape> {
    // The checks refuse these where they are written; an argument may also become constant later.
    let sensible = builtin
        .parameters()
        .iter()
        .zip(arguments)
        .all(|((_, min), value)| min.is_none_or(|min| *value >= min));
    if !sensible {
        return None;
    }
    Some(match (builtin, arguments) {
        (Builtin::Causal, _) => Shape::Band { left: None, right: Some(0) },
        (Builtin::CausalTopLeft, _) => Shape::CausalTopLeft,
        (Builtin::Window, &[l, r]) => Shape::Band { left: Some(l), right: Some(r) },
        (Builtin::Sinks | Builtin::Prefix, &[n]) => Shape::Below(n),
        (Builtin::Blocks, &[n]) => Shape::Blocks { n, shift: 0 },
        (Builtin::ShiftedBlocks, &[n, shift]) => Shape::Blocks { n, shift },
        (Builtin::Dilated, &[r]) => Shape::Dilated(r),
        (Builtin::Strided, &[n, r]) => Shape::Strided { n, r },
        (Builtin::Disc, &[w, r]) => Shape::Disc { w, r },
        (Builtin::Local, &[w, rx, ry]) => Shape::Local { w, rx, ry },
        (Builtin::Window2d, &[w, m, o]) => Shape::Window2d { w, m, o },
        _ => return None,
    })
}
