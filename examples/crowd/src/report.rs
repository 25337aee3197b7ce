//! What is printed: lines as they become known, or JSON in the end.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use foveal::{SelfCheckReport, wgpu};
use foveal_examples_common::Host;
use image::RgbImage;
use serde_json::{Map, Value, json};

use crate::check::Checked;
use crate::crowd::Crowd;
use crate::game::{Dense, Parts, Sliced};
use crate::times::{Times, milliseconds};

/// Collects figures, and prints lines unless JSON is asked for.
pub(crate) struct Report {
    json: Option<Map<String, Value>>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json: json.then(Map::new) }
    }

    pub(crate) fn begin(&mut self, host: &Host, crowd: &Crowd) {
        let wgpu::AdapterInfo { name, backend, driver, driver_info, .. } = &host.info;
        let driver =
            [backend.to_str(), driver.trim(), driver_info].into_iter().filter(|part| !part.is_empty());
        let driver = driver.collect::<Vec<_>>().join(", ");
        let plan = crowd.kernel.plan();
        let problem = plan.problem.describe();
        self.say(format_args!("adapter     {name} ({driver})"));
        self.say(format_args!("attention   {problem}, variant {}", plan.variant));
        self.say(format_args!("self-check  {}", told(crowd.kernel.self_check())));
        for refused in crowd.kernel.refused() {
            self.say(format_args!("refused     {}: {}", refused.variant, refused.reason));
        }
        self.keep("adapter", json!({ "name": name, "driver": driver }));
        self.keep("attention", json!({ "problem": problem, "variant": plan.variant }));
        self.keep("agents", json!(crowd.world.agents()));
    }

    pub(crate) fn played(&mut self, times: &Times, parts: &Parts, checked: &Checked) {
        let Checked { comparison, lists } = checked;
        let (median, p95) = (times.median(), times.p95());
        let share = parts.attention.as_secs_f64() / median.as_secs_f64().max(f64::MIN_POSITIVE);
        self.say(format_args!("frames      {}: median {}, p95 {}", times.len(), time(median), time(p95)));
        self.say(format_args!(
            "of which    attention {} ({:.0} %), sorting and listing {}, drawing {}",
            time(parts.attention),
            100.0 * share,
            time(parts.before),
            time(parts.drawing)
        ));
        let [wide, close] = lists.mean;
        self.say(format_args!(
            "lists       {wide:.1} and {close:.1} blocks of {} on average, {} at most, {} cut short; right: they have all {} \
             pairs within reach that were looked for",
            crate::world::BLOCK,
            lists.longest,
            lists.shortened,
            lists.pairs
        ));
        self.say(format_args!(
            "attention   right: {:.1e} off the f64 reference (relative RMSE; {:.0e} allowed)",
            comparison.rel_rmse, comparison.tolerance.rel_rmse
        ));
        self.keep(
            "frames",
            json!({
                "count": times.len(),
                "median_ms": milliseconds(median),
                "p95_ms": milliseconds(p95),
                "attention_ms": milliseconds(parts.attention),
                "attention_share": share,
                "sorting_ms": milliseconds(parts.before),
                "drawing_ms": milliseconds(parts.drawing),
            }),
        );
        self.keep(
            "lists",
            json!({
                "mean_blocks": lists.mean,
                "longest": lists.longest,
                "cut_short": lists.shortened,
                "pairs_checked": lists.pairs,
            }),
        );
        self.keep(
            "reference",
            json!({ "rel_rmse": comparison.rel_rmse, "allowed": comparison.tolerance.rel_rmse }),
        );
    }

    pub(crate) fn sliced(&mut self, sliced: &Sliced) {
        let Sliced { budget, slices, frames, steps, kept } = sliced;
        let (median, p95) = (slices.median(), slices.p95());
        self.say(format_args!(
            "in slices   {} of {} frames kept the budget of {}: median {}, p95 {}",
            kept,
            slices.len(),
            time(*budget),
            time(median),
            time(p95)
        ));
        self.say(format_args!(
            "            {steps} steps, {:.1} frames each; frames take {}; the same as a whole, bit for bit",
            ratio(frames.len(), *steps),
            time(frames.median())
        ));
        self.keep(
            "slices",
            json!({
                "budget_ms": milliseconds(*budget),
                "count": slices.len(),
                "kept": kept,
                "median_ms": milliseconds(median),
                "p95_ms": milliseconds(p95),
                "steps": steps,
                "frame_median_ms": milliseconds(frames.median()),
            }),
        );
    }

    pub(crate) fn compared(&mut self, dense: &Dense) {
        let faster = dense.scaled.as_secs_f64() / dense.listed.as_secs_f64().max(f64::MIN_POSITIVE);
        self.say(format_args!(
            "dense       a step of {} agents takes {} with a dense mask, so one of all would take {}; with lists it takes {}: \
             {faster:.1} times faster",
            grouped(dense.agents),
            time(dense.step),
            time(dense.scaled),
            time(dense.listed),
        ));
        self.keep(
            "dense",
            json!({
                "agents": dense.agents,
                "step_ms": milliseconds(dense.step),
                "attention_ms": milliseconds(dense.attention),
                "scaled_step_ms": milliseconds(dense.scaled),
                "listed_step_ms": milliseconds(dense.listed),
                "faster": faster,
            }),
        );
    }

    pub(crate) fn written(&mut self, path: &Path, sheet: &RgbImage, bytes: usize) {
        let (width, height) = sheet.dimensions();
        let path = path.display();
        self.say(format_args!("sheet       {path}: {width} x {height}, {} kB", bytes.div_ceil(1000)));
        self.keep(
            "sheet",
            json!({ "path": path.to_string(), "width": width, "height": height, "bytes": bytes }),
        );
    }

    pub(crate) fn end(self) {
        if let Some(figures) = self.json {
            print(format_args!("{:#}", Value::Object(figures)));
        }
    }

    fn say(&self, line: fmt::Arguments<'_>) {
        if self.json.is_none() {
            print(line);
        }
    }

    fn keep(&mut self, name: &str, value: Value) {
        if let Some(figures) = &mut self.json {
            figures.insert(name.to_owned(), value);
        }
    }
}

/// Prints a line. Nobody reading it is no reason to stop.
fn print(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn told(report: SelfCheckReport) -> String {
    match report {
        SelfCheckReport::Passed { duration, .. } => format!("passed in {}", time(duration)),
        SelfCheckReport::Remembered => "passed before, with these shaders on this driver".to_owned(),
        SelfCheckReport::Off => "off".to_owned(),
        other => format!("{other:?}"),
    }
}

fn time(duration: Duration) -> String {
    format!("{:.1} ms", milliseconds(duration))
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b.max(1) as f64
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(20_000), "20,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
