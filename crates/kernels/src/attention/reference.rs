//! The definition, in f64.

use std::{borrow::Cow, f64::consts::LOG2_E};

use super::{
    Attention, QkNorm, Strides, device_block_mask,
    inputs::stored,
    layout::Tensor,
    programs::Programs,
    rounding::{RowErrors, key_norms},
};
use crate::{
    Access, Error, HostTensor,
    check::{Expected, Rows},
    expr::{EntryLengths, Evaluator, Scratch},
    parallel,
    spec::tensor_named,
};

struct Values {
    elements: Vec<f64>,
    strides: Strides,
    dim: usize,
}

impl Values {
    fn of(spec: &Attention, inputs: &[(&str, &HostTensor)], tensor: Tensor) -> Result<Self, Error> {
        let name = tensor.name();
        let given = tensor_named(inputs, name)?;
        let [heads, len, dim] = spec.sizes(tensor);
        // Dense inputs are checked by shape; strided ones are flat storage.
        let strides = spec.strides(tensor);
        let span = spec.span(tensor).ok_or_else(|| Error::invalid(name, "too large"))?;
        if given.len() < span {
            let expected = format!("expected {} x {heads} x {len} x {dim}, {span} elements", spec.batch);
            return Err(Error::invalid(name, format!("{expected}, got {:?}", given.shape())));
        }
        Ok(Self { elements: given.to_f64(), strides, dim })
    }

    fn row(&self, batch: usize, head: usize, position: usize) -> &[f64] {
        let at = batch * self.strides.batch + head * self.strides.head + position * self.strides.position;
        &self.elements[at..at + self.dim]
    }
}

/// One value a head.
fn of_heads(spec: &Attention, inputs: &[(&str, &HostTensor)], name: &str) -> Result<Vec<f64>, Error> {
    let values = tensor_named(inputs, name)?;
    if values.shape() != [spec.q_heads] {
        let message =
            format!("expected one value for each of {} heads, got {:?}", spec.q_heads, values.shape());
        return Err(Error::invalid(name, message));
    }
    Ok(values.to_f64())
}

/// The tables' values, of the types they are declared to have.
fn table_values<'t>(
    spec: &'t Attention,
    inputs: &[(&str, &'t HostTensor)],
) -> Result<Vec<(&'t str, Cow<'t, HostTensor>)>, Error> {
    let value = |input: &'t super::TableInput| {
        let name = input.table.name.as_str();
        Ok((name, stored(tensor_named(inputs, name)?, name, input.table.element)?))
    };
    spec.tables.iter().map(value).collect()
}

/// A score as f32 holds it: infinite beyond its range. The device scales it by `base` first.
#[expect(clippy::cast_possible_truncation, reason = "that is the question")]
fn as_device_has_it(score: f64, base: f64) -> f64 {
    let held = (score * base) as f32;
    if held.is_infinite() { f64::from(held) } else { score }
}

struct Definition<'a> {
    spec: &'a Attention,
    q: Values,
    k: Values,
    v: Values,
    /// Of the rows of k.
    key_norms: Vec<f64>,
    /// One a head.
    scale: Vec<f64>,
    sinks: Option<Vec<f64>>,
    /// Of each batch entry.
    q_lengths: Option<Vec<usize>>,
    kv_lengths: Option<Vec<usize>>,
    listed: Option<device_block_mask::Values>,
    mask: Option<Evaluator<'a>>,
    score: Option<Evaluator<'a>>,
}

/// The result of a query of a head.
struct RowResult {
    lse: f64,
    o: Vec<f64>,
    /// Of lse and of each element of o, where the row is ill-conditioned.
    allowance: Option<(f64, Vec<f64>)>,
}

/// A thread's room for evaluating.
struct Room {
    mask: Option<Scratch>,
    score: Option<Scratch>,
    errors: RowErrors,
}

