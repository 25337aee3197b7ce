//! Prints and serialises the result of each item.

use foveal::testing::Status;
use foveal_kernels::Name;
use serde_json::{Value, json};

use super::item::{Item, ItemResult};
use crate::ui::Ui;
use crate::verify::{self, Checked};

/// Prints what came of an item.
pub(super) fn print(ui: Ui, item: &Item, row: &ItemResult, width: usize) {
    let word = match row.status {
        Status::Passed => "PASS",
        Status::Failed => "FAIL",
        Status::Skipped => "SKIP",
    };
    let errors: Vec<String> = row
        .tried
        .iter()
        .filter_map(|tried| {
            let error = tried.checked.as_ref().map(Checked::rel_rmse);
            match (tried.status, error) {
                (Status::Skipped, _) => None,
                (_, Some(error)) => Some(format!("{} {error:.1e}", tried.variant)),
                (_, None) => Some(format!("{} -", tried.variant)),
            }
        })
        .collect();
    let reason = shortened(row.reason.as_deref().unwrap_or_default());
    let line = format!("{word}  {:<width$}  {}{reason}", item.name, errors.join("  "));
    ui.line(line.trim_end());
    for tried in row.tried.iter().filter(|tried| tried.status == Status::Passed) {
        if let Some(note) = tried.checked.as_ref().and_then(Checked::note) {
            ui.line(format!("      {}: {note}", tried.variant));
        }
    }
    if !row.quantisation.is_empty() {
        let bounds: Vec<String> =
            row.quantisation.iter().map(|(name, bound)| format!("{name} by up to {bound:.1e}")).collect();
        ui.line(format!("      note: rounding to integers alone moves {}", bounds.join(", ")));
    }
    if let Some(note) = row.blind.and_then(verify::blindness) {
        ui.line(format!("      note: {note}"));
    }
    if row.status == Status::Failed {
        for tried in row.tried.iter().filter(|tried| tried.status == Status::Failed) {
            ui.line(format!("      {}: {}", tried.variant, tried.reason.as_deref().unwrap_or_default()));
        }
        ui.line(format!("      again: {}", row.repro));
    }
}

/// Reasons quote what a file says, which may be a page of mask.
fn shortened(reason: &str) -> String {
    const MOST: usize = 110;
    if reason.chars().count() <= MOST {
        reason.to_owned()
    } else {
        reason.chars().take(MOST).chain("...".chars()).collect()
    }
}

/// The same for `--json`.
pub(super) fn json_row(item: &Item, row: &ItemResult) -> Value {
    let checked = || row.tried.iter().filter_map(|tried| tried.checked.as_ref());
    let furthest = checked().max_by(|a, b| {
        (!a.passed(), a.rel_rmse())
            .partial_cmp(&(!b.passed(), b.rel_rmse()))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let variants: Vec<Value> = row
        .tried
        .iter()
        .map(|tried| {
            json!({
                "variant": tried.variant,
                "status": tried.status.word(),
                "rel_rmse": tried.checked.as_ref().map(Checked::rel_rmse),
                "ill_conditioned": tried.checked.as_ref().and_then(Checked::ill_conditioned),
                "reason": tried.reason,
            })
        })
        .collect();
    json!({
        "name": item.name,
        "status": row.status.word(),
        "rel_rmse": furthest.map(Checked::rel_rmse),
        "worst": furthest.and_then(Checked::worst),
        "repro": row.repro,
        "reason": row.reason,
        "queries_without_keys": row.blind.map(|[blind, _]| blind),
        "quantisation": quantisation(&row.quantisation),
        "variants": variants,
    })
}

/// The bound of each output, or null where no inputs are integers. JSON has no infinity: a bound that is none is null.
fn quantisation(bounds: &[(Name, f64)]) -> Option<serde_json::Map<String, Value>> {
    let fields = bounds.iter().map(|(name, bound)| (name.to_string(), json!(bound)));
    (!bounds.is_empty()).then(|| fields.collect())
}
