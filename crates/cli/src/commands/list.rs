//! `foveal list`: what there is.

use anyhow::Result;
use clap::ArgMatches;
use foveal_kernels::OptionMap;
use serde_json::{Value, json};

use crate::args;
use crate::commands::Verdict;
use crate::job::operators_of;
use crate::options;
use crate::ui::Ui;

pub(crate) fn run(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    let mut document = Vec::new();
    for (index, operator) in operators_of(args::string(matches, "op"))?.into_iter().enumerate() {
        if index > 0 {
            ui.line("");
        }
        ui.line(format!("{}: {}", operator.name(), operator.summary()));
        ui.line("  variants");
        for variant in operator.variants() {
            ui.line(format!("    {:<22} {}", variant.name, variant.summary));
        }
        ui.line("  options");
        for option in operator.options() {
            let typed = format!("--{} {}", option.name.replace('_', "-"), option.value);
            let pad = if typed.len() > 22 { format!("\n    {:22}", "") } else { String::new() };
            ui.line(format!("    {typed:<22}{pad} {}", option.help));
        }
        ui.line(format!("  shapes for bench and plan: {}", operator.shape_help()));
        ui.line("  recipes");
        let mut recipes = Vec::new();
        for recipe in operator.recipes() {
            let parsed: OptionMap = serde_json::from_str(recipe.options).unwrap_or_default();
            let typed = options::typed(&parsed);
            ui.line(format!("    {:<22} {typed}", recipe.name));
            ui.line(format!("    {:22} {}", "", recipe.source));
            recipes.push(json!({
                "name": recipe.name, "options": parsed, "shape": recipe.shape, "source": recipe.source,
            }));
        }
        ui.line(format!("  {} cases (foveal check {})", operator.cases().len(), operator.name()));
        let variants: Vec<Value> =
            operator.variants().iter().map(|v| json!({"name": v.name, "summary": v.summary})).collect();
        let specs: Vec<Value> = operator
            .options()
            .iter()
            .map(|spec| json!({"name": spec.name, "value": spec.value, "help": spec.help}))
            .collect();
        let cases: Vec<String> = operator.cases().into_iter().map(|case| case.name).collect();
        document.push(json!({
            "name": operator.name(),
            "summary": operator.summary(),
            "variants": variants,
            "options": specs,
            "shape": operator.shape_help(),
            "bench_shapes": operator.bench_shapes(),
            "recipes": recipes,
            "cases": cases,
        }));
    }
    ui.document(&json!({ "operators": document }));
    Ok(Verdict::Passed)
}