impl Definition<'_> {
    fn room(&self) -> Room {
        Room {
            mask: self.mask.as_ref().map(Evaluator::scratch),
            score: self.score.as_ref().map(Evaluator::scratch),
            errors: RowErrors::default(),
        }
    }

    fn visible(&self, room: &mut Room, [batch, head, query, key]: [usize; 4]) -> Result<bool, Error> {
        let mut failure = None;
        let mut element = || match (&self.mask, &mut room.mask) {
            (Some(mask), Some(scratch)) => mask.visible_at(scratch, key).unwrap_or_else(|error| {
                failure = Some(error);
                false
            }),
            _ => true,
        };
        if let (Some(listed), Some(values)) = (self.spec.device_blocks(), &self.listed)
            && !listed.shows(values, [batch, head, query, key])
        {
            return Ok(false);
        }
        let visible = match self.spec.host_blocks() {
            Some(blocks) => blocks.is_visible(batch, head, query, key, |_, _, _, _| element()),
            None => element(),
        };
        failure.map_or(Ok(visible), Err)
    }

    /// How many keys, from the first, a query may see.
    fn num_visible_keys(&self, batch: usize, query: usize) -> usize {
        let of =
            |lengths: &Option<Vec<usize>>, all: usize| lengths.as_ref().map_or(all, |lengths| lengths[batch]);
        let spec = self.spec;
        let (q_len, kv_len) = (of(&self.q_lengths, spec.q_len), of(&self.kv_lengths, spec.kv_len));
        if query < q_len { spec.num_visible_keys_of(query, q_len, kv_len) } else { 0 }
    }

    /// `(lse, o)` of one row.
    fn row(
        &self,
        room: &mut Room,
        batch: usize,
        head: usize,
        query: usize,
    ) -> Result<(f64, Vec<f64>), Error> {
        let spec = self.spec;
        let kv_head = head / spec.group();
        let normalise = |row: &[f64]| match spec.qk_norm {
            Some(QkNorm::L2) => 1.0 / row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12),
            None => 1.0,
        };
        let query_row = self.q.row(batch, head, query);
        let scale = self.scale[head] * normalise(query_row);
        let num_visible_keys = self.num_visible_keys(batch, query);
        for (evaluator, scratch) in [(&self.mask, &mut room.mask), (&self.score, &mut room.score)] {
            if num_visible_keys > 0
                && let (Some(evaluator), Some(scratch)) = (evaluator, scratch)
            {
                evaluator.row(scratch, batch, head, query)?;
            }
        }
        // An evaluator that has not moved to a row knows no errors of its steps.
        let score = self.score.as_ref().zip(room.score.as_ref()).filter(|_| num_visible_keys > 0);
        room.errors.begin(spec, query_row, scale, score);
        let norms = &self.key_norms[(batch * spec.kv_heads + kv_head) * spec.kv_len..];
        let mut scores: Vec<(usize, f64)> = Vec::new();
        for (key, &key_norm) in norms.iter().enumerate().take(num_visible_keys) {
            if !self.visible(room, [batch, head, query, key])? {
                continue;
            }
            let key_row = self.k.row(batch, kv_head, key);
            let dot: f64 = query_row.iter().zip(key_row).map(|(a, b)| a * b).sum();
            let scaled = scale * normalise(key_row) * dot;
            let mut score = scaled;
            if let (Some(evaluator), Some(scratch)) = (&self.score, &mut room.score) {
                score = evaluator.score_at(scratch, key, score)?;
            }
            score = as_device_has_it(score, if spec.natural_scores() { 1.0 } else { LOG2_E });
            if score != f64::NEG_INFINITY {
                scores.push((key, score));
                room.errors.add(key_norm, scaled, score, self.score.as_ref().zip(room.score.as_ref()));
            }
        }
        let sink = self.sinks.as_ref().map(|sinks| sinks[head]);
        // `max` ignores NaN; a row with one has no meaning, and says so.
        if scores.iter().any(|(_, score)| score.is_nan())
            || sink.is_some_and(|sink| sink.is_nan() || sink == f64::INFINITY)
        {
            return Ok((f64::NAN, vec![f64::NAN; self.v.dim]));
        }
        let all = scores.iter().map(|&(_, score)| score).chain(sink);
        let maximum = all.clone().fold(f64::NEG_INFINITY, f64::max);
        if maximum == f64::NEG_INFINITY {
            return Ok((f64::NEG_INFINITY, vec![0.0; self.v.dim]));
        }
        let total: f64 = all.map(|score| (score - maximum).exp()).sum();
        let mut output = vec![0.0; self.v.dim];
        for &(key, score) in &scores {
            let weight = (score - maximum).exp() / total;
            for (sum, &value) in output.iter_mut().zip(self.v.row(batch, kv_head, key)) {
                // A value that is not finite makes NaN of its column, however small its weight.
                *sum += if value.is_finite() { weight * value } else { f64::NAN };
            }
        }
        let lse = maximum + total.ln();
        room.errors.end(&scores, sink, (lse, &output), |key| self.v.row(batch, kv_head, key));
        Ok((lse, output))
    }

    /// How many rows see each key: `[B, G, Tk]`.
    fn seen(&self) -> Result<Vec<usize>, Error> {
        let spec = self.spec;
        let mut room = self.room();
        let mut seen = vec![0; spec.batch * spec.kv_heads * spec.kv_len];
        for (batch, head, query) in (0..spec.batch * spec.q_heads * spec.q_len).map(|row| spec.place(row)) {
            let num_visible_keys = self.num_visible_keys(batch, query);
            if num_visible_keys == 0 {
                continue;
            }
            if let (Some(mask), Some(scratch)) = (&self.mask, &mut room.mask) {
                mask.row(scratch, batch, head, query)?;
            }
            let first = (batch * spec.kv_heads + head / spec.group()) * spec.kv_len;
            for key in 0..num_visible_keys {
                seen[first + key] += usize::from(self.visible(&mut room, [batch, head, query, key])?);
            }
        }
        Ok(seen)
    }
}

impl Attention {
    /// Batch entry, head and query of a row.
    fn place(&self, row: usize) -> (usize, usize, usize) {
        (row / self.q_len / self.q_heads, row / self.q_len % self.q_heads, row % self.q_len)
    }
}

