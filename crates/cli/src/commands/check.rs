//! `foveal check`: every variant on this adapter against the f64 reference, or against stored outputs.

mod item;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::ArgMatches;
use foveal::testing::{Status, VariantCheck};
use foveal_kernels::{
    ErrorKind, HostTensor, Name, Operator, Problem, did_you_mean,
    testing::{Case, Expected, Rows, Tolerance},
};
use serde_json::{Map, Value, json};

use self::item::{Item, ItemResult, What};
use crate::args;
use crate::commands::{Verdict, plan};
use crate::device::{Choice, Device};
use crate::failure::{NoJob, one_line, single_line, unknown, usage};
use crate::io;
use crate::job::{Job, check_variant, operators_of};
use crate::measure;
use crate::options;
use crate::ui::{self, Ui};
use crate::verify::{self, Checked};

/// The golden values are the float32 rounding of an f64 result: the reference has to be as near as that.
const GOLDEN_ROUNDING: Tolerance = Tolerance { rel_rmse: 1e-6, worst: 1e-5, floor: 1e-7 };

/// A problem with its inputs and what has to come out.
struct Prepared {
    operator: &'static dyn Operator,
    problem: Arc<dyn Problem>,
    inputs: Vec<(Name, HostTensor)>,
    expected: Vec<Expected>,
    /// Whether that comes from a file.
    stored: bool,
}

/// The items to check, made one at a time: any number of random cases may be asked for.
struct Items {
    count: usize,
    /// Of the column of names.
    width: usize,
    items: Box<dyn Iterator<Item = Item>>,
}

/// The column of names is not wider.
const WIDEST: usize = 44;

impl From<Vec<Item>> for Items {
    fn from(items: Vec<Item>) -> Self {
        let width = items.iter().map(|item| item.name.chars().count()).max().unwrap_or(0).min(WIDEST);
        Self { count: items.len(), width, items: Box::new(items.into_iter()) }
    }
}

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let operators = operators_of(args::string(matches, "op"))?;
    let variant = args::string(matches, "variant");
    check_variant(variant, &operators)?;
    // Every result is compared here: a variant that is wrong has to fail its cases, not to vanish from them.
    let choice = Choice::of(matches).without_self_check();
    let golden = matches.get_one::<PathBuf>("golden");
    let Items { count, width, items } = items(matches, &operators, golden.map(PathBuf::as_path))?;
    let device = match golden {
        // The reference itself is checked: that needs no adapter.
        Some(_) if choice.is_cpu() => None,
        _ => Some(Device::require(&choice, "check")?),
    };
    let adapter = device.as_ref().map_or_else(|| "cpu".to_owned(), Device::name);
    ui.line(format!("on {adapter}"));

    let bar = ui.progress(count, "check");
    let mut counts = [0usize; 3];
    let mut rows = Vec::new();
    for item in items {
        bar.set_message(item.name.clone());
        let row = examine(&item, device.as_ref(), variant, args::string(matches, "adapter"));
        counts[row.status as usize] += 1;
        if ui.json {
            rows.push(report::json_row(&item, &row));
        } else {
            bar.suspend(|| report::print(ui, &item, &row, width));
        }
        bar.inc(1);
        // Stdout is gone: the rest could not be seen.
        if ui::unwritten().is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    let [passed, failed, skipped] = counts;
    ui.line(format!("{passed} passed, {failed} failed, {skipped} skipped"));
    ui.document(&json!({
        "adapter": adapter, "passed": passed, "failed": failed, "skipped": skipped, "cases": rows,
    }));
    Ok(Verdict::of(failed == 0))
}

