//! Programs put together by hand, with shapes lowered as their definitions say.

use super::super::{Comparison, Op, Program, Shape, Step, StepId, Table, Type, Variable};
use crate::Dtype;

/// A program in the making; equal steps occur once.
pub(super) struct Builder {
    pub(super) program: Program,
    /// Whether it is to be a score.
    pub(super) score: bool,
}

impl Builder {
    pub(super) fn new(tables: Vec<Table>) -> Self {
        Self { program: Program { steps: Vec::new(), tables }, score: false }
    }

    pub(super) fn ty(&self, id: StepId) -> Type {
        self.program.steps[id].ty
    }

    pub(super) fn push(&mut self, op: Op) -> StepId {
        let ty = match &op {
            Op::Bool(_) | Op::Not(_) | Op::And(..) | Op::Or(..) | Op::Compare(..) | Op::Shape { .. } => {
                Type::Bool
            }
            Op::Int(_) | Op::Floor(_) => Type::Int,
            Op::Variable(Variable::Score) | Op::Float(_) => Type::Float,
            Op::Variable(_) => Type::Int,
            Op::Sqrt(_) | Op::Exp(_) | Op::Log(_) | Op::Tanh(_) | Op::ToFloat(_) | Op::Slope(_) => {
                Type::Float
            }
            Op::Lookup { table, .. } => match self.program.tables[*table].element {
                Dtype::F32 | Dtype::F16 | Dtype::Bf16 => Type::Float,
                Dtype::I32 | Dtype::U8 | Dtype::I8 => Type::Int,
            },
            Op::Negate(a) | Op::Abs(a) => self.ty(*a),
            Op::Add(a, _)
            | Op::Subtract(a, _)
            | Op::Multiply(a, _)
            | Op::Divide(a, _)
            | Op::Remainder(a, _)
            | Op::Min(a, _)
            | Op::Max(a, _) => self.ty(*a),
        };
        if let Some(id) = self.program.steps.iter().position(|step| step.op == op) {
            return id;
        }
        self.program.steps.push(Step { op, ty, column: 0 });
        self.program.steps.len() - 1
    }

    /// The program whose result is `id`. Steps after it are dropped.
    pub(super) fn finish(mut self, id: StepId) -> Program {
        self.program.steps.truncate(id + 1);
        self.program
    }

    pub(super) fn int(&mut self, value: i64) -> StepId {
        self.push(Op::Int(value))
    }

    pub(super) fn var(&mut self, variable: Variable) -> StepId {
        self.push(Op::Variable(variable))
    }

    pub(super) fn q(&mut self) -> StepId {
        self.var(Variable::Query)
    }

    pub(super) fn k(&mut self) -> StepId {
        self.var(Variable::Key)
    }

    pub(super) fn compare(&mut self, by: Comparison, a: StepId, b: StepId) -> StepId {
        self.push(Op::Compare(by, a, b))
    }

    /// `q + nk - nq`
    pub(super) fn qp(&mut self) -> StepId {
        let (q, nk, nq) = (self.q(), self.var(Variable::KeyCount), self.var(Variable::QueryCount));
        let sum = self.push(Op::Add(q, nk));
        self.push(Op::Subtract(sum, nq))
    }

    /// `q + nk - nq - k`
    pub(super) fn distance(&mut self) -> StepId {
        let (qp, k) = (self.qp(), self.k());
        self.push(Op::Subtract(qp, k))
    }

    fn with(&mut self, op: fn(StepId, StepId) -> Op, a: StepId, constant: i64) -> StepId {
        let b = self.int(constant);
        self.push(op(a, b))
    }

    pub(super) fn shape(&mut self, shape: Shape) -> StepId {
        let lowered = self.lowered(shape);
        self.push(Op::Shape { shape, lowered })
    }

    fn lowered(&mut self, shape: Shape) -> StepId {
        let (q, k) = (self.q(), self.k());
        match shape {
            Shape::Band { left, right } => {
                let d = self.distance();
                let mut parts = Vec::new();
                for (bound, by, sign) in
                    [(left, Comparison::LessEqual, 1), (right, Comparison::GreaterEqual, -1)]
                {
                    if let Some(bound) = bound {
                        let bound = self.int(sign * bound);
                        parts.push(self.compare(by, d, bound));
                    }
                }
                match parts[..] {
                    [] => self.push(Op::Bool(true)),
                    [one] => one,
                    [a, b, ..] => self.push(Op::And(a, b)),
                }
            }
            Shape::CausalTopLeft => self.compare(Comparison::LessEqual, k, q),
            Shape::Below(n) => {
                let n = self.int(n);
                self.compare(Comparison::Less, k, n)
            }
            Shape::Blocks { n, shift } => self.same_tile(q, k, n, shift),
            Shape::Dilated(r) => {
                let d = self.distance();
                let rest = self.with(Op::Remainder, d, r);
                let zero = self.int(0);
                self.compare(Comparison::Equal, rest, zero)
            }
            Shape::Strided { n, r } => {
                let block = self.with(Op::Divide, k, n);
                let rest = self.with(Op::Remainder, block, r);
                let zero = self.int(0);
                self.compare(Comparison::Equal, rest, zero)
            }
            Shape::Disc { w, r } => {
                let [dx, dy] = self.raster_distance(w);
                let (dx2, dy2) = (self.push(Op::Multiply(dx, dx)), self.push(Op::Multiply(dy, dy)));
                let sum = self.push(Op::Add(dx2, dy2));
                let square = self.int(r * r);
                self.compare(Comparison::Less, sum, square)
            }
            Shape::Local { w, rx, ry } => {
                let near = [rx, ry].map(|r| self.int(r));
                let deltas = self.raster_distance(w).map(|delta| self.push(Op::Abs(delta)));
                let x = self.compare(Comparison::LessEqual, deltas[0], near[0]);
                let y = self.compare(Comparison::LessEqual, deltas[1], near[1]);
                self.push(Op::And(x, y))
            }
            Shape::Window2d { w, m, o } => {
                let [x, y] = [Op::Remainder, Op::Divide].map(|op| {
                    let (q, k) = (self.with(op, q, w), self.with(op, k, w));
                    self.same_tile(q, k, m, o)
                });
                self.push(Op::And(x, y))
            }
        }
    }

    fn same_tile(&mut self, a: StepId, b: StepId, n: i64, shift: i64) -> StepId {
        let [a, b] = [a, b].map(|at| {
            let shifted = self.with(Op::Add, at, shift);
            self.with(Op::Divide, shifted, n)
        });
        self.compare(Comparison::Equal, a, b)
    }

    fn raster_distance(&mut self, w: i64) -> [StepId; 2] {
        let (q, k) = (self.q(), self.k());
        [Op::Remainder, Op::Divide].map(|op| {
            let (q, k) = (self.with(op, q, w), self.with(op, k, w));
            self.push(Op::Subtract(q, k))
        })
    }
}
