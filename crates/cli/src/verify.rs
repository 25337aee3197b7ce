//! Comparing outputs with what they have to be, and saying so.

use anyhow::{Result, anyhow};
use foveal::testing::Status;
pub(crate) use foveal_kernels::testing::Checked;
use foveal_kernels::{HostTensor, Name, TensorData, TensorSpec, testing::Expected};

/// How many values were compared.
pub(crate) fn compared(checked: &Checked) -> usize {
    checked.outputs.iter().map(|output| output.compared).sum()
}

/// The status of a comparison: one of nothing says nothing.
pub(crate) fn status(checked: &Checked) -> Status {
    match checked.passed() {
        true if compared(checked) == 0 => Status::Skipped,
        true => Status::Passed,
        false => Status::Failed,
    }
}

/// The note on queries that see no key, if there are any.
pub(crate) fn blindness([blind, all]: [usize; 2]) -> Option<String> {
    (blind > 0).then(|| format!("{blind} of {all} queries see no key: their outputs are zeros"))
}

/// The outputs that a file expects of `ports`: `NAME_f64` where it is there, else `NAME`.
pub(crate) fn stored(
    tensor_specs: &[TensorSpec],
    tensor: impl Fn(&str) -> Result<Option<HostTensor>>,
) -> Result<Vec<Expected>> {
    let mut expected = Vec::new();
    for tensor_spec in tensor_specs.iter().filter(|tensor_spec| tensor_spec.access.writes()) {
        let exact = tensor(&format!("{}_f64", tensor_spec.name))?;
        let stored = match exact {
            // Under its own name lies what such a tensor held before.
            None if tensor_spec.access.reads() => None,
            None => tensor(&tensor_spec.name)?,
            exact => exact,
        };
        let Some(tensor) = stored else { continue };
        if tensor.shape() != tensor_spec.shape {
            return Err(anyhow!(
                "the stored `{}` has shape {:?}, expected {:?}",
                tensor_spec.name,
                tensor.shape(),
                tensor_spec.shape
            ));
        }
        expected.push(Expected {
            name: tensor_spec.name.clone(),
            shape: tensor_spec.shape.clone(),
            elements: None,
            values: tensor.to_f64(),
            allowance: None,
            head_axis: tensor_spec.head_axis,
        });
    }
    Ok(expected)
}

/// The reference's outputs as tensors of the ports' storage types.
pub(crate) fn as_outputs(
    tensor_specs: &[TensorSpec],
    expected: &[Expected],
) -> Result<Vec<(Name, HostTensor)>> {
    expected
        .iter()
        .map(|output| {
            let whole = output.to_tensor()?;
            let tensor_spec = tensor_specs.iter().find(|tensor_spec| tensor_spec.name == output.name);
            let tensor = match tensor_spec {
                Some(tensor_spec) => HostTensor::from_bytes(
                    tensor_spec.shape.clone(),
                    &whole.to_bytes(tensor_spec.dtype),
                    tensor_spec.dtype,
                )?,
                None => whole,
            };
            Ok((output.name.clone(), tensor))
        })
        .collect()
}

/// `3 NaN, 1 infinite` if the tensor holds such values.
pub(crate) fn non_finite(tensor: &HostTensor) -> Option<String> {
    fn count(values: impl Iterator<Item = [bool; 2]>) -> [usize; 2] {
        values.fold([0, 0], |[nan, infinite], [is_nan, is_infinite]| {
            [nan + usize::from(is_nan), infinite + usize::from(is_infinite)]
        })
    }
    // One by one: a copy as f64 would be twice as large as the tensor.
    let [nan, infinite] = match tensor.data() {
        TensorData::F16(values) => count(values.iter().map(|x| [x.is_nan(), x.is_infinite()])),
        TensorData::Bf16(values) => count(values.iter().map(|x| [x.is_nan(), x.is_infinite()])),
        TensorData::F32(values) => count(values.iter().map(|x| [x.is_nan(), x.is_infinite()])),
        TensorData::F64(values) => count(values.iter().map(|x| [x.is_nan(), x.is_infinite()])),
        TensorData::I32(_) | TensorData::I64(_) | TensorData::U8(_) | TensorData::I8(_) => return None,
    };
    let parts: Vec<String> = [(nan, "NaN"), (infinite, "infinite")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The note on an output whose type ends before its values do.
pub(crate) fn overflow(name: &str, tensor: &HostTensor) -> Option<String> {
    let (count, what) = match tensor.data() {
        TensorData::F16(values) => (values.iter().filter(|x| x.is_infinite()).count(), "f16 ends at 65504"),
        TensorData::Bf16(values) => {
            (values.iter().filter(|x| x.is_infinite()).count(), "bf16 ends at 3.4e38")
        }
        _ => (0, ""),
    };
    (count > 0).then(|| format!("{name} holds {count} infinite: {what}"))
}

#[cfg(test)]
mod tests {
    use foveal_kernels::Dtype;

    use super::*;

    #[test]
    fn non_finite_values_are_counted() {
        let tensor =
            |values: &[f32]| HostTensor::new(vec![values.len()], TensorData::F32(values.to_vec())).unwrap();
        assert_eq!(non_finite(&tensor(&[1.0, 2.0])), None);
        let bad = tensor(&[f32::NAN, f32::NAN, f32::NEG_INFINITY]);
        assert_eq!(non_finite(&bad).unwrap(), "2 NaN, 1 infinite");
    }

    #[test]
    fn what_a_type_cannot_hold_is_said() {
        let stored = |dtype, values: &[f32]| HostTensor::from_f32(vec![values.len()], values, dtype).unwrap();
        let values = [65_519.0, -65_520.0, 1e6];
        let said = overflow("o", &stored(Dtype::F16, &values)).unwrap();
        assert_eq!(said, "o holds 2 infinite: f16 ends at 65504");
        assert_eq!(overflow("o", &stored(Dtype::Bf16, &values)), None);
        assert_eq!(overflow("lse", &stored(Dtype::F32, &[f32::NEG_INFINITY])), None);
    }
}
