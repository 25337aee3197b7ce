//! `report.json`, and `report.md` for people.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::part::{Outcome, Status};

/// Writes both files as of now.
pub(crate) fn write(out: &Path, outcomes: &[Outcome], taken: Duration) -> Result<()> {
    let document = json!({
        "foveal": env!("CARGO_PKG_VERSION"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "adapter": adapter(outcomes),
        "seconds": taken.as_secs_f64(),
        "passed": outcomes.iter().all(|outcome| !outcome.failed()),
        "parts": outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>(),
    });
    let save = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    save("report.json", format!("{document:#}\n"))?;
    save("report.md", markdown(outcomes, taken))
}

/// The adapter that Foveal took: null before it is known.
fn adapter(outcomes: &[Outcome]) -> Value {
    let opened = outcomes.iter().map(|outcome| &outcome.result["opened"]).find(|opened| opened.is_object());
    opened.map_or(
        Value::Null,
        |opened| json!({ "name": opened["name"], "driver": opened["driver"], "backend": opened["backend"] }),
    )
}

fn markdown(outcomes: &[Outcome], taken: Duration) -> String {
    let mut text = String::new();
    let adapter = adapter(outcomes);
    let of = |field: &str| adapter[field].as_str().unwrap_or("unknown").to_owned();
    let failed = outcomes.iter().filter(|outcome| outcome.failed()).count();
    let stopped = outcomes.iter().filter(|outcome| matches!(outcome.status, Status::TimedOut(_))).count();
    let mut verdict =
        if failed == 0 { "nothing failed".to_owned() } else { format!("**parts that failed: {failed}**") };
    if stopped > 0 {
        let _ = write!(verdict, "; stopped by their time limit: {stopped}");
    }
    let _ = writeln!(
        text,
        "# Foveal {} on {}\n\n{}; {}; {} {}; {:.0} s; {verdict}.\n",
        env!("CARGO_PKG_VERSION"),
        of("name"),
        of("backend"),
        of("driver"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        taken.as_secs_f64(),
    );
    let _ = writeln!(text, "| part | result | value | time |\n|---|---|---|---|");
    for outcome in outcomes {
        let _ = writeln!(
            text,
            "| {} | {} | | {:.1} s |",
            outcome.name,
            cell(&outcome.summary()),
            outcome.seconds
        );
        for (what, value, time) in rows(outcome) {
            let _ = writeln!(text, "| | {} | {value} | {time} |", cell(&what));
        }
    }
    text
}

/// Without what would end a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Rows for the contents of a part's document: a name, a value, a time.
fn rows(outcome: &Outcome) -> Vec<(String, String, String)> {
    let mut rows = Vec::new();
    let result = &outcome.result;
    if let Some(roofline) = result["roofline"].as_object() {
        for (name, rate) in roofline.iter().filter_map(|(name, rate)| Some((name, rate.as_f64()?))) {
            rows.push((name.replace('_', " "), three(rate), String::new()));
        }
    }
    for row in list(&result["results"]) {
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let what = [text("op"), text("shape"), text("dtype"), text("variant")].join(" ");
        let share = row["roofline_share"].as_f64();
        let share = share.map_or(String::new(), |share| format!(", {:.0} % of the roof", 100.0 * share));
        let value = match (row["checked"].as_bool(), row["gflops"].as_f64()) {
            (Some(false), _) | (_, None) => "**wrong**".to_owned(),
            (_, Some(gflops)) => format!("{} GFLOP/s{share}", three(gflops)),
        };
        let time = row["median_ms"].as_f64().map_or(String::new(), |ms| format!("{} ms", three(ms)));
        rows.push((what, value, time));
    }
    for figure in list(&result["figures"]) {
        let what = figure["what"].as_str().unwrap_or_default().to_owned();
        let value = figure["value"].as_f64().map(three).unwrap_or_default();
        rows.push((what, format!("{value} {}", figure["unit"].as_str().unwrap_or_default()), String::new()));
    }
    for failure in list(&result["failures"]) {
        rows.push((failure.as_str().unwrap_or_default().trim().to_owned(), String::new(), String::new()));
    }
    rows
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A number with three digits that count.
fn three(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, status: Status, result: Value) -> Outcome {
        Outcome { name: name.to_owned(), command: vec!["foveal".to_owned()], seconds: 1.25, status, result }
    }

    #[test]
    fn a_report_tells_the_adapter_the_times_and_the_failures() {
        let outcomes = [
            outcome(
                "rates",
                Status::Passed,
                json!({ "opened": { "name": "a GPU", "driver": "1.2", "backend": "vulkan" },
                        "roofline": { "fma": 1234.5, "broadcast": null } }),
            ),
            outcome(
                "bench",
                Status::Passed,
                json!({ "results": [{ "op": "attention", "shape": "1x2x3x4", "dtype": "f32", "variant": "tiled",
                                      "median_ms": 0.25, "gflops": 45.67, "roofline_share": 0.5, "checked": true }] }),
            ),
            outcome(
                "check",
                Status::Failed("exit code 1: a | b".to_owned()),
                json!({ "passed": 3, "failed": 1, "skipped": 0, "failures": ["FAIL  mine"] }),
            ),
            outcome("peer", Status::Skipped("not there".to_owned()), Value::Null),
            outcome("slow", Status::TimedOut(40), Value::Null),
        ];
        let text = markdown(&outcomes, Duration::from_secs(61));
        for expected in [
            "on a GPU",
            "vulkan; 1.2;",
            "61 s; **parts that failed: 1**; stopped by their time limit: 1.",
            "| fma | 1234 |",
            "attention 1x2x3x4 f32 tiled | 45.7 GFLOP/s, 50 % of the roof | 0.2500 ms",
            "3 passed, 1 failed, 0 skipped; FAILED: exit code 1: a \\| b",
            "| | FAIL  mine |",
            "skipped: not there",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| line.ends_with('|')), "{text}");
        assert_eq!(adapter(&outcomes)["name"], "a GPU");
        assert!(outcomes[2].failed() && !outcomes[3].failed());
    }
}
