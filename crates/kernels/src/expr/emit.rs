//! An expression as WGSL.
//!
//! The text depends on the program only, never on a problem's lengths: those come from the shader's uniform, whose
//! fields `q_len`, `kv_len`, `group` and `q_heads` it reads. The shader declares `struct Element`, with the fields `batch`,
//! `head`, `query` and `key`, the functions of `shared/math.wgsl`, and, where batch entries have lengths of their own,
//! `fn q_length(batch: u32) -> u32` and `fn kv_length(batch: u32) -> u32`.
//!
//! A NaN stays one: where an operand may be NaN and the device's function may swallow it, the text looks at its bits.

mod constants;
mod helpers;
mod tables;

use std::fmt::Write as _;

use constants::{Constant, fold, literal};
use helpers::HELPERS;

use super::{Comparison, Op, OwnLengths, Program, StepId, Table, Type, Variable};
use crate::{
    Dtype,
    expr::ir::dependence::{data_dependent, needed_steps},
};

pub use tables::{TableUses, table_name, table_params, tables};

/// The function `name` that computes `program`:
///
/// - `fn NAME(at: Element) -> bool` for a mask;
/// - `fn NAME(at: Element, s: f32) -> f32` for a score, in natural units.
///
/// `own` says which lengths batch entries have of their own.
///
/// One `let` a step, nothing that branches. It calls what [`helpers`] and [`tables`] declare. Constants are folded.
#[must_use]
pub fn function(program: &Program, name: &str, own: OwnLengths) -> String {
    let result = program.steps.len().saturating_sub(1);
    let mut writer = Writer::new(program, own);
    let needed = needed_steps(program, result);
    for id in (0..program.steps.len()).filter(|&id| needed[id]) {
        writer.step(id);
    }
    let mask = program.steps.last().is_none_or(|step| step.ty == Type::Bool);
    let value = writer.names.pop().unwrap_or_else(|| "true".to_owned());
    let value = match program.steps.last().map(|step| step.ty) {
        Some(Type::Int) => format!("f32({value})"),
        _ => value,
    };
    let (parameters, result) = if mask { ("at: Element", "bool") } else { ("at: Element, s: f32", "f32") };
    format!("fn {name}({parameters}) -> {result} {{\n{}    return {value};\n}}\n", writer.text)
}

/// The functions that those of `programs` call, each once.
#[must_use]
pub fn helpers(programs: &[&Program], own: OwnLengths) -> String {
    let mut text = String::new();
    for program in programs {
        let mut writer = Writer::new(program, own);
        let needed = needed_steps(program, program.steps.len().saturating_sub(1));
        for id in (0..program.steps.len()).filter(|&id| needed[id]) {
            writer.step(id);
        }
        text.push_str(&writer.text);
    }
    let called = |name: &str| text.contains(&format!("{name}("));
    HELPERS.iter().filter(|(name, _)| called(name)).map(|(_, helper)| *helper).collect()
}

struct Writer<'a> {
    program: &'a Program,
    own: OwnLengths,
    text: String,
    /// How each step so far is referred to: a name or a literal.
    names: Vec<String>,
    constants: Vec<Option<Constant>>,
    /// Ints that are not negative for any sizes and tables, and those that are positive.
    signs: Vec<Sign>,
    /// Whether it depends on data: of lengths too, and of tables and the score only.
    dependent: Vec<bool>,
    of_data: Vec<bool>,
    /// Floats that are never NaN or infinite.
    numbers: Vec<bool>,
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Any,
    NotNegative,
    Positive,
}

impl<'a> Writer<'a> {
    fn new(program: &'a Program, own: OwnLengths) -> Self {
        // Unneeded steps are skipped, so that all lists are filled beforehand.
        let steps = program.steps.len();
        Self {
            program,
            own,
            text: String::new(),
            names: vec![String::new(); steps],
            constants: vec![None; steps],
            signs: vec![Sign::Any; steps],
            dependent: data_dependent(program, own),
            of_data: data_dependent(program, OwnLengths::default()),
            numbers: vec![false; steps],
            count: 0,
        }
    }

    fn step(&mut self, id: StepId) {
        let step = &self.program.steps[id];
        self.constants[id] = fold(&step.op, &self.constants);
        self.signs[id] = self.sign(&step.op, self.constants[id]);
        self.numbers[id] = self.constants[id].is_some() || self.is_number(&step.op);
        self.names[id] = if let Some(constant) = self.constants[id] {
            literal(constant)
        } else if let Op::Shape { lowered, .. } = step.op {
            self.names[lowered].clone()
        } else if let Op::Variable(variable) = step.op {
            self.variable(variable)
        } else {
            let value = self.value(&step.op, step.ty);
            let name = format!("x{}", self.count);
            self.count += 1;
            self.declare(&name, &value);
            name
        };
    }