fn items(matches: &ArgMatches, operators: &[&'static dyn Operator], golden: Option<&Path>) -> Result<Items> {
    if args::string(matches, "shape").is_none() {
        for operator in operators {
            if let Some(name) = options::given(matches, *operator)?.keys().next() {
                let name = name.replace('_', "-");
                return Err(usage(format!("--{name} needs a --shape to be checked at")));
            }
        }
    }
    if let Some(path) = golden {
        let only = args::string(matches, "op").unwrap_or_default();
        let items: Vec<Item> = io::golden_files(path)?
            .into_iter()
            .map(|file| Item {
                operator: operators
                    .first()
                    .map(|op| op.name())
                    .filter(|_| !only.is_empty())
                    .unwrap_or_default(),
                name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                repro: format!("foveal check --golden {}", quoted(&file.to_string_lossy())),
                what: What::Golden(file),
            })
            .collect();
        return Ok(items.into());
    }
    let seed = matches.get_one::<u64>("seed").copied().unwrap_or(1);
    if let Some(&count) = matches.get_one::<u64>("random") {
        return Ok(random(operators.to_vec(), count, seed));
    }
    if let Some(name) = args::string(matches, "recipe") {
        return Ok(recipes(operators, name)?.into());
    }
    if let Some(shape) = args::string(matches, "shape") {
        return Ok(vec![described(matches, operators, shape, seed)?].into());
    }
    let wanted = args::string(matches, "cases").unwrap_or_default();
    let all: Vec<(&str, Case)> =
        operators.iter().flat_map(|op| op.cases().into_iter().map(|case| (op.name(), case))).collect();
    let items: Vec<Item> = all
        .iter()
        .filter(|(_, case)| case.name.contains(wanted))
        .map(|(operator, case)| Item {
            operator,
            name: case.name.clone(),
            repro: format!("foveal check {operator} --cases {}", quoted(&case.name)),
            what: What::Case(case.clone()),
        })
        .collect();
    if items.is_empty() {
        let hint = did_you_mean(wanted, all.iter().map(|(_, case)| case.name.as_str()));
        return Err(usage(format!(
            "no case's name contains `{wanted}`; `foveal list --json` has all names{hint}"
        )));
    }
    Ok(items.into())
}

/// `count` cases of each operator.
fn random(operators: Vec<&'static dyn Operator>, count: u64, seed: u64) -> Items {
    let one = |operator: &'static dyn Operator, seed: u64| {
        let case = operator.random_case(seed);
        Item {
            operator: operator.name(),
            name: format!("{} {}", case.name, case.problem.describe()),
            repro: format!("foveal check {} --random 1 --seed {seed}", operator.name()),
            what: What::Case(case),
        }
    };
    let all = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(operators.len());
    let items = operators
        .into_iter()
        .flat_map(move |operator| (0..count).map(move |index| one(operator, seed.wrapping_add(index))));
    Items { count: all, width: WIDEST, items: Box::new(items) }
}

