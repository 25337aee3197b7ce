//! The definition, in f64.

use std::f64::consts::LOG2_E;

use super::{
    Attention, QkNorm, Quantised, device_block_mask,
    layout::Tensor,
    placement::Placement,
    programs::Programs,
    quantisation::{QuantisationErrors, Stepped},
    reference_inputs::{Scales, Values, of_heads, table_values},
    rounding::{RowErrors, norm},
};
use crate::{
    Access, Error, HostTensor,
    check::{Expected, Rows},
    expr::{Evaluator, Scratch},
    parallel,
};

/// A score as f32 holds it: beyond its range, infinity. The device scales it by `base` first.
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
    /// Norms of the integers or numbers in the stored rows of k.
    key_norms: Vec<f64>,
    q_scales: Option<Scales>,
    k_scales: Option<Scales>,
    v_scales: Option<Scales>,
    /// One a head.
    scale: Vec<f64>,
    sinks: Option<Vec<f64>>,
    placement: Placement,
    listed: Option<device_block_mask::Values>,
    mask: Option<Evaluator<'a>>,
    score: Option<Evaluator<'a>>,
}

/// A row of the output: where it is stored, and its place in a batch entry, if it is of one.
#[derive(Clone, Copy)]
struct Place {
    stored: [usize; 3],
    entry: Option<usize>,
    query: usize,
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
    /// Where bounds are asked for.
    quantisation: Option<QuantisationErrors>,
}

