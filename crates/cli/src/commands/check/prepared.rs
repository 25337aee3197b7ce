//! Cases and golden files with their inputs and expected outputs, and variants held to these.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use foveal::testing::{Status, VariantCheck};
use foveal_kernels::{
    ErrorKind, HostTensor, Name, Operator, Problem,
    testing::{Case, Expected, Rows, Tolerance},
};

use crate::device::Device;
use crate::failure::{NoJob, one_line, single_line};
use crate::io;
use crate::job::Job;
use crate::measure;
use crate::verify::{self, Checked};

/// The golden values are the float32 rounding of an f64 result: the reference has to be as near as that.
const GOLDEN_ROUNDING: Tolerance = Tolerance { rel_rmse: 1e-6, worst: 1e-5, floor: 1e-7 };

/// A problem with its inputs and what has to come out.
pub(super) struct Prepared {
    operator: &'static dyn Operator,
    problem: Arc<dyn Problem>,
    inputs: Vec<(Name, HostTensor)>,
    expected: Vec<Expected>,
    /// The rows of outputs that are compared.
    rows: Rows,
    /// Whether that comes from a file.
    stored: bool,
}

pub(super) fn of_case(
    operator: &str,
    case: &Case,
    device: Option<&Device>,
    variant: Option<&str>,
) -> Result<Prepared> {
    let operator = crate::job::operator(operator)?;
    // A problem that no variant can run may be of any size: make neither its tensors nor its reference.
    if let Some(device) = device {
        let mut refused = None;
        let planned = variants(operator, variant).any(|name| {
            device.plan(&*case.problem, Some(name)).map_err(|error| refused = Some(error)).is_ok()
        });
        if let Some(error) = refused.filter(|_| !planned) {
            return Err(NoJob(one_line(&error)).into());
        }
    }
    measure::room(&*case.problem)?;
    let inputs = case.problem.random_inputs(case.seed);
    let borrowed: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let rows = Rows::affordable(&case.problem.work(), case.seed);
    let expected = case.problem.reference(&borrowed, rows)?;
    Ok(Prepared { operator, problem: Arc::clone(&case.problem), inputs, expected, rows, stored: false })
}

pub(super) fn of_golden(path: &Path, only: &str) -> Result<Prepared> {
    let file = io::read(path)?;
    let options = file.options()?.ok_or_else(|| NoJob("no `foveal` header entry".into()))?;
    if let Some(op) = options.text("op")
        && !only.is_empty()
        && only != op
    {
        return Err(NoJob(format!("operator `{op}`")).into());
    }
    // An output that is computed on request only is a flag of its own name; what is stored is requested.
    let held: Vec<String> = file.tensors.keys().cloned().collect();
    let job = Job::new(file, None, None, |operator| {
        let flags = operator.options().iter().filter(|spec| spec.value.is_empty());
        Ok(flags
            .filter(|spec| held.iter().any(|name| name == spec.name))
            .map(|spec| (spec.name, true))
            .collect())
    })?;
    let expected = verify::stored(&job.problem.tensors(), |name| job.tensor(name))?;
    if expected.is_empty() {
        return Err(NoJob("no stored output".into()).into());
    }
    let inputs =
        job.inputs()?.into_iter().map(|(name, tensor)| (name.to_owned().into(), tensor.clone())).collect();
    let problem = Arc::clone(&job.problem);
    Ok(Prepared { operator: job.operator, problem, inputs, expected, rows: Rows::All, stored: true })
}

/// Why a file or case is passed over, if that is what `error` means.
pub(super) fn skip_reason(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(NoJob(reason)) = cause.downcast_ref() {
            return Some(reason.clone());
        }
        let unsupported = |error: &&foveal_kernels::Error| {
            error.kind() == ErrorKind::Unsupported || error.is_unknown_word()
        };
        if let Some(error) = cause.downcast_ref::<foveal_kernels::Error>().filter(unsupported) {
            return Some(error.to_string());
        }
        let unsupported = |error: &&foveal::Error| error.kind() == foveal::ErrorKind::Unsupported;
        cause.downcast_ref::<foveal::Error>().filter(unsupported).map(ToString::to_string)
    })
}

