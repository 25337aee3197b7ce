//! The definition, in f64.

use rayon::prelude::*;

use super::{
    Attention,
    spec::{Strides, Tensor},
};
use crate::{Error, Expected, HostTensor, Rows};

struct Values {
    elements: Vec<f64>,
    strides: Strides,
    dim: usize,
}

impl Values {
    fn of(spec: &Attention, inputs: &[(&str, &HostTensor)], tensor: Tensor) -> Result<Self, Error> {
        let name = tensor.name();
        let given = inputs
            .iter()
            .find_map(|(given, values)| (*given == name).then_some(*values))
            .ok_or_else(|| Error::invalid(name, "the tensor is missing"))?;
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

/// `(lse, o)` of one row.
fn row(
    spec: &Attention,
    [q, k, v]: [&Values; 3],
    batch: usize,
    head: usize,
    query: usize,
) -> (f64, Vec<f64>) {
    let kv_head = head / spec.group();
    let scale = spec.resolved_scale();
    let query_row = q.row(batch, head, query);
    let scores: Vec<f64> = (0..spec.keys_seen(query))
        .map(|key| {
            let dot: f64 = query_row.iter().zip(k.row(batch, kv_head, key)).map(|(a, b)| a * b).sum();
            scale * dot
        })
        .collect();
    let maximum = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // `max` ignores NaN; a row with one has no meaning, and says so.
    if scores.iter().any(|score| score.is_nan()) {
        return (f64::NAN, vec![f64::NAN; v.dim]);
    }
    if scores.is_empty() {
        return (f64::NEG_INFINITY, vec![0.0; v.dim]);
    }
    let sum: f64 = scores.iter().map(|score| (score - maximum).exp()).sum();
    let lse = maximum + sum.ln();
    let mut output = vec![0.0; v.dim];
    for (key, score) in scores.iter().enumerate() {
        let weight = (score - lse).exp();
        for (sum, value) in output.iter_mut().zip(v.row(batch, kv_head, key)) {
            *sum += weight * value;
        }
    }
    (lse, output)
}

pub(super) fn reference(
    spec: &Attention,
    inputs: &[(&str, &HostTensor)],
    rows: Rows,
) -> Result<Vec<Expected>, Error> {
    spec.validate()?;
    let q = Values::of(spec, inputs, Tensor::Q)?;
    let k = Values::of(spec, inputs, Tensor::K)?;
    let v = Values::of(spec, inputs, Tensor::V)?;
    let count = spec.batch * spec.q_heads * spec.q_len;
    let chosen: Option<Vec<usize>> = match rows {
        Rows::Sample { count: wanted, seed } if wanted < count => {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut chosen = random.choose_multiple(0..count, wanted);
            chosen.sort_unstable();
            Some(chosen)
        }
        _ => None,
    };
    let place =
        |row: usize| (row / spec.q_len / spec.q_heads, row / spec.q_len % spec.q_heads, row % spec.q_len);
    let computed: Vec<(f64, Vec<f64>)> = (0..chosen.as_ref().map_or(count, Vec::len))
        .into_par_iter()
        .map(|index| {
            let (batch, head, query) = place(chosen.as_ref().map_or(index, |chosen| chosen[index]));
            row(spec, [&q, &k, &v], batch, head, query)
        })
        .collect();

    let ports = spec.all_ports();
    let dense = Attention { o_strides: None, ..spec.clone() }.strides(Tensor::O);
    let mut outputs = Vec::new();
    for port in ports.iter().skip(Tensor::ALL.len() - 1) {
        let is_o = port.name == "o";
        let width = if is_o { spec.value_dim } else { 1 };
        // Positions within the dense output: o may be stored with positions outside heads.
        let at = |row: usize| {
            let (batch, head, query) = place(row);
            if is_o { batch * dense.batch + head * dense.head + query * dense.position } else { row }
        };
        let value = |(lse, o): &(f64, Vec<f64>), column: usize| if is_o { o[column] } else { *lse };
        let (elements, values) = if let Some(chosen) = &chosen {
            let elements = chosen.iter().flat_map(|&row| (0..width).map(move |c| at(row) + c)).collect();
            let values = computed.iter().flat_map(|row| (0..width).map(move |c| value(row, c))).collect();
            (Some(elements), values)
        } else {
            let mut values = vec![0.0; port.shape.iter().product()];
            for (index, row) in computed.iter().enumerate() {
                for column in 0..width {
                    values[at(index) + column] = value(row, column);
                }
            }
            (None, values)
        };
        outputs.push(Expected {
            name: port.name,
            shape: port.shape.clone(),
            elements,
            values,
            head_axis: port.head_axis,
        });
    }
    Ok(outputs)
}