/// The problem of a shape and the options on the command line.
fn described(
    matches: &ArgMatches,
    operators: &[&'static dyn Operator],
    shape: &str,
    seed: u64,
) -> Result<Item> {
    let &[operator] = operators else {
        return Err(usage("--shape means something else to each operator: name one"));
    };
    let problem = plan::of_shape(matches, operator, shape)?;
    let name = problem.describe();
    let typed = options::typed(&problem.options());
    let repro = format!("foveal check {} --shape {shape} {typed} --seed {seed}", operator.name());
    let what = What::Case(Case { name: name.clone(), problem, seed });
    Ok(Item { operator: operator.name(), name, repro, what })
}

fn recipes(operators: &[&'static dyn Operator], name: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for operator in operators {
        for recipe in operator.recipes().iter().filter(|recipe| name == "all" || recipe.name == name) {
            items.push(Item {
                operator: operator.name(),
                name: recipe.name.to_owned(),
                repro: format!("foveal check {} --recipe {}", operator.name(), recipe.name),
                what: What::Case(operator.recipe_case(recipe.name)?),
            });
        }
    }
    if items.is_empty() {
        let known: Vec<&str> =
            operators.iter().flat_map(|operator| operator.recipes()).map(|recipe| recipe.name).collect();
        return Err(unknown("recipe", name, &known));
    }
    Ok(items)
}

fn examine(item: &Item, device: Option<&Device>, variant: Option<&str>, adapter: Option<&str>) -> ItemResult {
    let adapter = adapter.map(|name| format!(" --adapter {}", quoted(name))).unwrap_or_default();
    let row = |status, reason| ItemResult {
        status,
        tried: Vec::new(),
        reason,
        repro: format!("{}{adapter}", item.repro),
        blind: None,
    };
    let prepared = match &item.what {
        What::Case(case) => of_case(item.operator, case, device, variant),
        What::Golden(path) => of_golden(path, item.operator),
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => match skip_reason(&error) {
            Some(reason) => return row(Status::Skipped, Some(reason)),
            None => return row(Status::Failed, Some(one_line(&error))),
        },
    };
    let tried = match device {
        Some(device) => on_device(&prepared, device, variant),
        None => vec![against_reference(&prepared)],
    };
    let mut row = row(Status::Skipped, None);
    row.blind = prepared.blind();
    row.status = Status::of_all(tried.iter().map(|tried| tried.status));
    if row.status == Status::Skipped {
        row.reason = tried.first().and_then(|tried| tried.reason.clone());
    }
    if let Some(bad) = tried.iter().find(|tried| tried.status == Status::Failed).filter(|_| device.is_some())
    {
        row.repro = format!("{}{adapter} --variant {}", item.repro, bad.variant);
    } else if device.is_none() {
        row.repro.push_str(" --device cpu");
    }
    row.tried = tried;
    row
}

fn of_case(operator: &str, case: &Case, device: Option<&Device>, variant: Option<&str>) -> Result<Prepared> {
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
    Ok(Prepared { operator, problem: Arc::clone(&case.problem), inputs, expected, stored: false })
}

fn of_golden(path: &Path, only: &str) -> Result<Prepared> {
    let file = io::read(path)?;
    let options = file.options()?.ok_or_else(|| NoJob("no `foveal` header entry".into()))?;
    if let Some(op) = options.get("op").and_then(Value::as_str)
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
            .map(|spec| (spec.name.to_owned(), Value::Bool(true)))
            .collect::<Map<String, Value>>())
    })?;
    let expected = verify::stored(&job.problem.tensors(), |name| job.tensor(name))?;
    if expected.is_empty() {
        return Err(NoJob("no stored output".into()).into());
    }
    let inputs =
        job.inputs()?.into_iter().map(|(name, tensor)| (name.to_owned().into(), tensor.clone())).collect();
    let problem = Arc::clone(&job.problem);
    Ok(Prepared { operator: job.operator, problem, inputs, expected, stored: true })
}

/// Why a file or case is passed over, if that is what `error` means.
fn skip_reason(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(NoJob(reason)) = cause.downcast_ref() {
            return Some(reason.clone());
        }
        let unsupported = |error: &&foveal_kernels::Error| error.kind() == ErrorKind::Unsupported;
        if let Some(error) = cause.downcast_ref::<foveal_kernels::Error>().filter(unsupported) {
            return Some(error.to_string());
        }
        let unsupported = |error: &&foveal::Error| error.kind() == foveal::ErrorKind::Unsupported;
        cause.downcast_ref::<foveal::Error>().filter(unsupported).map(ToString::to_string)
    })
}

fn against_reference(prepared: &Prepared) -> VariantCheck {
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

fn on_device(prepared: &Prepared, device: &Device, only: Option<&str>) -> Vec<VariantCheck> {
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
    /// Queries that see no key, of how many.
    fn blind(&self) -> Option<[usize; 2]> {
        let inputs: Vec<(&str, &HostTensor)> =
            self.inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        self.problem.queries_without_keys(&inputs, &|name| {
            self.expected.iter().find(|output| output.name == name).map(|output| output.values.clone())
        })
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:,=+".contains(c)) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
