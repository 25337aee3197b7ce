//! The definition, in f64.

use std::slice;

use super::Combine;
use crate::{
    Access, Error, HostTensor,
    check::{Expected, Rows},
    parallel,
    spec::tensor_named,
};

/// A row's o and lse.
type RowResult = (Vec<f64>, f64);

pub(super) fn reference(
    spec: &Combine,
    inputs: &[(&str, &HostTensor)],
    rows: Rows,
) -> Result<Vec<Expected>, Error> {
    let values = |name: &str| tensor_named(inputs, name).map(HostTensor::to_f64);
    let (o_parts, lse_parts) = (values("o_parts")?, values("lse_parts")?);
    let sinks = spec.sink_logits.as_deref().map(values).transpose()?;
    let count = spec.rows();
    for (name, got, width) in [("o_parts", o_parts.len(), spec.value_dim), ("lse_parts", lse_parts.len(), 1)]
    {
        let expected = spec.parts * count * width;
        if got != expected {
            return Err(Error::invalid(name, format!("expected {expected} elements, got {got}")));
        }
    }
    // Where a row of o begins; in lse they are numbered.
    let at = |row: usize| spec.place(row);
    let merge = |row: usize| -> RowResult {
        let sink = sinks.as_ref().map(|sinks| sinks[row / spec.len % spec.heads]);
        let lse_of = |part: usize| lse_parts[part * count + row];
        // Empty parts do not count, even if their o is NaN.
        let parts: Vec<usize> = (0..spec.parts).filter(|&part| lse_of(part) != f64::NEG_INFINITY).collect();
        let all = || parts.iter().map(|&part| lse_of(part)).chain(sink);
        if all().any(|lse| lse.is_nan() || lse == f64::INFINITY) {
            return (vec![f64::NAN; spec.value_dim], f64::NAN);
        }
        let max = all().fold(f64::NEG_INFINITY, f64::max);
        if max == f64::NEG_INFINITY {
            return (vec![0.0; spec.value_dim], max);
        }
        let total: f64 = all().map(|lse| (lse - max).exp()).sum();
        let mut o = vec![0.0; spec.value_dim];
        for part in parts {
            let weight = (lse_of(part) - max).exp() / total;
            let row = &o_parts[part * count * spec.value_dim + at(row)..][..spec.value_dim];
            for (sum, &value) in o.iter_mut().zip(row) {
                *sum += if value.is_finite() { weight * value } else { f64::NAN };
            }
        }
        (o, max + total.ln())
    };

    let chosen = rows.chosen(count);
    let row = |index: usize| chosen.as_ref().map_or(index, |chosen| chosen[index]);
    let computed = parallel::map(chosen.as_ref().map_or(count, Vec::len), |index| merge(row(index)));
    let outputs = spec.all_tensors().into_iter().filter(|tensor_spec| tensor_spec.access == Access::Write);
    let expected = outputs.map(|output| {
        let is_o = output.name == "o";
        let rows = computed.iter().enumerate().map(|(index, (o, lse))| {
            if is_o { (at(row(index)), o.as_slice()) } else { (row(index), slice::from_ref(lse)) }
        });
        Expected::of_rows(output, rows, chosen.is_none())
    });
    Ok(expected.collect())
}