    fn declare(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "    let {name} = {value};");
    }

    fn variable(&mut self, variable: Variable) -> String {
        let (name, value) = match variable {
            Variable::Batch => ("b", "i32(at.batch)"),
            Variable::Head => ("h", "i32(at.head)"),
            Variable::KvHead => ("g", "i32(at.head / params.group)"),
            Variable::Query => ("q", "i32(at.query)"),
            Variable::Key => ("k", "i32(at.key)"),
            Variable::QueryCount if self.own.queries => ("nq", "i32(q_length(at.batch))"),
            Variable::KeyCount if self.own.keys => ("nk", "i32(kv_length(at.batch))"),
            Variable::QueryCount => ("nq", "i32(params.q_len)"),
            Variable::KeyCount => ("nk", "i32(params.kv_len)"),
            Variable::Score => return "s".to_owned(),
        };
        self.declare(name, value);
        name.to_owned()
    }

    fn value(&mut self, op: &Op, ty: Type) -> String {
        let float = ty == Type::Float;
        match *op {
            Op::Divide(a, b) if !float => return self.int_quotient(a, b),
            Op::Remainder(a, b) if !float => return self.int_remainder(a, b),
            _ => {}
        }
        let name = |id: StepId| self.names[id].as_str();
        match *op {
            Op::Not(a) => format!("!{}", name(a)),
            Op::And(a, b) => format!("{} & {}", name(a), name(b)),
            Op::Or(a, b) => format!("{} | {}", name(a), name(b)),
            Op::Compare(by, a, b) => self.comparison(by, a, b),
            Op::Negate(a) => format!("-{}", name(a)),
            Op::Abs(a) => format!("abs({})", name(a)),
            Op::Add(a, b) => format!("{} + {}", name(a), name(b)),
            Op::Subtract(a, b) => format!("{} - {}", name(a), name(b)),
            Op::Multiply(a, b) if float && (self.is_zero(a) || self.is_zero(b)) => self.times_zero(a, b),
            Op::Multiply(a, b) => format!("{} * {}", name(a), name(b)),
            Op::Divide(a, b) => format!("{} / {}", name(a), name(b)),
            Op::Remainder(a, b) => {
                let (a, b) = (name(a), name(b));
                format!("{a} - {b} * floor({a} / {b})")
            }
            Op::Min(a, b) => self.chosen("min", a, b, float),
            Op::Max(a, b) => self.chosen("max", a, b, float),
            Op::Floor(a) if self.of_data[a] => format!("bounded_floor({})", name(a)),
            Op::Floor(a) => format!("i32(floor({}))", name(a)),
            Op::Sqrt(a) => format!("safe_sqrt({})", name(a)),
            Op::Exp(a) => format!("safe_exp({})", name(a)),
            Op::Log(a) => format!("safe_log({})", name(a)),
            Op::Tanh(a) => format!("safe_tanh({})", name(a)),
            Op::ToFloat(a) => format!("f32({})", name(a)),
            Op::Slope(a) => format!("alibi_slope({})", name(a)),
            Op::Lookup { table, ref indices } => {
                let clamped = indices.iter().any(|&index| self.dependent[index]);
                let list: Vec<_> = indices.iter().map(|&index| name(index)).collect();
                format!("{}({})", tables::accessor(table, clamped), list.join(", "))
            }
            // Constants and names, which are not declared.
            Op::Bool(_) | Op::Int(_) | Op::Float(_) | Op::Variable(_) | Op::Shape { .. } => String::new(),
        }
    }

    fn comparison(&self, by: Comparison, a: StepId, b: StepId) -> String {
        let (a_name, b_name) = (&self.names[a], &self.names[b]);
        if self.program.steps[a].ty == Type::Bool {
            // WGSL does not order truth values: false is less than true.
            return match by {
                Comparison::Equal => format!("({a_name} == {b_name})"),
                Comparison::NotEqual => format!("({a_name} != {b_name})"),
                Comparison::Less => format!("(!{a_name}) & {b_name}"),
                Comparison::LessEqual => format!("(!{a_name}) | {b_name}"),
                Comparison::Greater => format!("{a_name} & (!{b_name})"),
                Comparison::GreaterEqual => format!("{a_name} | (!{b_name})"),
            };
        }
        if by == Comparison::NotEqual && self.program.steps[a].ty == Type::Float {
            // NaN differs from everything; the device's own comparison may deny it.
            return format!("!({a_name} == {b_name})");
        }
        let by = match by {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterEqual => ">=",
        };
        format!("({a_name} {by} {b_name})")
    }

    /// The lesser or the greater; of floats NaN if one of them is.
    fn chosen(&self, function: &str, a: StepId, b: StepId, float: bool) -> String {
        let value = format!("{function}({}, {})", self.names[a], self.names[b]);
        let odd: Vec<String> = [a, b]
            .into_iter()
            .filter(|&operand| float && !self.numbers[operand])
            .map(|operand| format!("is_nan({})", self.names[operand]))
            .collect();
        if odd.is_empty() { value } else { format!("nan_if({value}, {})", odd.join(" | ")) }
    }

    fn is_zero(&self, id: StepId) -> bool {
        self.constants[id] == Some(Constant::Float(0.0))
    }

    /// Compilers take 0 * x for 0, even if x is NaN or infinite.
    fn times_zero(&self, a: StepId, b: StepId) -> String {
        let other = if self.is_zero(a) { b } else { a };
        let (product, other_name) = (format!("{} * {}", self.names[a], self.names[b]), &self.names[other]);
        if self.numbers[other] { product } else { format!("nan_if({product}, !is_finite({other_name}))") }
    }

    fn is_number(&self, op: &Op) -> bool {
        match op {
            Op::ToFloat(_) | Op::Slope(_) => true,
            // Not `exp`, which overflows.
            Op::Negate(a) | Op::Abs(a) | Op::Tanh(a) => self.numbers[*a],
            Op::Min(a, b) | Op::Max(a, b) => self.numbers[*a] && self.numbers[*b],
            _ => false,
        }
    }

    fn int_quotient(&mut self, a: StepId, b: StepId) -> String {
        let Some(quotient) = self.quotient(a, b) else {
            return format!("floor_divide({}, {})", self.names[a], self.names[b]);
        };
        quotient
    }

    fn int_remainder(&mut self, a: StepId, b: StepId) -> String {
        let (dividend, divisor) = (self.names[a].clone(), self.names[b].clone());
        if self.signs[a] >= Sign::NotNegative && self.signs[b] == Sign::Positive {
            return format!("i32(u32({dividend}) % {})", self.unsigned(b));
        }
        if let Some(Constant::Int(n)) = self.constants[b]
            && n > 0
            && u64::try_from(n).is_ok_and(u64::is_power_of_two)
        {
            return format!("{dividend} & {}", n - 1);
        }
        let Some(quotient) = self.quotient(a, b) else {
            return format!("floor_remainder({dividend}, {divisor})");
        };
        let name = format!("x{}", self.count);
        self.count += 1;
        self.declare(&name, &quotient);
        format!("{dividend} - {name} * {divisor}")
    }

    /// The quotient by a positive divisor.
    fn quotient(&mut self, a: StepId, b: StepId) -> Option<String> {
        if self.signs[b] != Sign::Positive {
            return None;
        }
        let dividend = self.names[a].clone();
        let by = self.unsigned(b);
        if self.signs[a] >= Sign::NotNegative {
            return Some(format!("i32(u32({dividend}) / {by})"));
        }
        if let Some(Constant::Int(n)) = self.constants[b]
            && n.count_ones() == 1
        {
            return Some(if n == 1 { dividend } else { format!("{dividend} >> {}u", n.trailing_zeros()) });
        }
        // All bits of a negative dividend are flipped, -1 - a, and back: that rounds down, and divides unsigned.
        let flip = format!("x{}", self.count);
        self.count += 1;
        self.declare(&flip, &format!("{dividend} >> 31u"));
        Some(format!("i32(u32({dividend} ^ {flip}) / {by}) ^ {flip}"))
    }

    /// A positive step as u32.
    fn unsigned(&self, id: StepId) -> String {
        match self.constants[id] {
            Some(Constant::Int(n)) => format!("{n}u"),
            _ => format!("u32({})", self.names[id]),
        }
    }

    fn sign(&self, op: &Op, constant: Option<Constant>) -> Sign {
        let sign = |id: StepId| self.signs[id];
        match (op, constant) {
            (_, Some(Constant::Int(n))) if n > 0 => Sign::Positive,
            (_, Some(Constant::Int(0))) => Sign::NotNegative,
            (_, Some(_)) => Sign::Any,
            (Op::Variable(count @ (Variable::QueryCount | Variable::KeyCount)), _)
                if !self.own.include(*count) =>
            {
                Sign::Positive
            }
            (Op::Variable(variable), _) if *variable != Variable::Score => Sign::NotNegative,
            (Op::Abs(_), _) => Sign::NotNegative,
            (Op::Add(a, b), _) if sign(*a).min(sign(*b)) >= Sign::NotNegative => sign(*a).max(sign(*b)),
            (Op::Multiply(a, b) | Op::Min(a, b), _) => sign(*a).min(sign(*b)),
            (Op::Max(a, b), _) => sign(*a).max(sign(*b)),
            (Op::Divide(a, b), _) if sign(*a).min(sign(*b)) >= Sign::NotNegative => Sign::NotNegative,
            (Op::Remainder(_, b), _) if sign(*b) >= Sign::NotNegative => Sign::NotNegative,
            (Op::Lookup { table, .. }, _) => match self.program.tables.get(*table) {
                Some(Table { element: Dtype::U8, .. }) => Sign::NotNegative,
                _ => Sign::Any,
            },
            _ => Sign::Any,
        }
    }
}
