//! Checks that need the values of inputs: whether expressions hold for these tables and lengths.

use std::borrow::Cow;

use super::{Attention, device_block_mask, programs::Programs};
use crate::{
    Dtype, Error, HostTensor,
    expr::{
        EntryLengths, Evaluator, Program, Scratch,
        analysis::examine::{Index, assumption, far_from_zero, unproved, value_range},
    },
    parallel,
};

/// Elements that an index is evaluated at, at most: some seconds' worth.
const MAX_ELEMENTS: usize = 1 << 28;

/// Tables by name, of the types they are declared to have.
type Tables<'t> = Vec<(&'t str, Cow<'t, HostTensor>)>;

impl Attention {
    /// Checks lengths, lists and the values that expressions take from tables: all faults that the device would not
    /// report.
    ///
    /// Inputs that are not at hand are not looked at, nor is what depends on them.
    pub(super) fn check_values(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        let given = |name: &String| inputs.iter().any(|(given, _)| given == name);
        let lengths = self.placement_at_hand(inputs, given)?.lengths;
        self.check_scales(inputs, &lengths, given)?;
        self.check_shared(inputs)?;
        let at_hand =
            self.device_blocks().is_none_or(|listed| given(&listed.num_blocks) && given(&listed.indices));
        let listed = if at_hand { self.listed_values(inputs)? } else { None };
        if self.tables.is_empty() {
            return Ok(());
        }
        let Programs { mask, score, .. } = self.programs()?;
        let tables = self.tables_at_hand(inputs)?;
        let programs = [("mask", &mask), ("score", &score)];
        for (argument, program) in programs {
            let Some(program) = program else { continue };
            let indices = self.unproved_indices(argument, program, &tables)?;
            // Without all lengths and lists it is not known which elements there are.
            if indices.is_empty() || lengths.own() != self.own_lengths() || !at_hand {
                continue;
            }
            let elements = Elements { spec: self, lengths: &lengths, listed: &listed, tables: &tables };
            let mask = mask.as_ref().filter(|_| argument == "score");
            for index in indices {
                elements.check(program, mask, &index)?;
            }
        }
        Ok(())
    }

    /// The tables that are given, stored as they are declared.
    fn tables_at_hand<'t>(&'t self, inputs: &[(&str, &'t HostTensor)]) -> Result<Tables<'t>, Error> {
        let mut found = Tables::new();
        for table in self.tables.iter().map(|input| &input.table) {
            let Some(&(_, tensor)) = inputs.iter().find(|(name, _)| *name == table.name) else { continue };
            found.push((&table.name, stored(tensor, &table.name, table.element)?));
        }
        Ok(found)
    }

    /// The indices that the tables' ranges do not prove, once ints are known to fit.
    fn unproved_indices(
        &self,
        argument: &str,
        program: &Program,
        tables: &Tables<'_>,
    ) -> Result<Vec<Index>, Error> {
        let read = program.tables_read();
        let of = |name: &str| tables.iter().find(|(given, _)| *given == name).map(|(_, tensor)| &**tensor);
        let ranges = |all: bool| -> Vec<_> {
            let known = |(place, table): (usize, &crate::expr::Table)| {
                // Bytes are known well enough, and reals seldom become ints: they may be many.
                let wanted = read.contains(&place) && (all || table.element == Dtype::I32);
                of(&table.name).filter(|_| wanted).and_then(value_range)
            };
            program.tables.iter().enumerate().map(known).collect()
        };
        let (sizes, own) = (self.expr_sizes(), self.own_lengths());
        match unproved(program, sizes, own, &ranges(false)) {
            Ok(indices) if indices.is_empty() => return Ok(indices),
            _ => {}
        }
        unproved(program, sizes, own, &ranges(true)).map_err(|complaint| {
            let far = read.iter().find_map(|&place| {
                let name = program.tables.get(place)?.name.as_str();
                Some((name, far_from_zero(of(name)?)?))
            });
            let Some((name, (at, value))) = far else {
                return complaint.in_argument(argument, self.text_of(argument));
            };
            let message = format!(
                "element {at} is {value}, too large for what `{argument}` computes at column {}: {} ({})",
                complaint.column,
                complaint.message,
                assumption()
            );
            Error::invalid(name, message)
        })
    }

    fn text_of(&self, argument: &str) -> &str {
        let expr = if argument == "score" { self.score.as_ref() } else { self.mask.expression() };
        expr.map_or("", |expr| expr.source())
    }
}

/// A tensor of another type than its port's, stored as that; reals are rounded, integers are checked.
pub(super) fn stored<'t>(
    tensor: &'t HostTensor,
    name: &str,
    dtype: Dtype,
) -> Result<Cow<'t, HostTensor>, Error> {
    if tensor.dtype() == Some(dtype) {
        return Ok(Cow::Borrowed(tensor));
    }
    let bytes = tensor.checked_bytes(name, dtype)?;
    HostTensor::from_bytes(tensor.shape().to_vec(), &bytes, dtype).map(Cow::Owned)
}

/// The elements of a problem that are evaluated.
struct Elements<'a> {
    spec: &'a Attention,
    lengths: &'a EntryLengths,
    listed: &'a Option<device_block_mask::Values>,
    tables: &'a Tables<'a>,
}

