//! Checks of expressions once their tables are at hand: that the device's ints hold all that is computed from the
//! tables' values, and that computed indices lie within their tables.

use super::{
    bounds::{ASSUMED, Complaint, Steps, check_lengths},
    interval::{Ints, ValueRange},
};
use crate::{
    Error, HostTensor, TensorData,
    expr::{
        EntryLengths, Op, OwnLengths, Program, Sizes, StepId, Variable,
        eval::{Evaluator, Scratch},
        ir::{
            arithmetic::to_i64,
            dependence::{needed_steps, score_dependent},
        },
    },
};

/// The range of a table's elements; nothing where there are none, or one is no finite number.
pub(crate) fn value_range(tensor: &HostTensor) -> Option<ValueRange> {
    fn of<T: Copy>(values: &[T], to_f64: impl Fn(T) -> f64) -> Option<ValueRange> {
        let mut range = ValueRange { min: f64::INFINITY, max: f64::NEG_INFINITY };
        for &value in values {
            let value = to_f64(value);
            if !value.is_finite() {
                return None;
            }
            range = ValueRange { min: range.min.min(value), max: range.max.max(value) };
        }
        (!values.is_empty()).then_some(range)
    }
    match tensor.data() {
        TensorData::I32(x) => of(x, f64::from),
        TensorData::U8(x) => of(x, f64::from),
        TensorData::I8(x) => of(x, f64::from),
        TensorData::F32(x) => of(x, f64::from),
        _ => of(&tensor.to_f64(), |x| x),
    }
}

/// An index of a table that only values decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// The table's place, and which of its indices this is.
    pub(crate) table: usize,
    pub(crate) dimension: usize,
    /// How many elements the table has there.
    pub(crate) size: usize,
    step: StepId,
}

/// The axes that an index depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axes {
    pub(crate) batch: bool,
    pub(crate) head: bool,
    pub(crate) query: bool,
    pub(crate) key: bool,
}

/// The indices that cannot be told to be in range from the ranges of what tables hold, in the order of the steps. Those that
/// the score decides are none of them: they are moved into their table.
///
/// # Errors
/// As [`check_lengths`].
pub(crate) fn unproved(
    program: &Program,
    sizes: Sizes,
    own: OwnLengths,
    ranges: &[Option<ValueRange>],
) -> Result<Vec<Index>, Complaint> {
    check_lengths(program, sizes, own, ranges)?;
    let Some(steps) = Steps::of(program, sizes, own, ranges) else { return Ok(Vec::new()) };
    let (needed, of_score) =
        (needed_steps(program, program.steps.len().saturating_sub(1)), score_dependent(program));
    let mut found = Vec::new();
    for (step, _) in program.steps.iter().zip(needed).filter(|(_, needed)| *needed) {
        let Op::Lookup { table, indices } = &step.op else { continue };
        let Some(declared) = program.tables.get(*table) else { continue };
        for (dimension, (&index, &size)) in indices.iter().zip(&declared.shape).enumerate() {
            let Ints { lo, hi } = steps.int(index);
            let inside = lo >= 0 && hi < to_i64(size);
            if size != 1 && steps.dependent[index] && !of_score[index] && !inside {
                found.push(Index { table: *table, dimension, size, step: index });
            }
        }
    }
    Ok(found)
}

/// The first element of a table of ints that is further from zero than plans take for granted.
pub(crate) fn far_from_zero(tensor: &HostTensor) -> Option<(usize, i64)> {
    let TensorData::I32(values) = tensor.data() else { return None };
    let far = values.iter().position(|&value| i64::from(value).abs() > ASSUMED)?;
    Some((far, i64::from(values[far])))
}

/// The assumption of plans about tables of ints whose values are not at hand, in words.
pub(crate) fn assumption() -> String {
    format!("where values are not at hand, -{ASSUMED} to {ASSUMED} are taken for granted")
}

impl Index {
    /// The axes it depends on; lengths of batch entries depend on the entry.
    pub(crate) fn axes(&self, program: &Program, own: OwnLengths) -> Axes {
        let mut axes = Axes { batch: false, head: false, query: false, key: false };
        let needed = needed_steps(program, self.step);
        for (step, _) in program.steps.iter().zip(needed).filter(|(_, needed)| *needed) {
            match step.op {
                Op::Variable(Variable::Batch) => axes.batch = true,
                Op::Variable(Variable::Head | Variable::KvHead) => axes.head = true,
                Op::Variable(Variable::Query) => axes.query = true,
                Op::Variable(Variable::Key) => axes.key = true,
                Op::Variable(variable) if own.include(variable) => axes.batch = true,
                _ => {}
            }
        }
        axes
    }

    /// The tables whose values decide it.
    pub(crate) fn tables_read(&self, program: &Program) -> Vec<usize> {
        let needed = needed_steps(program, self.step);
        let steps = program.steps.iter().zip(needed).filter(|(_, needed)| *needed);
        steps
            .filter_map(|(step, _)| if let Op::Lookup { table, .. } = step.op { Some(table) } else { None })
            .collect()
    }

    /// The table whose element it is, if it is one as it stands.
    pub(crate) fn element_of(&self, program: &Program) -> Option<usize> {
        if let Op::Lookup { table, .. } = program.steps.get(self.step)?.op { Some(table) } else { None }
    }

    /// Where it stands in the text.
    pub(crate) fn column(&self, program: &Program) -> usize {
        program.steps.get(self.step).map_or(0, |step| step.column)
    }

    /// Ready to be evaluated.
    pub(crate) fn evaluator<'a>(
        &self,
        program: &'a Program,
        sizes: Sizes,
        lengths: EntryLengths,
        tables: &[(&str, &'a HostTensor)],
    ) -> Result<IndexValues<'a>, Error> {
        let evaluator = Evaluator::of_value(program, sizes, lengths, tables, self.step)?;
        Ok(IndexValues { evaluator, size: to_i64(self.size) })
    }
}

/// The values of an index.
#[derive(Debug)]
pub(crate) struct IndexValues<'a> {
    evaluator: Evaluator<'a>,
    size: i64,
}

impl IndexValues<'_> {
    pub(crate) fn scratch(&self) -> Scratch {
        self.evaluator.scratch()
    }

    /// The value at batch entry, head, query and key, if it is out of range; an error if another index is on the way to it.
    pub(crate) fn outside(&self, scratch: &mut Scratch, at: [usize; 4]) -> Result<Option<i64>, Error> {
        let value = self.evaluator.int_at(scratch, at)?;
        Ok((value < 0 || value >= self.size).then_some(value))
    }
}
