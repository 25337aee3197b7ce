//! Printing: lines as they become known, or JSON in the end.

use std::fmt;
use std::path::Path;

use foveal_examples_common::{Host, say, self_check, thousands, time};
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
        let (name, driver) = (&host.info.name, host.driver());
        let plan = crowd.bound.kernel().plan();
        let problem = plan.problem.describe();
        self.say(format_args!("adapter     {name} ({driver})"));
        self.say(format_args!("attention   {problem}, variant {}", plan.variant));
        self.say(format_args!("self-check  {}", self_check(crowd.bound.kernel().self_check())));
        for refused in crowd.bound.kernel().refused() {
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
            thousands(dense.agents),
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
            say(format_args!("{:#}", Value::Object(figures)));
        }
    }

    fn say(&self, line: fmt::Arguments<'_>) {
        if self.json.is_none() {
            say(line);
        }
    }

    fn keep(&mut self, name: &str, value: Value) {
        if let Some(figures) = &mut self.json {
            figures.insert(name.to_owned(), value);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b.max(1) as f64
}