/// How many rows see each key by mask, lists and lengths: `[B, G, Tk]`.
pub(super) fn seen(spec: &Attention, inputs: &[(&str, &HostTensor)]) -> Result<Vec<usize>, Error> {
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method is not general enough")]
    define(spec, inputs, &spec.programs()?, |definition| definition.seen())
}

/// Does something with the definition.
fn define<T>(
    spec: &Attention,
    inputs: &[(&str, &HostTensor)],
    visibility: &Programs,
    and: impl FnOnce(&Definition<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let tables = table_values(spec, inputs)?;
    let tables: Vec<(&str, &HostTensor)> = tables.iter().map(|(name, tensor)| (*name, &**tensor)).collect();
    let lengths = EntryLengths {
        queries: spec.lengths(inputs, spec.q_lengths.as_ref(), spec.q_len)?,
        keys: spec.lengths(inputs, spec.kv_lengths.as_ref(), spec.kv_len)?,
    };
    let evaluator = |program| Evaluator::with_lengths(program, spec.expr_sizes(), lengths.clone(), &tables);
    let scale = match &spec.head_scale() {
        Some(name) => of_heads(spec, inputs, name)?,
        None => vec![spec.resolved_scale(); spec.q_heads],
    };
    let k = Values::of(spec, inputs, Tensor::K)?;
    and(&Definition {
        spec,
        q: Values::of(spec, inputs, Tensor::Q)?,
        key_norms: key_norms(spec, |batch, head, key| k.row(batch, head, key)),
        k,
        v: Values::of(spec, inputs, Tensor::V)?,
        scale,
        sinks: spec.sink_logits.as_ref().map(|name| of_heads(spec, inputs, name)).transpose()?,
        q_lengths: lengths.queries.clone(),
        kv_lengths: lengths.keys.clone(),
        listed: spec.listed_values(inputs)?,
        mask: visibility.mask.as_ref().map(evaluator).transpose()?,
        score: visibility.score.as_ref().map(evaluator).transpose()?,
    })
}

pub(super) fn reference(
    spec: &Attention,
    inputs: &[(&str, &HostTensor)],
    rows: Rows,
) -> Result<Vec<Expected>, Error> {
    define(spec, inputs, &spec.programs()?, |definition| expected(definition, rows))
}

fn expected(definition: &Definition<'_>, rows: Rows) -> Result<Vec<Expected>, Error> {
    let spec = definition.spec;
    let count = spec.batch * spec.q_heads * spec.q_len;
    let chosen = rows.chosen(count);
    let place = |row: usize| spec.place(row);
    let computed: Vec<RowResult> = parallel::try_map_with(
        chosen.as_ref().map_or(count, Vec::len),
        || definition.room(),
        |room, index| {
            let (batch, head, query) = place(chosen.as_ref().map_or(index, |chosen| chosen[index]));
            let (lse, o) = definition.row(room, batch, head, query)?;
            Ok::<_, Error>(RowResult { lse, o, allowance: room.errors.take() })
        },
    )?;

    let dense = Attention { o_strides: None, ..spec.clone() }.strides(Tensor::O);
    let mut outputs = Vec::new();
    for tensor_spec in
        spec.all_tensors().into_iter().filter(|tensor_spec| tensor_spec.access == Access::Write)
    {
        let is_o = tensor_spec.name == "o";
        let width = if is_o { spec.value_dim } else { 1 };
        // Positions within the dense output: o may be stored with positions outside heads.
        let at = |row: usize| {
            let (batch, head, query) = place(row);
            if is_o { batch * dense.batch + head * dense.head + query * dense.position } else { row }
        };
        let value = |row: &RowResult, column: usize| if is_o { row.o[column] } else { row.lse };
        let allowance = |row: &RowResult, column: usize| {
            row.allowance.as_ref().map_or(0.0, |(lse, o)| if is_o { o[column] } else { *lse })
        };
        let elements: Option<Vec<usize>> = chosen
            .as_ref()
            .map(|chosen| chosen.iter().flat_map(|&row| (0..width).map(move |c| at(row) + c)).collect());
        let count = tensor_spec.shape.iter().product();
        // In the order of storage where all rows are there, else row by row.
        let placed = |of: &dyn Fn(&RowResult, usize) -> f64| {
            let mut values = vec![0.0; if elements.is_some() { computed.len() * width } else { count }];
            for (index, row) in computed.iter().enumerate() {
                let at = if elements.is_some() { index * width } else { at(index) };
                for column in 0..width {
                    values[at + column] = of(row, column);
                }
            }
            values
        };
        outputs.push(Expected {
            name: tensor_spec.name,
            values: placed(&value),
            allowance: computed.iter().any(|row| row.allowance.is_some()).then(|| placed(&allowance)),
            shape: tensor_spec.shape,
            elements,
            head_axis: tensor_spec.head_axis,
        });
    }
    Ok(outputs)
}
