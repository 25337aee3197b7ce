//! Comparing outputs with what they have to be, and saying so.

use anyhow::{Result, anyhow};
use foveal_kernels::{
    Comparison, Expected, HostTensor, Name, Port, PortRole, Problem, TensorData, Tolerance, compare,
};

/// The comparison of all outputs of a run.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// Each output.
    pub(crate) outputs: Vec<Comparison>,
}

impl Checked {
    /// Whether every output is right.
    pub(crate) fn passed(&self) -> bool {
        self.outputs.iter().all(|output| output.passed)
    }

    /// The largest relative error of any output.
    pub(crate) fn rel_rmse(&self) -> f64 {
        self.outputs.iter().map(|output| output.rel_rmse).fold(0.0, f64::max)
    }

    /// The output that is furthest off, measured by what it is allowed.
    fn furthest(&self) -> Option<&Comparison> {
        let strain = |output: &Comparison| {
            let share = output.rel_rmse / output.tolerance.rel_rmse.max(f64::MIN_POSITIVE);
            (!output.passed, share)
        };
        self.outputs.iter().max_by(|a, b| {
            let (a, b) = (strain(a), strain(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        })
    }

    /// The element that is furthest off: `o[0, 3, 17, 5]: got 1.5e0, expected 1.25e0`.
    pub(crate) fn worst(&self) -> Option<String> {
        let output = self.furthest()?;
        let worst = output.worst.as_ref()?;
        Some(format!("{}{worst}", output.name))
    }

    /// What is wrong, in a few words; nothing if nothing is.
    pub(crate) fn complaint(&self) -> Option<String> {
        let output = self.furthest().filter(|output| !output.passed)?;
        let allowed = format!("rel RMSE {:.1e}, allowed {:.1e}", output.rel_rmse, output.tolerance.rel_rmse);
        let what = if output.non_finite > 0 {
            format!(
                "{} of {} values are NaN or infinite where they must not be",
                output.non_finite, output.compared
            )
        } else if let Some((head, error)) = worst_head(output) {
            format!("head {head} has rel RMSE {error:.1e}, the whole {allowed}")
        } else {
            allowed
        };
        Some(format!("{}: {what}; {}", output.name, self.worst().unwrap_or_default()))
    }
}

/// The head that is off while the whole hides it.
fn worst_head(output: &Comparison) -> Option<(usize, f64)> {
    let (head, &error) = output.per_head.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    (error > output.tolerance.rel_rmse && output.rel_rmse <= output.tolerance.rel_rmse)
        .then_some((head, error))
}

/// Compares `actual` with `expected`, each output within the problem's own tolerance.
pub(crate) fn check(
    problem: &dyn Problem,
    expected: &[Expected],
    actual: &[(Name, HostTensor)],
) -> Result<Checked> {
    check_within(expected, actual, |output| problem.tolerance(output))
}

/// Compares `actual` with `expected`.
pub(crate) fn check_within(
    expected: &[Expected],
    actual: &[(Name, HostTensor)],
    tolerance: impl Fn(&str) -> Tolerance,
) -> Result<Checked> {
    let outputs = expected
        .iter()
        .map(|expected| {
            let (_, actual) = actual
                .iter()
                .find(|(name, _)| *name == expected.name)
                .ok_or_else(|| anyhow!("the run gave no output `{}`", expected.name))?;
            Ok(compare(expected, actual, tolerance(&expected.name))?)
        })
        .collect::<Result<_>>()?;
    Ok(Checked { outputs })
}

/// Takes out the values that are NaN in the reference itself, which nothing can be compared with. Returns how many they
/// were.
pub(crate) fn set_nan_aside(expected: &mut [Expected]) -> usize {
    let mut count = 0;
    for output in expected {
        if !output.values.iter().any(|value| value.is_nan()) {
            continue;
        }
        let positions = output.elements.take().unwrap_or_else(|| (0..output.values.len()).collect());
        let kept = positions.into_iter().zip(&output.values).filter(|(_, value)| !value.is_nan());
        let (positions, values): (Vec<usize>, Vec<f64>) = kept.unzip();
        count += output.values.len() - values.len();
        output.elements = Some(positions);
        output.values = values;
    }
    count
}

/// What a file says the outputs of `ports` are: `NAME_f64` where it is there, else `NAME`.
pub(crate) fn stored<'a>(
    ports: &[Port],
    tensor: impl Fn(&str) -> Option<&'a HostTensor>,
) -> Result<Vec<Expected>> {
    let mut expected = Vec::new();
    for port in ports.iter().filter(|port| port.role == PortRole::Output) {
        let Some(tensor) = tensor(&format!("{}_f64", port.name)).or_else(|| tensor(&port.name)) else {
            continue;
        };
        if tensor.shape() != port.shape {
            return Err(anyhow!(
                "the stored `{}` has shape {:?}, expected {:?}",
                port.name,
                tensor.shape(),
                port.shape
            ));
        }
        expected.push(Expected {
            name: port.name.clone(),
            shape: port.shape.clone(),
            elements: None,
            values: tensor.to_f64(),
            head_axis: port.head_axis,
        });
    }
    Ok(expected)
}

/// The reference's outputs as tensors of the ports' storage types.
pub(crate) fn as_outputs(ports: &[Port], expected: &[Expected]) -> Result<Vec<(Name, HostTensor)>> {
    expected
        .iter()
        .map(|output| {
            let whole = output.to_tensor()?;
            let port = ports.iter().find(|port| port.name == output.name);
            let tensor = match port {
                Some(port) => {
                    HostTensor::from_bytes(port.shape.clone(), &whole.to_bytes(port.dtype), port.dtype)?
                }
                None => whole,
            };
            Ok((output.name.clone(), tensor))
        })
        .collect()
}

/// `3 NaN, 1 infinite` if the tensor holds such values.
pub(crate) fn non_finite(tensor: &HostTensor) -> Option<String> {
    if matches!(tensor.data(), TensorData::I32(_) | TensorData::I64(_) | TensorData::U8(_)) {
        return None;
    }
    let values = tensor.to_f64();
    let nan = values.iter().filter(|value| value.is_nan()).count();
    let infinite = values.iter().filter(|value| value.is_infinite()).count();
    let parts: Vec<String> = [(nan, "NaN"), (infinite, "infinite")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(values: &[f64]) -> Expected {
        Expected {
            name: "o".into(),
            shape: vec![values.len()],
            elements: None,
            values: values.to_vec(),
            head_axis: None,
        }
    }

    #[test]
    fn nan_in_the_reference_is_set_aside_and_the_rest_is_compared() {
        let mut outputs = [expected(&[1.0, f64::NAN, 3.0])];
        assert_eq!(set_nan_aside(&mut outputs), 1);
        let tolerance = |_: &str| Tolerance { rel_rmse: 1e-5, worst: 1e-4, floor: 1e-7 };
        let actual = |third| {
            let data = TensorData::F32(vec![1.0, f32::NAN, third]);
            vec![("o".into(), HostTensor::new(vec![3], data).unwrap())]
        };
        assert!(check_within(&outputs, &actual(3.0), tolerance).unwrap().passed());
        let wrong = check_within(&outputs, &actual(4.0), tolerance).unwrap();
        assert!(wrong.complaint().unwrap().contains("o[2]: got 4.000000e0, expected 3.000000e0"));
    }

    #[test]
    fn non_finite_values_are_counted() {
        let tensor =
            |values: &[f32]| HostTensor::new(vec![values.len()], TensorData::F32(values.to_vec())).unwrap();
        assert_eq!(non_finite(&tensor(&[1.0, 2.0])), None);
        let bad = tensor(&[f32::NAN, f32::NAN, f32::NEG_INFINITY]);
        assert_eq!(non_finite(&bad).unwrap(), "2 NaN, 1 infinite");
    }
}
