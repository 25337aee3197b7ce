//! Evaluation at one element, in f64 and i64: the reference that everything else is held to.

mod code;
mod rounding;

use half::{bf16, f16};

pub(crate) use rounding::{StepErrors, UNIT};

use code::{Code, Instruction, encode, on_floats, on_ints, own_level};

use super::{EntryLengths, Op, OwnLengths, Program, Sizes, StepId, Type, Variable};
use crate::{
    Dtype, Error, HostTensor, TensorData,
    expr::ir::{
        arithmetic::{alibi_slope, compare, floor, to_i64},
        dependence::{data_dependent, needed_steps, operands},
    },
};

/// A program bound to its sizes and to the values of its tables, to be evaluated element by element.
///
/// Steps are computed as late as they have to be: [`Evaluator::scratch`] computes what depends on the lengths only,
/// [`Evaluator::row`] what depends on the batch entry, head and query, [`Evaluator::visible_at`] and
/// [`Evaluator::score_at`] the rest. Several threads may share an evaluator, each with a [`Scratch`] of its own.
///
/// Ints are i64 and wrap (the checks before planning and of inputs exclude that), floats are f64 and compare as IEEE 754 says.
/// A NaN stays one through every function of floats; its floor is 0.
#[derive(Debug)]
pub struct Evaluator<'a> {
    instructions: Vec<Instruction>,
    /// Where the instructions of each level end: constant, row, key, score.
    ends: [usize; 4],
    indices: Vec<u32>,
    tables: Vec<Option<Values<'a>>>,
    sizes: Sizes,
    lengths: EntryLengths,
    slots: usize,
    result: usize,
    ty: Type,
}

/// The values of a thread's current element.
#[derive(Clone, Debug)]
pub struct Scratch {
    ints: Vec<i64>,
    floats: Vec<f64>,
    at: [i64; 4],
    score: f64,
}