pub(super) fn against_reference(prepared: &Prepared) -> VariantCheck {
    let checked = || {
        let inputs: Vec<(&str, &HostTensor)> =
            prepared.inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        let computed = prepared.problem.reference(&inputs, Rows::All)?;
        let outputs: Vec<_> = computed
            .iter()
            .map(|output| Ok((output.name.clone(), output.to_tensor()?)))
            .collect::<Result<_>>()?;
        Ok(Checked::within(&prepared.expected, &outputs, |_| GOLDEN_ROUNDING)?)
    };
    let checked: Result<Checked> = checked();
    let (status, reason) = match &checked {
        Ok(checked) => match verify::status(checked) {
            Status::Skipped => (Status::Skipped, Some(NOTHING.to_owned())),
            status => (status, checked.complaint()),
        },
        Err(error) => (Status::Failed, Some(format!("could not be computed: {}", one_line(error)))),
    };
    VariantCheck::new("reference", status, checked.ok(), reason)
}

pub(super) fn on_device(prepared: &Prepared, device: &Device, only: Option<&str>) -> Vec<VariantCheck> {
    let inputs: Vec<(&str, &HostTensor)> =
        prepared.inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    variants(prepared.operator, only)
        .map(|name| {
            let mut tried = device.try_variant(&*prepared.problem, &inputs, &prepared.expected, name);
            if tried.status == Status::Failed
                && tried.checked.is_some()
                && let Some(expected) = with_allowances(prepared, &inputs)
            {
                tried = device.try_variant(&*prepared.problem, &inputs, &expected, name);
            }
            tried.reason = tried.reason.as_deref().map(single_line);
            if tried.status == Status::Passed
                && tried.checked.as_ref().is_some_and(|c| verify::compared(c) == 0)
            {
                (tried.status, tried.reason) = (Status::Skipped, Some(NOTHING.to_owned()));
            }
            tried
        })
        .collect()
}

/// Stored outputs with what the reference says f32 may be off by, if they come without and it says anything.
fn with_allowances(prepared: &Prepared, inputs: &[(&str, &HostTensor)]) -> Option<Vec<Expected>> {
    if !prepared.stored {
        return None;
    }
    let reference = prepared.problem.reference(inputs, Rows::All).ok()?;
    if reference.iter().all(|output| output.allowance.is_none()) {
        return None;
    }
    let allowed = |expected: &Expected| {
        let same = reference.iter().find(|output| output.name == expected.name);
        Expected { allowance: same.and_then(|output| output.allowance.clone()), ..expected.clone() }
    };
    Some(prepared.expected.iter().map(allowed).collect())
}

/// The names of an operator's variants, or the one that was asked for.
fn variants(operator: &dyn Operator, only: Option<&str>) -> impl Iterator<Item = &'static str> {
    let names: Vec<&'static str> = operator.variants().iter().map(|variant| variant.name).collect();
    let only = only.map(str::to_owned);
    names.into_iter().filter(move |name| only.as_deref().is_none_or(|only| only == *name))
}

/// A comparison of nothing says nothing.
const NOTHING: &str = "there was nothing to compare";

impl Prepared {
    /// How far each output can be from that of unquantised inputs; nothing where no inputs are integers.
    pub(super) fn quantisation(&self) -> Vec<(Name, f64)> {
        let inputs: Vec<(&str, &HostTensor)> =
            self.inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        // Inputs that make no sense are told of where they are compared.
        self.problem.quantisation_bounds(&inputs, self.rows).unwrap_or_default()
    }

    /// Queries that see no key, of how many.
    pub(super) fn blind(&self) -> Option<[usize; 2]> {
        let inputs: Vec<(&str, &HostTensor)> =
            self.inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        self.problem.queries_without_keys(&inputs, &|name| {
            self.expected.iter().find(|output| output.name == name).map(|output| output.values.clone())
        })
    }
}