impl Elements<'_> {
    /// Checks that an index lies within its table wherever it is evaluated: in masks where lengths and lists leave it
    /// to them, in scores where the mask shows the key.
    fn check(&self, program: &Program, mask: Option<&Program>, index: &Index) -> Result<(), Error> {
        let spec = self.spec;
        let (sizes, own) = (spec.expr_sizes(), spec.own_lengths());
        let tables: Vec<(&str, &HostTensor)> =
            self.tables.iter().map(|(name, tensor)| (*name, &**tensor)).collect();
        let at_hand = |program: &Program, place: usize| {
            program.tables.get(place).is_some_and(|table| tables.iter().any(|(name, _)| *name == table.name))
        };
        let of_mask = mask.map(Program::tables_read).unwrap_or_default();
        if !index.tables_read(program).into_iter().all(|place| at_hand(program, place))
            || mask.is_some_and(|mask| !of_mask.into_iter().all(|place| at_hand(mask, place)))
        {
            return Ok(());
        }
        let values = index.evaluator(program, sizes, self.lengths.clone(), &tables)?;
        let mask = mask
            .map(|mask| Evaluator::with_lengths(mask, sizes, self.lengths.clone(), &tables))
            .transpose()?;
        let axes = index.axes(program, own);
        let along = |varies: bool, count: usize| if varies { count } else { 1 };
        let (batch, heads) = (along(axes.batch, spec.batch), along(axes.head, spec.q_heads));
        let (queries, keys) = (along(axes.query, spec.q_len), along(axes.key, spec.kv_len));
        let rows = [batch, heads, queries].iter().try_fold(1usize, |n, &count| n.checked_mul(count));
        let name = &program.tables[index.table].name;
        if rows.and_then(|rows| rows.checked_mul(keys)).is_none_or(|count| count > MAX_ELEMENTS) {
            let message = format!(
                "index {} cannot be checked: tables decide it, at more than {MAX_ELEMENTS} elements; use clamp(..)",
                index.dimension
            );
            return Err(Error::invalid(name.as_str(), message));
        }
        let room = || (values.scratch(), mask.as_ref().map(Evaluator::scratch));
        let row = |(scratch, of_mask): &mut (Scratch, Option<Scratch>), row: usize| {
            let (b, h, q) = (row / queries / heads, row / queries % heads, row % queries);
            for k in 0..keys {
                // An index on the way may be out of range: it has had its own turn.
                let Ok(Some(value)) = values.outside(scratch, [b, h, q, k]) else { continue };
                let of = |varies: bool, at: usize, count: usize| if varies { at..at + 1 } else { 0..count };
                for b in of(axes.batch, b, spec.batch) {
                    for h in of(axes.head, h, spec.q_heads) {
                        for q in of(axes.query, q, spec.q_len) {
                            for k in of(axes.key, k, spec.kv_len) {
                                let at = [b, h, q, k];
                                if self.counts(at) && shown(mask.as_ref(), of_mask.as_mut(), at)? {
                                    let error = outside(program, index, at, value, &tables);
                                    return Err(self.with_way_out(error));
                                }
                            }
                        }
                    }
                }
            }
            Ok(())
        };
        parallel::try_map_with(rows.unwrap_or(0), room, row).map(|_| ())
    }

    /// Adds a hint for users of lengths.
    fn with_way_out(&self, error: Error) -> Error {
        if self.lengths.keys.is_none() || self.lengths.queries.is_some() {
            return error;
        }
        let hint = "`qp` counts back from the entry's last key: where queries are padded as keys are, name q_len too";
        Error::invalid(error.argument().to_owned(), format!("{} ({hint})", error.message()))
    }

    /// Whether lengths, structure and lists leave it to expressions whether the element is visible.
    fn counts(&self, [batch, head, query, key]: [usize; 4]) -> bool {
        let spec = self.spec;
        let of = |lengths: &Option<Vec<usize>>, all: usize| {
            lengths.as_ref().and_then(|lengths| lengths.get(batch)).copied().unwrap_or(all)
        };
        let (q_len, kv_len) = (of(&self.lengths.queries, spec.q_len), of(&self.lengths.keys, spec.kv_len));
        if query >= q_len || key >= spec.num_visible_keys_of(query, q_len, kv_len) {
            return false;
        }
        if let (Some(listed), Some(values)) = (spec.device_blocks(), self.listed)
            && !listed.shows(values, [batch, head, query, key])
        {
            return false;
        }
        spec.host_blocks().is_none_or(|blocks| {
            let mut asked = false;
            let visible = blocks.is_visible(batch, head, query, key, |_, _, _, _| {
                asked = true;
                true
            });
            asked || visible
        })
    }
}

fn shown(mask: Option<&Evaluator<'_>>, scratch: Option<&mut Scratch>, at: [usize; 4]) -> Result<bool, Error> {
    match (mask, scratch) {
        (Some(mask), Some(scratch)) => mask.visible(scratch, at[0], at[1], at[2], at[3]),
        _ => Ok(true),
    }
}

fn outside(
    program: &Program,
    index: &Index,
    [b, h, q, k]: [usize; 4],
    value: i64,
    tables: &[(&str, &HostTensor)],
) -> Error {
    let Index { table, dimension, size, .. } = *index;
    let name = &program.tables[table].name;
    let direct = index.element_of(program).and_then(|place| {
        let source = &program.tables.get(place)?.name;
        let tensor = tables.iter().find(|(name, _)| name == source)?.1;
        #[expect(clippy::cast_precision_loss, reason = "elements are i32 or less")]
        let at = tensor.to_f64().iter().position(|&element| element == value as f64)?;
        Some((source, at))
    });
    match direct {
        Some((source, at)) => Error::invalid(
            source.as_str(),
            format!(
                "element {at} is {value}, but it indexes dimension {dimension} of `{name}`, whose size is {size}"
            ),
        ),
        None => Error::invalid(
            name.as_str(),
            format!(
                "index {dimension} (column {}) is {value} at b = {b}, h = {h}, q = {q}, k = {k}; its size is {size}",
                index.column(program)
            ),
        ),
    }
}
