//! `foveal check`: every variant on this adapter against the f64 reference, or against stored outputs.

mod item;
mod prepared;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ArgMatches;
use foveal::testing::Status;
use foveal_kernels::{Operator, did_you_mean, testing::Case};
use serde_json::json;

use self::item::{Item, ItemResult, What};
use self::prepared::{against_reference, of_case, of_golden, on_device, skip_reason};
use crate::args;
use crate::commands::{Verdict, plan};
use crate::device::{Choice, Device};
use crate::failure::{one_line, unknown, usage};
use crate::io;
use crate::job::{check_variant, operators_of};
use crate::options;
use crate::ui::{self, Ui};

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
        if args::string(matches, "dtype").is_some() {
            return Err(usage("--dtype needs a --shape to be checked at"));
        }
        for operator in operators {
            if let Some((name, _)) = options::given(matches, *operator)?.iter().next() {
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
        quantisation: Vec::new(),
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
    row.quantisation = prepared.quantisation();
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

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:,=+".contains(c)) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
