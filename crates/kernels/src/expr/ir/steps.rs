//! A program in the making: equal steps once, constants computed, operands made alike.

use super::arithmetic::compare;
use crate::expr::{
    Comparison, Op, Step, StepId, Type, Variable,
    syntax::{fold::arithmetic, tree::Binary},
};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

/// The steps so far. Builders take the column of [`Steps::column`], which has to be set before a node is lowered.
#[derive(Default)]
pub(crate) struct Steps {
    steps: Vec<Step>,
    known: HashMap<Key, StepId>,
    pub(crate) column: usize,
}

/// An operation as a key: floats are the same if their bits are.
struct Key(Op);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Op::Float(a), Op::Float(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        discriminant(&self.0).hash(state);
        match &self.0 {
            Op::Bool(value) => value.hash(state),
            Op::Int(value) => value.hash(state),
            Op::Float(value) => value.to_bits().hash(state),
            Op::Variable(variable) => variable.hash(state),
            Op::Compare(comparison, ..) => comparison.hash(state),
            Op::Lookup { table, .. } => table.hash(state),
            Op::Shape { shape, .. } => shape.hash(state),
            _ => {}
        }
        let _ = map_operands(&self.0, |id| {
            id.hash(state);
            id
        });
    }
}

/// `op` with every operand replaced.
pub(crate) fn map_operands(op: &Op, mut f: impl FnMut(StepId) -> StepId) -> Op {
    let mut two = |make: fn(StepId, StepId) -> Op, a: StepId, b: StepId| {
        let a = f(a);
        make(a, f(b))
    };
    match *op {
        Op::Bool(_) | Op::Int(_) | Op::Float(_) | Op::Variable(_) => op.clone(),
        Op::And(a, b) => two(Op::And, a, b),
        Op::Or(a, b) => two(Op::Or, a, b),
        Op::Add(a, b) => two(Op::Add, a, b),
        Op::Subtract(a, b) => two(Op::Subtract, a, b),
        Op::Multiply(a, b) => two(Op::Multiply, a, b),
        Op::Divide(a, b) => two(Op::Divide, a, b),
        Op::Remainder(a, b) => two(Op::Remainder, a, b),
        Op::Min(a, b) => two(Op::Min, a, b),
        Op::Max(a, b) => two(Op::Max, a, b),
        Op::Compare(comparison, a, b) => {
            let a = f(a);
            Op::Compare(comparison, a, f(b))
        }
        Op::Not(a) => Op::Not(f(a)),
        Op::Negate(a) => Op::Negate(f(a)),
        Op::Abs(a) => Op::Abs(f(a)),
        Op::Floor(a) => Op::Floor(f(a)),
        Op::Sqrt(a) => Op::Sqrt(f(a)),
        Op::Exp(a) => Op::Exp(f(a)),
        Op::Log(a) => Op::Log(f(a)),
        Op::Tanh(a) => Op::Tanh(f(a)),
        Op::ToFloat(a) => Op::ToFloat(f(a)),
        Op::Slope(a) => Op::Slope(f(a)),
        Op::Lookup { table, ref indices } => {
            Op::Lookup { table, indices: indices.iter().map(|&index| f(index)).collect() }
        }
        Op::Shape { shape, lowered } => Op::Shape { shape, lowered: f(lowered) },
    }
}

impl Steps {
    pub(crate) fn ty(&self, id: StepId) -> Type {
        self.steps[id].ty
    }

    pub(crate) fn op(&self, id: StepId) -> &Op {
        &self.steps[id].op
    }

    /// The value of a constant int.
    pub(crate) fn constant(&self, id: StepId) -> Option<i64> {
        if let Op::Int(value) = self.steps[id].op { Some(value) } else { None }
    }