#[derive(Debug)]
struct Values<'a> {
    name: &'a str,
    shape: &'a [usize],
    strides: Vec<usize>,
    data: Data<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Data<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
    I32(&'a [i32]),
    U8(&'a [u8]),
    I8(&'a [i8]),
}

/// An index out of range, small so that the way without one stays fast.
struct Outside {
    table: u32,
    dimension: u32,
    index: i64,
}

impl<'a> Evaluator<'a> {
    /// Binds `program` to `sizes` and to the values of the tables it reads, given by name in any order.
    ///
    /// # Errors
    /// If a table that is read is missing, or its shape or element type is not the declared one.
    pub fn new(program: &'a Program, sizes: Sizes, tables: &[(&str, &'a HostTensor)]) -> Result<Self, Error> {
        Self::with_lengths(program, sizes, EntryLengths::default(), tables)
    }

    /// The same where batch entries have lengths of their own, which `nq` and `nk` then are. Only elements within them are
    /// asked for.
    ///
    /// # Errors
    /// As [`Evaluator::new`].
    pub fn with_lengths(
        program: &'a Program,
        sizes: Sizes,
        lengths: EntryLengths,
        tables: &[(&str, &'a HostTensor)],
    ) -> Result<Self, Error> {
        Self::of_value(program, sizes, lengths, tables, program.steps.len().saturating_sub(1))
    }

    /// The value of one step, as if it were the result.
    pub(super) fn of_value(
        program: &'a Program,
        sizes: Sizes,
        lengths: EntryLengths,
        tables: &[(&str, &'a HostTensor)],
        result: StepId,
    ) -> Result<Self, Error> {
        let mut this = Self::of_steps(program, sizes, lengths.own(), result);
        this.lengths = lengths;
        let mut used = vec![false; program.tables.len()];
        for instruction in &this.instructions {
            if let Code::Lookup { table, .. } = instruction.code
                && let Some(used) = used.get_mut(table as usize)
            {
                *used = true;
            }
        }
        for (table, used) in program.tables.iter().zip(used) {
            this.tables.push(if used { Some(bind(table, tables)?) } else { None });
        }
        Ok(this)
    }

    /// The value of one step, as if it were the result. Steps that read tables find none.
    pub(super) fn of_step(program: &Program, sizes: Sizes, result: StepId) -> Self {
        Self::of_steps(program, sizes, OwnLengths::default(), result)
    }

    fn of_steps(program: &Program, sizes: Sizes, own: OwnLengths, result: StepId) -> Self {
        let needed = needed_steps(program, result);
        let dependent = data_dependent(program, OwnLengths::default());
        let of_score = crate::expr::ir::dependence::score_dependent(program);
        let mut slots = vec![0u32; program.steps.len()];
        let mut levels = vec![0usize; program.steps.len()];
        let mut by_level: [Vec<Instruction>; 4] = Default::default();
        let mut indices = Vec::new();
        let mut count = 0;
        for (id, step) in program.steps.iter().enumerate().filter(|&(id, _)| needed[id]) {
            let level = operands(&step.op).map(|operand| levels[operand]).max().unwrap_or(0);
            levels[id] = level.max(own_level(&step.op, own));
            if let Op::Shape { lowered, .. } = step.op {
                slots[id] = slots[lowered];
                continue;
            }
            slots[id] = count;
            count += 1;
            let code = match step.op {
                Op::Floor(a) => Code::Floor(slots[a], dependent[a]),
                Op::Lookup { indices: ref list, .. } => {
                    let of_score = list.iter().any(|&index| of_score[index]);
                    encode(program, &step.op, step.ty, &slots, &mut indices).clamped(of_score)
                }
                _ => encode(program, &step.op, step.ty, &slots, &mut indices),
            };
            by_level[levels[id]].push(Instruction { slot: slots[id], code });
        }
        let mut ends = [0; 4];
        let mut instructions = Vec::new();
        for (end, level) in ends.iter_mut().zip(by_level) {
            instructions.extend(level);
            *end = instructions.len();
        }
        Self {
            instructions,
            ends,
            indices,
            tables: Vec::new(),
            sizes,
            lengths: EntryLengths::default(),
            slots: count as usize,
            result: slots.get(result).map_or(0, |&slot| slot as usize),
            ty: program.steps.get(result).map_or(Type::Bool, |step| step.ty),
        }
    }

    /// How many steps an element takes.
    pub(super) fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Room for a thread's values. Call [`Evaluator::row`] before asking for an element.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        // At least one slot, so that a program without steps has a value.
        let slots = self.slots.max(1);
        let mut scratch = Scratch { ints: vec![0; slots], floats: vec![0.0; slots], at: [0; 4], score: 0.0 };
        // Only look-ups fail, and they belong to rows at the earliest.
        let _ = self.execute(&mut scratch, 0, self.ends[0]);
        scratch
    }

    /// Moves to query `q` of head `h` of batch entry `b`, all counted from 0.
    ///
    /// # Errors
    /// If an index that does not depend on the key is out of range for its table.
    pub fn row(&self, scratch: &mut Scratch, b: usize, h: usize, q: usize) -> Result<(), Error> {
        scratch.at = [to_i64(b), to_i64(h), to_i64(q), 0];
        let moved = self.execute(scratch, self.ends[0], self.ends[1]);
        moved.map_err(|fault| self.outside(&fault, scratch, false))
    }

    /// Whether the row's query sees key `k`.
    ///
    /// # Errors
    /// If an index is out of range for its table, or the program is a score.
    pub fn visible_at(&self, scratch: &mut Scratch, k: usize) -> Result<bool, Error> {
        if self.ty != Type::Bool {
            return Err(Error::invalid("mask", "the expression is a number, a mask is true or false"));
        }
        scratch.at[3] = to_i64(k);
        let done = self.execute(scratch, self.ends[1], self.ends[3]);
        done.map_err(|fault| self.outside(&fault, scratch, true))?;
        Ok(scratch.ints[self.result] != 0)
    }

    /// The score of the row's query and key `k`, from the scaled score `s`, both in natural units.
    ///
    /// # Errors
    /// If an index is out of range for its table, or the program is a mask.
    pub fn score_at(&self, scratch: &mut Scratch, k: usize, s: f64) -> Result<f64, Error> {
        scratch.at[3] = to_i64(k);
        scratch.score = s;
        let done = self.execute(scratch, self.ends[1], self.ends[3]);
        done.map_err(|fault| self.outside(&fault, scratch, true))?;
        match self.ty {
            Type::Float => Ok(scratch.floats[self.result]),
            #[expect(clippy::cast_precision_loss, reason = "ints are within i32")]
            Type::Int => Ok(scratch.ints[self.result] as f64),
            Type::Bool => {
                Err(Error::invalid("score", "the expression is true or false, a score is a number"))
            }
        }
    }

    /// [`Evaluator::row`] and [`Evaluator::visible_at`] in one.
    ///
    /// # Errors
    /// As those.
    pub fn visible(
        &self,
        scratch: &mut Scratch,
        b: usize,
        h: usize,
        q: usize,
        k: usize,
    ) -> Result<bool, Error> {
        self.row(scratch, b, h, q)?;
        self.visible_at(scratch, k)
    }

    /// [`Evaluator::row`] and [`Evaluator::score_at`] in one; `at` is batch entry, head, query and key.
    ///
    /// # Errors
    /// As those.
    pub fn score(&self, scratch: &mut Scratch, at: [usize; 4], s: f64) -> Result<f64, Error> {
        self.row(scratch, at[0], at[1], at[2])?;
        self.score_at(scratch, at[3], s)
    }

    fn execute(&self, scratch: &mut Scratch, from: usize, to: usize) -> Result<(), Outside> {
        for &Instruction { slot, code } in &self.instructions[from..to] {
            let slot = slot as usize;
            let ints = &scratch.ints;
            let floats = &scratch.floats;
            let int = |i: u32| ints[i as usize];
            let float = |i: u32| floats[i as usize];
            let truth = |i: u32| ints[i as usize] != 0;
            let whole = |value: i64| (value, 0.0);
            let flag = |value: bool| (i64::from(value), 0.0);
            let real = |value: f64| (0, value);
            let (int_value, float_value) = match code {
                Code::Int(value) => whole(value),
                Code::Float(value) => real(value),
                Code::Variable(Variable::Score) => real(scratch.score),
                Code::Variable(variable) => whole(self.variable(variable, &scratch.at)),
                Code::Not(a) => flag(!truth(a)),
                Code::And(a, b) => flag(truth(a) & truth(b)),
                Code::Or(a, b) => flag(truth(a) | truth(b)),
                Code::CompareInt(by, a, b) => flag(compare(by, &int(a), &int(b))),
                Code::CompareFloat(by, a, b) => flag(compare(by, &float(a), &float(b))),
                Code::NegateInt(a) => whole(int(a).wrapping_neg()),
                Code::NegateFloat(a) => real(-float(a)),
                Code::AbsInt(a) => whole(int(a).wrapping_abs()),
                Code::AbsFloat(a) => real(float(a).abs()),
                Code::IntOf(op, a, b) => whole(on_ints(op, int(a), int(b))),
                Code::FloatOf(op, a, b) => real(on_floats(op, float(a), float(b))),
                Code::Floor(a, bounded) => whole(floor(float(a), bounded)),
                Code::Sqrt(a) => real(float(a).sqrt()),
                Code::Exp(a) => real(float(a).exp()),
                Code::Log(a) => real(float(a).ln()),
                Code::Tanh(a) => real(float(a).tanh()),
                #[expect(clippy::cast_precision_loss, reason = "ints are within i32")]
                Code::ToFloat(a) => real(int(a) as f64),
                Code::Slope(a) => real(alibi_slope(int(a), to_i64(self.sizes.q_heads))),
                Code::Lookup { table, first, count, clamped } => {
                    let indices = &self.indices[first as usize..(first + count) as usize];
                    self.look_up(table, indices, clamped, ints)?
                }
            };
            scratch.ints[slot] = int_value;
            scratch.floats[slot] = float_value;
        }
        Ok(())
    }

    fn variable(&self, variable: Variable, at: &[i64; 4]) -> i64 {
        match variable {
            Variable::Batch => at[0],
            Variable::Head => at[1],
            Variable::KvHead => at[1] / to_i64(self.sizes.q_heads / self.sizes.kv_heads.max(1)).max(1),
            Variable::Query => at[2],
            Variable::Key => at[3],
            Variable::QueryCount => length(self.lengths.queries.as_ref(), at[0], self.sizes.q_len),
            Variable::KeyCount => length(self.lengths.keys.as_ref(), at[0], self.sizes.kv_len),
            Variable::Score => 0,
        }
    }

    /// The value of the result at an element, an int.
    pub(super) fn int_at(&self, scratch: &mut Scratch, [b, h, q, k]: [usize; 4]) -> Result<i64, Error> {
        self.row(scratch, b, h, q)?;
        scratch.at[3] = to_i64(k);
        let done = self.execute(scratch, self.ends[1], self.ends[3]);
        done.map_err(|fault| self.outside(&fault, scratch, true))?;
        Ok(scratch.ints[self.result])
    }

    fn look_up(
        &self,
        table: u32,
        indices: &[u32],
        clamped: bool,
        ints: &[i64],
    ) -> Result<(i64, f64), Outside> {
        let Some(Some(values)) = self.tables.get(table as usize) else {
            return Ok((0, 0.0));
        };
        let mut offset = 0;
        for (dimension, ((&index, &size), &stride)) in
            (0u32..).zip(indices.iter().zip(values.shape).zip(&values.strides))
        {
            let mut index = ints[index as usize];
            if clamped {
                index = index.clamp(0, (to_i64(size) - 1).max(0));
            }
            if size != 1 {
                match usize::try_from(index) {
                    Ok(index) if index < size => offset += index * stride,
                    _ => return Err(Outside { table, dimension, index }),
                }
            }
        }
        // Ranks agree by the parser's checks; a program put together by hand reads zero instead of stopping.
        Ok(match values.data {
            Data::F32(x) => (0, x.get(offset).copied().map_or(0.0, f64::from)),
            Data::F16(x) => (0, x.get(offset).map_or(0.0, |x| x.to_f64())),
            Data::Bf16(x) => (0, x.get(offset).map_or(0.0, |x| x.to_f64())),
            Data::I32(x) => (x.get(offset).copied().map_or(0, i64::from), 0.0),
            Data::U8(x) => (x.get(offset).copied().map_or(0, i64::from), 0.0),
            Data::I8(x) => (x.get(offset).copied().map_or(0, i64::from), 0.0),
        })
    }

    fn outside(&self, fault: &Outside, scratch: &Scratch, with_key: bool) -> Error {
        let Outside { table, dimension, index } = *fault;
        let values = self.tables.get(table as usize).and_then(Option::as_ref);
        let size = values.and_then(|values| values.shape.get(dimension as usize)).copied().unwrap_or(0);
        let key = if with_key { format!(", k = {}", scratch.at[3]) } else { String::new() };
        Error::invalid(
            values.map_or("table", |values| values.name),
            format!("index {dimension} is {index} at q = {}{key}; its size is {size}", scratch.at[2]),
        )
    }
}

/// The length of a batch entry that may have one of its own.
fn length(lengths: Option<&Vec<usize>>, batch: i64, all: usize) -> i64 {
    let own = lengths.and_then(|lengths| lengths.get(usize::try_from(batch).ok()?));
    to_i64(own.copied().unwrap_or(all))
}

fn bind<'a>(table: &'a super::Table, tables: &[(&str, &'a HostTensor)]) -> Result<Values<'a>, Error> {
    let name = table.name.as_str();
    let Some(&(_, tensor)) = tables.iter().find(|(given, _)| *given == name) else {
        return Err(Error::invalid(name, "the expression reads this table, and no values for it came"));
    };
    if tensor.shape() != table.shape {
        let message = format!("expected the declared shape {:?}, got {:?}", table.shape, tensor.shape());
        return Err(Error::invalid(name, message));
    }
    let data = match (tensor.data(), table.element) {
        (TensorData::F32(x), Dtype::F32) => Data::F32(x),
        (TensorData::F16(x), Dtype::F16) => Data::F16(x),
        (TensorData::Bf16(x), Dtype::Bf16) => Data::Bf16(x),
        (TensorData::I32(x), Dtype::I32) => Data::I32(x),
        (TensorData::U8(x), Dtype::U8) => Data::U8(x),
        (TensorData::I8(x), Dtype::I8) => Data::I8(x),
        (data, element) => {
            let got = element_name(data);
            return Err(Error::invalid(name, format!("expected elements of type {element}, got {got}")));
        }
    };
    let mut strides = vec![1; table.shape.len()];
    for d in (1..table.shape.len()).rev() {
        strides[d - 1] = strides[d] * table.shape[d];
    }
    Ok(Values { name, shape: &table.shape, strides, data })
}

fn element_name(data: &TensorData) -> &'static str {
    match data {
        TensorData::F32(_) => "f32",
        TensorData::F16(_) => "f16",
        TensorData::Bf16(_) => "bf16",
        TensorData::F64(_) => "f64",
        TensorData::I32(_) => "i32",
        TensorData::I64(_) => "i64",
        TensorData::U8(_) => "u8",
        TensorData::I8(_) => "i8",
    }
}
