//! A problem and its tensors, from files.

use std::sync::Arc;

use anyhow::Result;
use foveal_kernels::{Dtype, HostTensor, Operator, PortRole, Problem, TensorData, operators};
use serde_json::{Map, Value};

use crate::failure::{suggestion, unknown, usage};
use crate::io::TensorFile;

/// What to compute, on what.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) operator: &'static dyn Operator,
    pub(crate) problem: Arc<dyn Problem>,
    options: Map<String, Value>,
    /// By name, in order.
    tensors: Vec<(String, HostTensor)>,
}

/// Why a file is no job for this version: not an error where many files are gone through.
#[derive(Debug)]
pub(crate) struct NoJob(pub(crate) String);

impl std::fmt::Display for NoJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoJob {}

impl Job {
    /// The operator by name or by the file's `foveal` entry, with the entry's options overridden by what `given` says.
    pub(crate) fn new(
        file: TensorFile,
        name: Option<&str>,
        dtype: Option<Dtype>,
        given: impl FnOnce(&'static dyn Operator) -> Result<Map<String, Value>>,
    ) -> Result<Self> {
        let entry = file.options()?;
        let in_file = entry.as_ref().and_then(|options| options.get("op")).and_then(Value::as_str);
        let operator = match (name, in_file) {
            (Some(name), _) => operator(name)?,
            (None, Some(name)) => {
                operators().iter().copied().find(|op| op.name() == name).ok_or_else(|| {
                    NoJob(format!("this version has no operator `{name}`, which the file asks for"))
                })?
            }
            (None, None) => {
                let names: Vec<&str> = operators().iter().map(|op| op.name()).collect();
                return Err(usage(format!(
                    "which operator? The input has no `foveal` header entry that says; name one of {}",
                    names.join(", ")
                )));
            }
        };
        // Options stored for one operator mean nothing to another.
        let mut options = match entry {
            Some(options) if in_file.is_none_or(|op| op == operator.name()) => options,
            _ => Map::new(),
        };
        options.remove("op");
        options.extend(given(operator)?);
        let given: Vec<(String, HostTensor)> = file.tensors.into_iter().collect();
        let Some(dtype) = dtype else {
            let problem = operator.problem(&options, &given)?;
            return Ok(Self { operator, problem, options, tensors: given });
        };
        let converted: Vec<(String, HostTensor)> = given
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), convert(tensor, dtype)?)))
            .collect::<Result<_>>()?;
        let problem = operator.problem(&options, &converted)?;
        // What the problem stores as f32 whatever its type, such as gates and states, stays as it is.
        let stored = |name: &str| problem.ports().iter().any(|port| port.name == name && port.dtype == dtype);
        let pairs = given.into_iter().zip(converted);
        let tensors =
            pairs.map(|(given, converted)| if stored(&given.0) { converted } else { given }).collect();
        Ok(Self { operator, problem, options, tensors })
    }

    /// The same with the outputs that are computed on request only, except those that were declined. Such an output is a
    /// flag of its own name.
    pub(crate) fn with_all_outputs(mut self) -> Self {
        for spec in self.operator.options().iter().filter(|spec| spec.value.is_empty()) {
            if self.options.contains_key(spec.name) {
                continue;
            }
            let mut options = self.options.clone();
            options.insert(spec.name.to_owned(), Value::Bool(true));
            // A flag that is no output may ask for a tensor that there is none of.
            let Ok(problem) = self.operator.problem(&options, &self.tensors) else { continue };
            if problem.ports().iter().any(|port| port.name == spec.name && port.role == PortRole::Output) {
                (self.problem, self.options) = (problem, options);
            }
        }
        self
    }

    /// The tensors that the problem reads.
    pub(crate) fn inputs(&self) -> Result<Vec<(&str, &HostTensor)>> {
        self.problem
            .ports()
            .iter()
            .filter(|port| port.role == PortRole::Input)
            .map(|port| {
                let held = self.tensors.iter().find(|(held, _)| *held == port.name);
                let (name, tensor) = held.ok_or_else(|| {
                    let held: Vec<&str> = self.tensors.iter().map(|(name, _)| name.as_str()).collect();
                    let hint = suggestion(&port.name, held.iter().copied());
                    usage(format!(
                        "there is no tensor `{}`; the input holds {}{hint}",
                        port.name,
                        held.join(", ")
                    ))
                })?;
                Ok((name.as_str(), tensor))
            })
            .collect()
    }

    /// Any tensor of the files.
    pub(crate) fn tensor(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.iter().find(|(held, _)| held == name).map(|(_, tensor)| tensor)
    }

    /// The operator's name and the problem's options, as files carry them.
    pub(crate) fn entry(&self) -> String {
        let mut entry = Map::new();
        entry.insert("op".into(), self.operator.name().into());
        entry.extend(self.problem.options());
        Value::Object(entry).to_string()
    }
}

/// The operator of that name.
pub(crate) fn operator(name: &str) -> Result<&'static dyn Operator> {
    let all = operators();
    all.iter().copied().find(|op| op.name() == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|op| op.name()).collect();
        unknown("operator", name, &names)
    })
}

/// The operator that was named, or all.
pub(crate) fn operators_of(name: Option<&str>) -> Result<Vec<&'static dyn Operator>> {
    name.map_or_else(|| Ok(operators().to_vec()), |name| Ok(vec![operator(name)?]))
}

/// Checks a variant's name against those of the operators.
pub(crate) fn check_variant(name: Option<&str>, of: &[&'static dyn Operator]) -> Result<()> {
    let Some(name) = name else { return Ok(()) };
    let mut known: Vec<&str> = of.iter().flat_map(|op| op.variants()).map(|variant| variant.name).collect();
    known.dedup();
    if known.contains(&name) { Ok(()) } else { Err(unknown("variant", name, &known)) }
}

/// Floating-point values in another storage type; indices and masks as they are.
fn convert(tensor: &HostTensor, dtype: Dtype) -> Result<HostTensor> {
    let indices = matches!(tensor.data(), TensorData::I32(_) | TensorData::I64(_) | TensorData::U8(_));
    if indices || tensor.dtype() == Some(dtype) {
        return Ok(tensor.clone());
    }
    Ok(HostTensor::from_bytes(tensor.shape().to_vec(), &tensor.to_bytes(dtype), dtype)?)
}

/// The storage type of a problem's first input.
pub(crate) fn dtype_of(problem: &dyn Problem) -> Dtype {
    problem.ports().first().map_or(Dtype::F32, |port| port.dtype)
}