    /// The step of `op`, whose operands have the types that it needs; an equal one if there is one.
    pub(crate) fn push(&mut self, op: Op, ty: Type) -> StepId {
        match self.known.entry(Key(op)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let op = vacant.key().0.clone();
                self.steps.push(Step { op, ty, column: self.column });
                *vacant.insert(self.steps.len() - 1)
            }
        }
    }

    pub(crate) fn int(&mut self, value: i64) -> StepId {
        self.push(Op::Int(value), Type::Int)
    }

    pub(crate) fn float(&mut self, value: f64) -> StepId {
        self.push(Op::Float(value), Type::Float)
    }

    pub(crate) fn bool(&mut self, value: bool) -> StepId {
        self.push(Op::Bool(value), Type::Bool)
    }

    pub(crate) fn variable(&mut self, variable: Variable) -> StepId {
        let ty = if variable == Variable::Score { Type::Float } else { Type::Int };
        self.push(Op::Variable(variable), ty)
    }

    /// A number as a float.
    pub(crate) fn float_of(&mut self, a: StepId) -> StepId {
        match (self.ty(a), self.constant(a)) {
            (Type::Float, _) => a,
            // f32 has every int up to 2^24; beyond, the device shall round at the place the reference does not.
            #[expect(clippy::cast_precision_loss, reason = "below 2^24")]
            (_, Some(value)) if value.unsigned_abs() <= 1 << 24 => self.float(value as f64),
            _ => self.push(Op::ToFloat(a), Type::Float),
        }
    }

    /// Two numbers as ints if both are, else as floats.
    fn alike(&mut self, a: StepId, b: StepId) -> (StepId, StepId, Type) {
        if self.ty(a) == self.ty(b) {
            return (a, b, self.ty(a));
        }
        (self.float_of(a), self.float_of(b), Type::Float)
    }

    pub(crate) fn not(&mut self, a: StepId) -> StepId {
        match *self.op(a) {
            Op::Bool(value) => self.bool(!value),
            Op::Not(inner) => inner,
            _ => self.push(Op::Not(a), Type::Bool),
        }
    }

    pub(crate) fn and(&mut self, a: StepId, b: StepId) -> StepId {
        match (self.op(a), self.op(b)) {
            (Op::Bool(true), _) => b,
            (_, Op::Bool(true)) | (Op::Bool(false), _) => a,
            (_, Op::Bool(false)) => b,
            _ if a == b => a,
            _ => self.push(Op::And(a, b), Type::Bool),
        }
    }

    pub(crate) fn or(&mut self, a: StepId, b: StepId) -> StepId {
        match (self.op(a), self.op(b)) {
            (Op::Bool(false), _) => b,
            (_, Op::Bool(false)) | (Op::Bool(true), _) => a,
            (_, Op::Bool(true)) => b,
            _ if a == b => a,
            _ => self.push(Op::Or(a, b), Type::Bool),
        }
    }

    pub(crate) fn compare(&mut self, comparison: Comparison, a: StepId, b: StepId) -> StepId {
        let (a, b, _) = self.alike(a, b);
        match (self.op(a), self.op(b)) {
            (Op::Int(x), Op::Int(y)) => {
                let known = compare(comparison, x, y);
                self.bool(known)
            }
            (Op::Bool(x), Op::Bool(y)) => {
                let known = compare(comparison, x, y);
                self.bool(known)
            }
            _ => self.push(Op::Compare(comparison, a, b), Type::Bool),
        }
    }

    pub(crate) fn less(&mut self, a: StepId, b: StepId) -> StepId {
        self.compare(Comparison::Less, a, b)
    }

    pub(crate) fn less_equal(&mut self, a: StepId, b: StepId) -> StepId {
        self.compare(Comparison::LessEqual, a, b)
    }

    pub(crate) fn equal(&mut self, a: StepId, b: StepId) -> StepId {
        self.compare(Comparison::Equal, a, b)
    }

    /// One of the five operators of arithmetic.
    pub(crate) fn arithmetic(&mut self, op: Binary, a: StepId, b: StepId) -> StepId {
        let (a, b, ty) = self.alike(a, b);
        if ty == Type::Int {
            let (x, y) = (self.constant(a), self.constant(b));
            if let (Some(x), Some(y)) = (x, y)
                && let Some(value) = arithmetic(op, x, y).filter(|value| i32::try_from(*value).is_ok())
            {
                return self.int(value);
            }
            // On floats none of these is safe: of -0.0, NaN and infinity each changes one.
            match (op, x, y) {
                (Binary::Add | Binary::Subtract, _, Some(0)) => return a,
                (Binary::Multiply | Binary::Divide, _, Some(1)) => return a,
                (Binary::Add, Some(0), _) | (Binary::Multiply, Some(1), _) => return b,
                (Binary::Remainder, _, Some(1)) => return self.int(0),
                _ => {}
            }
        }
        let op = match op {
            Binary::Subtract => Op::Subtract(a, b),
            Binary::Multiply => Op::Multiply(a, b),
            Binary::Divide => Op::Divide(a, b),
            Binary::Remainder => Op::Remainder(a, b),
            Binary::Add | Binary::Or | Binary::And | Binary::Compare(_) => Op::Add(a, b),
        };
        self.push(op, ty)
    }

    pub(crate) fn add(&mut self, a: StepId, b: StepId) -> StepId {
        self.arithmetic(Binary::Add, a, b)
    }

    pub(crate) fn subtract(&mut self, a: StepId, b: StepId) -> StepId {
        self.arithmetic(Binary::Subtract, a, b)
    }

    pub(crate) fn multiply(&mut self, a: StepId, b: StepId) -> StepId {
        self.arithmetic(Binary::Multiply, a, b)
    }

    pub(crate) fn divide(&mut self, a: StepId, b: StepId) -> StepId {
        self.arithmetic(Binary::Divide, a, b)
    }

    pub(crate) fn remainder(&mut self, a: StepId, b: StepId) -> StepId {
        self.arithmetic(Binary::Remainder, a, b)
    }

    pub(crate) fn negate(&mut self, a: StepId) -> StepId {
        match *self.op(a) {
            Op::Int(value) if i32::try_from(-value).is_ok() => self.int(-value),
            Op::Float(value) => self.float(-value),
            Op::Negate(inner) => inner,
            _ => self.push(Op::Negate(a), self.ty(a)),
        }
    }

    pub(crate) fn abs(&mut self, a: StepId) -> StepId {
        match *self.op(a) {
            Op::Int(value) if i32::try_from(value.abs()).is_ok() => self.int(value.abs()),
            Op::Float(value) => self.float(value.abs()),
            _ => self.push(Op::Abs(a), self.ty(a)),
        }
    }

    pub(crate) fn min(&mut self, a: StepId, b: StepId) -> StepId {
        let (a, b, ty) = self.alike(a, b);
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.int(x.min(y)),
            _ => self.push(Op::Min(a, b), ty),
        }
    }

    pub(crate) fn max(&mut self, a: StepId, b: StepId) -> StepId {
        let (a, b, ty) = self.alike(a, b);
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => self.int(x.max(y)),
            _ => self.push(Op::Max(a, b), ty),
        }
    }

    /// `low` and `high` take the type of `a`, or `a` theirs.
    pub(crate) fn clamp(&mut self, a: StepId, low: StepId, high: StepId) -> StepId {
        let raised = self.max(a, low);
        self.min(raised, high)
    }

    /// The greatest int that is not above a number.
    pub(crate) fn floor(&mut self, a: StepId) -> StepId {
        if self.ty(a) == Type::Int { a } else { self.push(Op::Floor(a), Type::Int) }
    }

    /// One of the functions of a float, of any number.
    pub(crate) fn real(&mut self, op: fn(StepId) -> Op, a: StepId) -> StepId {
        let a = self.float_of(a);
        self.push(op(a), Type::Float)
    }

    /// The steps that `root` needs, in their order, `root` last.
    pub(crate) fn finish(self, root: StepId) -> Vec<Step> {
        let mut needed = vec![false; root + 1];
        needed[root] = true;
        for id in (0..=root).rev() {
            if needed[id] {
                let _ = map_operands(&self.steps[id].op, |operand| {
                    needed[operand] = true;
                    operand
                });
            }
        }
        let mut moved = vec![0; root + 1];
        let mut kept = Vec::new();
        for (id, step) in self.steps.into_iter().enumerate().take(root + 1).filter(|(id, _)| needed[*id]) {
            moved[id] = kept.len();
            kept.push(Step { op: map_operands(&step.op, |operand| moved[operand]), ..step });
        }
        kept
    }
}