impl Definition<'_> {
    fn room(&self) -> Room {
        Room {
            mask: self.mask.as_ref().map(Evaluator::scratch),
            score: self.score.as_ref().map(Evaluator::scratch),
            errors: RowErrors::default(),
            quantisation: None,
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
        let (spec, lengths) = (self.spec, &self.placement.lengths);
        let (q_len, kv_len) = (of(&lengths.queries, spec.q_len), of(&lengths.keys, spec.kv_len));
        if query < q_len { spec.num_visible_keys_of(query, q_len, kv_len) } else { 0 }
    }

    /// A row with half the step of its integers, of which real numbers have none.
    fn stepped<'r>(&self, tensor: Tensor, row: &'r [f64], factor: f64) -> Stepped<'r> {
        let half = if self.spec.dtype_of(tensor).is_float() { 0.0 } else { factor.abs() / 2.0 };
        Stepped { row, factor, half }
    }

    /// `(lse, o)` of one row.
    fn row(&self, room: &mut Room, place: Place) -> Result<(f64, Vec<f64>), Error> {
        let spec = self.spec;
        let [stored_batch, head, position] = place.stored;
        let (batch, query) = (place.entry.unwrap_or(0), place.query);
        let kv_head = head / spec.group();
        let query_row = self.q.row(stored_batch, head, position);
        // Rows beyond the last packed sequence see nothing.
        let factor =
            place.entry.map_or(1.0, |entry| Scales::factor(self.q_scales.as_ref(), [entry, head, query]));
        let normalise = match spec.qk_norm {
            Some(QkNorm::L2) => 1.0 / (norm(query_row) * factor.abs()).max(1e-12),
            None => 1.0,
        };
        let scale = self.scale[head] * factor * normalise;
        let num_visible_keys = place.entry.map_or(0, |entry| self.num_visible_keys(entry, query));
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
        if let Some(bounds) = &mut room.quantisation {
            bounds.begin(score);
        }
        let query_step = self.stepped(Tensor::Q, query_row, factor);
        let mut scores: Vec<(usize, f64)> = Vec::new();
        for key in 0..num_visible_keys {
            let Some((stored, at)) = spec.key_at(&self.placement, batch, key) else { continue };
            if !self.visible(room, [batch, head, query, key])? {
                continue;
            }
            let key_row = self.k.row(stored, kv_head, at);
            let key_factor = Scales::factor(self.k_scales.as_ref(), [batch, kv_head, key]);
            let mut key_norm =
                key_factor.abs() * self.key_norms[spec.stored_row(Tensor::K, [stored, kv_head, at])];
            let dot: f64 = query_row.iter().zip(key_row).map(|(a, b)| a * b).sum();
            let mut scaled = scale * key_factor * dot;
            if let Some(QkNorm::L2) = spec.qk_norm {
                scaled /= key_norm.max(1e-12);
                key_norm = 1.0;
            }
            let mut score = scaled;
            if let (Some(evaluator), Some(scratch)) = (&self.score, &mut room.score) {
                score = evaluator.score_at(scratch, key, score)?;
            }
            score = as_device_has_it(score, if spec.natural_scores() { 1.0 } else { LOG2_E });
            if score != f64::NEG_INFINITY {
                scores.push((key, score));
                let evaluator = self.score.as_ref().zip(room.score.as_ref());
                room.errors.add(key_norm, scaled, score, evaluator);
                if let Some(bounds) = &mut room.quantisation {
                    let key_step = self.stepped(Tensor::K, key_row, key_factor);
                    bounds.add(spec, self.scale[head], [query_step, key_step], evaluator);
                }
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
        // Keys without a page have no score.
        let value = |key: usize| {
            let (stored, at) = spec.key_at(&self.placement, batch, key).unwrap_or_default();
            let factor = Scales::factor(self.v_scales.as_ref(), [batch, kv_head, key]);
            (factor, self.v.row(stored, kv_head, at))
        };
        for &(key, score) in &scores {
            let weight = (score - maximum).exp() / total;
            let (factor, row) = value(key);
            for (sum, &element) in output.iter_mut().zip(row) {
                // A value that is not finite makes its column NaN, however small its weight.
                *sum += if element.is_finite() { weight * factor * element } else { f64::NAN };
            }
        }
        let lse = maximum + total.ln();
        if let Some(bounds) = &mut room.quantisation {
            bounds.end(&scores, sink, (lse, &output), |key| {
                let (factor, row) = value(key);
                self.stepped(Tensor::V, row, factor)
            });
        }
        room.errors.end(&scores, sink, (lse, &output), value);
        Ok((lse, output))
    }

    /// How many rows see each key that is stored: `[stored batch, G, positions]`.
    fn seen(&self) -> Result<Vec<usize>, Error> {
        let spec = self.spec;
        let mut room = self.room();
        let mut seen = vec![0; spec.stored_batch(Tensor::K) * spec.kv_heads * spec.sizes(Tensor::K)[1]];
        for place in (0..spec.stored_rows()).map(|row| self.place(row)) {
            let (Some(batch), [_, head, _], query) = (place.entry, place.stored, place.query) else {
                continue;
            };
            let num_visible_keys = self.num_visible_keys(batch, query);
            if num_visible_keys == 0 {
                continue;
            }
            if let (Some(mask), Some(scratch)) = (&self.mask, &mut room.mask) {
                mask.row(scratch, batch, head, query)?;
            }
            for key in 0..num_visible_keys {
                let Some((stored, at)) = spec.key_at(&self.placement, batch, key) else { continue };
                let at = spec.stored_row(Tensor::K, [stored, head / spec.group(), at]);
                seen[at] += usize::from(self.visible(&mut room, [batch, head, query, key])?);
            }
        }
        Ok(seen)
    }

    /// A row of q, and of the outputs.
    fn place(&self, row: usize) -> Place {
        let spec = self.spec;
        let stored = [row / spec.q_len / spec.q_heads, row / spec.q_len % spec.q_heads, row % spec.q_len];
        let (entry, query) = spec.query_at(&self.placement, stored[0], stored[2]);
        Place { stored, entry, query }
    }
}

impl Attention {
    /// Rows of q.
    fn stored_rows(&self) -> usize {
        self.stored_batch(Tensor::Q) * self.q_heads * self.q_len
    }
}

/// How many rows see each key that is stored by mask, lists and lengths: `[stored batch, G, positions]`.
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
    let placement = spec.placement(inputs)?;
    let lengths = &placement.lengths;
    let evaluator = |program| Evaluator::with_lengths(program, spec.expr_sizes(), lengths.clone(), &tables);
    let scales = |name: fn(&Quantised) -> Option<&String>, heads: usize, of_head: usize| {
        let of = |of: &Quantised| Some(Scales::of(spec, inputs, name(of)?, [heads, of.block, of_head]));
        spec.quantised.as_ref().and_then(of).transpose()
    };
    let (kv_heads, of_keys) = (spec.kv_heads, spec.scales_of_head());
    let scale = match &spec.head_scale() {
        Some(name) => of_heads(spec, inputs, name)?,
        None => vec![spec.resolved_scale(); spec.q_heads],
    };
    let k = Values::of(spec, inputs, Tensor::K)?;
    and(&Definition {
        spec,
        q: spec.as_turned(Values::of(spec, inputs, Tensor::Q)?, Tensor::Q, &placement, inputs)?,
        key_norms: k.norms(spec),
        k: spec.as_turned(k, Tensor::K, &placement, inputs)?,
        v: Values::of(spec, inputs, Tensor::V)?,
        q_scales: scales(|of| of.q_scale.as_ref(), spec.q_heads, spec.q_scales_of_head())?,
        k_scales: scales(|of| Some(&of.k_scale), kv_heads, of_keys)?,
        v_scales: scales(|of| Some(&of.v_scale), kv_heads, of_keys)?,
        scale,
        sinks: spec.sink_logits.as_ref().map(|name| of_heads(spec, inputs, name)).transpose()?,
        listed: spec.listed_values(inputs)?,
        mask: visibility.mask.as_ref().map(evaluator).transpose()?,
        score: visibility.score.as_ref().map(evaluator).transpose()?,
        placement,
    })
}

