//! The document that both tools print with `--json`, and the table of the two side by side.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Measurements on an adapter.
#[derive(Serialize, Deserialize)]
pub struct Document {
    pub adapter: String,
    pub results: Vec<Row>,
}

/// A measurement. Foveal gives no times for a kernel that failed its check.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub op: String,
    pub shape: String,
    pub dtype: String,
    pub variant: String,
    pub median_ms: Option<f64>,
    pub p10_ms: Option<f64>,
    pub p90_ms: Option<f64>,
    pub gflops: Option<f64>,
    pub checked: bool,
}

impl Row {
    /// The median, if the kernel is right.
    fn valid_ms(&self) -> Option<f64> {
        self.median_ms.filter(|_| self.checked)
    }

    fn is_same_problem(&self, other: &Self) -> bool {
        (&self.op, &self.shape, &self.dtype) == (&other.op, &other.shape, &other.dtype)
    }
}

impl Document {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{}: not what `foveal bench --json` prints", path.display()))
    }
}

/// The measurements of both for each problem that both have, with the ratio of their speeds.
pub fn compare(foveal: &Document, burn: &Document) -> Result<String> {
    ensure!(
        foveal.adapter == burn.adapter,
        "measured on different adapters: Foveal on {}, burn on {}",
        foveal.adapter,
        burn.adapter
    );
    let mut table = vec![
        ["problem", "foveal", "ms", "GFLOP/s", "burn", "ms", "GFLOP/s", "foveal/burn"].map(String::from),
    ];
    for ours in &foveal.results {
        for theirs in burn.results.iter().filter(|theirs| theirs.is_same_problem(ours)) {
            let ratio = ours.valid_ms().zip(theirs.valid_ms()).map(|(ours, theirs)| theirs / ours);
            let problem = format!("{} {} {}", ours.op, ours.shape, ours.dtype);
            let [name, ms, rate] = cells(ours);
            let [their_name, their_ms, their_rate] = cells(theirs);
            let ratio = ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}x"));
            table.push([problem, name, ms, rate, their_name, their_ms, their_rate, ratio]);
        }
    }
    ensure!(table.len() > 1, "the two measured no problem in common");
    Ok(render(&table))
}

fn cells(row: &Row) -> [String; 3] {
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), three);
    let name = if row.checked { row.variant.clone() } else { format!("{} (wrong)", row.variant) };
    [name, number(row.median_ms), number(row.gflops)]
}

/// Three digits.
pub fn three(value: f64) -> String {
    let decimals = (2 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.decimals$}")
}

/// Columns of text are aligned left, columns of numbers right.
fn render<const N: usize>(table: &[[String; N]]) -> String {
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let is_number = |column: usize| {
        table[1..].iter().all(|row| row[column].starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    let numbers: [bool; N] = std::array::from_fn(|column| column > 0 && is_number(column));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).zip(numbers).map(|((cell, width), number)| {
            if number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    table.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(variant: &str, shape: &str, ms: f64, checked: bool) -> Document {
        let row = Row {
            op: "attention".into(),
            shape: shape.into(),
            dtype: "f32".into(),
            variant: variant.into(),
            median_ms: Some(ms),
            p10_ms: Some(ms),
            p90_ms: Some(ms),
            gflops: Some(1.0),
            checked,
        };
        Document { adapter: "one".into(), results: vec![row] }
    }

    #[test]
    fn the_ratio_is_of_speeds() {
        let foveal = document("stream", "1x1x8x8", 2.0, true);
        let table = compare(&foveal, &document("burn", "1x1x8x8", 5.0, true)).unwrap();
        assert!(table.ends_with("2.50x"), "{table}");
    }

    #[test]
    fn a_wrong_result_has_no_ratio() {
        let foveal = document("stream", "1x1x8x8", 2.0, true);
        let table = compare(&foveal, &document("burn", "1x1x8x8", 5.0, false)).unwrap();
        assert!(table.contains("burn (wrong)") && table.ends_with('-'), "{table}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let foveal = document("stream", "1x1x8x8", 2.0, true);
        assert!(compare(&foveal, &document("burn", "1x1x9x8", 5.0, true)).is_err());
        let elsewhere = Document { adapter: "two".into(), ..document("burn", "1x1x8x8", 5.0, true) };
        assert!(compare(&foveal, &elsewhere).is_err());
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([1234.5, 12.345, 0.012_345].map(three), ["1234", "12.3", "0.0123"]);
    }
}
