//! Inputs as the definition reads them: in f64, by head and position.

use std::borrow::Cow;

use super::{Attention, Strides, TableInput, inputs::stored, layout::Tensor, rounding::norm};
use crate::{Error, HostTensor, spec::tensor_named};

/// The stored rows of q, k or v.
pub(super) struct Values {
    pub(super) elements: Vec<f64>,
    pub(super) strides: Strides,
    pub(super) dim: usize,
}

impl Values {
    pub(super) fn of(
        spec: &Attention,
        inputs: &[(&str, &HostTensor)],
        tensor: Tensor,
    ) -> Result<Self, Error> {
        let name = tensor.name();
        let given = tensor_named(inputs, name)?;
        let [heads, len, dim] = spec.sizes(tensor);
        // Dense inputs are checked by shape; strided ones are flat storage.
        let strides = spec.strides(tensor);
        let span = spec.span(tensor).ok_or_else(|| Error::invalid(name, "too large"))?;
        if given.len() < span {
            let batch = spec.stored_batch(tensor);
            let expected = format!("expected {batch} x {heads} x {len} x {dim}, {span} elements");
            return Err(Error::invalid(name, format!("{expected}, got {:?}", given.shape())));
        }
        let mut elements = given.to_f64();
        if spec.rounds_inputs() {
            elements.iter_mut().for_each(|x| *x = as_f16(*x));
        }
        match &spec.quantised {
            Some(quantised) if matches!(tensor, Tensor::K | Tensor::V) => {
                let in_a_byte = quantised.integers.in_a_byte();
                let Strides { batch, head, position } = strides;
                let [batch, head, position] = [batch, head, position].map(|stride| in_a_byte * stride);
                let strides = Strides { batch, head, position };
                Ok(Self { elements: quantised.integers.unpacked(elements), strides, dim: in_a_byte * dim })
            }
            _ => Ok(Self { elements, strides, dim }),
        }
    }

    pub(super) fn row(&self, batch: usize, head: usize, position: usize) -> &[f64] {
        let at = batch * self.strides.batch + head * self.strides.head + position * self.strides.position;
        &self.elements[at..at + self.dim]
    }

    /// Norms of all stored rows of k.
    pub(super) fn norms(&self, spec: &Attention) -> Vec<f64> {
        let [heads, len, _] = spec.sizes(Tensor::K);
        let row = |at: usize| self.row(at / len / heads, at / len % heads, at % len);
        (0..spec.stored_batch(Tensor::K) * heads * len).map(|at| norm(row(at))).collect()
    }
}

/// Rounded to f16, to nearest, ties to even; beyond its range infinite. Inputs are stored as f32 or less.
#[expect(clippy::cast_possible_truncation, reason = "the value is an f32's")]
fn as_f16(x: f64) -> f64 {
    f64::from(half::f16::from_f32(x as f32).to_f32())
}

/// Scales of the integers of rows, `[B, heads, ceil(T / block)]`.
pub(super) struct Scales {
    values: Vec<f64>,
    heads: usize,
    block: usize,
    of_head: usize,
}

impl Scales {
    pub(super) fn of(
        spec: &Attention,
        inputs: &[(&str, &HostTensor)],
        name: &str,
        [heads, block, of_head]: [usize; 3],
    ) -> Result<Self, Error> {
        let given = tensor_named(inputs, name)?;
        let shape = [spec.batch, heads, of_head];
        if given.shape() != shape {
            let message = format!("expected scales {shape:?}, got {:?}", given.shape());
            return Err(Error::invalid(name, message));
        }
        Ok(Self { values: given.to_f64(), heads, block, of_head })
    }

    /// The factor of a row's integers; 1 of one that holds real numbers.
    pub(super) fn factor(scales: Option<&Self>, row: [usize; 3]) -> f64 {
        scales.map_or(1.0, |scales| scales.at(row))
    }

    /// The scale of row `number` of an entry's head.
    fn at(&self, [entry, head, number]: [usize; 3]) -> f64 {
        self.values[(entry * self.heads + head) * self.of_head + number / self.block]
    }
}

/// One value a head.
pub(super) fn of_heads(
    spec: &Attention,
    inputs: &[(&str, &HostTensor)],
    name: &str,
) -> Result<Vec<f64>, Error> {
    let values = tensor_named(inputs, name)?;
    if values.shape() != [spec.q_heads] {
        let message =
            format!("expected one value for each of {} heads, got {:?}", spec.q_heads, values.shape());
        return Err(Error::invalid(name, message));
    }
    Ok(values.to_f64())
}

/// The tables' values, of the types they are declared to have.
pub(super) fn table_values<'t>(
    spec: &'t Attention,
    inputs: &[(&str, &'t HostTensor)],
) -> Result<Vec<(&'t str, Cow<'t, HostTensor>)>, Error> {
    let value = |input: &'t TableInput| {
        let name = input.table.name.as_str();
        Ok((name, stored(tensor_named(inputs, name)?, name, input.table.element)?))
    };
    spec.tables.iter().map(value).collect()
}