pub(super) fn reference(
    spec: &Attention,
    inputs: &[(&str, &HostTensor)],
    rows: Rows,
) -> Result<Vec<Expected>, Error> {
    define(spec, inputs, &spec.programs()?, |definition| expected(definition, rows))
}

/// How far lse and o of these rows can be from those of the numbers that integers were rounded from.
pub(super) fn quantisation_bounds(
    spec: &Attention,
    inputs: &[(&str, &HostTensor)],
    rows: Rows,
) -> Result<[f64; 2], Error> {
    define(spec, inputs, &spec.programs()?, |definition| {
        let count = spec.stored_rows();
        let chosen = rows.chosen(count);
        let room = || Room { quantisation: Some(QuantisationErrors::default()), ..definition.room() };
        let largest =
            parallel::try_map_with(chosen.as_ref().map_or(count, Vec::len), room, |room, index| {
                let row = chosen.as_ref().map_or(index, |chosen| chosen[index]);
                definition.row(room, definition.place(row))?;
                Ok::<_, Error>(room.quantisation.as_ref().map_or([0.0; 2], |bounds| bounds.largest))
            })?;
        Ok(largest.into_iter().fold([0.0; 2], |a: [f64; 2], b| [a[0].max(b[0]), a[1].max(b[1])]))
    })
}

fn expected(definition: &Definition<'_>, rows: Rows) -> Result<Vec<Expected>, Error> {
    let spec = definition.spec;
    let count = spec.stored_rows();
    let chosen = rows.chosen(count);
    let place = |row: usize| definition.place(row);
    let computed: Vec<RowResult> = parallel::try_map_with(
        chosen.as_ref().map_or(count, Vec::len),
        || definition.room(),
        |room, index| {
            let place = place(chosen.as_ref().map_or(index, |chosen| chosen[index]));
            let (lse, o) = definition.row(room, place)?;
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
            let [batch, head, query] = place(row).stored;
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
