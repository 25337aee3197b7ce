//! The figures that are checked in, and what counts as worse.

use std::collections::BTreeSet;

use comfy_table::{Table, presets};
use foveal_shaders::Request;
use serde::{Deserialize, Serialize};

use super::turns::{turns, work};
use crate::{Family, Report, model};

/// How far a share or the number of waves may fall below its checked-in figure, relative to that.
pub const TOLERANCE: f64 = 0.05;

/// A part with many multiply-adds in a loop; see [`Part::hot`](crate::Part::hot).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HotPart {
    /// Multiply-adds of one turn.
    pub fmas: u32,
    /// Multiply-add instructions of all instructions, waits and branches included.
    pub share: f64,
    /// Share of the multiply-add peak by the issue model.
    pub model: f64,
}

/// Figures of one shader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Compiled for.
    pub family: Family,
    /// Operator, shape and options.
    pub problem: String,
    /// The variant; with the shader's name where a plan has several.
    pub variant: String,
    /// Vector registers a lane.
    pub vgprs: u64,
    /// Vector and scalar registers that went to memory.
    pub spills: u64,
    /// Bytes a lane has in memory: spills, and arrays that could not be registers.
    pub scratch_bytes: u64,
    /// Bytes of workgroup memory.
    pub lds_bytes: u64,
    /// Waves that a SIMD holds at once.
    pub waves: f64,
    /// In order of address: in attention the scores, then the values.
    pub hot: Vec<HotPart>,
    /// Share of the multiply-add peak over a key tile, one side of every `if`/`else` counted; `None` where the turns of
    /// the loops are not known.
    pub whole: Option<f64>,
    /// The same with both sides counted.
    pub whole_all_sides: Option<f64>,
    /// Why `whole` is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// The figures of a survey.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The driver they were made with: another version allots registers and schedules differently.
    pub driver: String,
    /// One for each family, problem, variant and shader.
    pub all: Vec<Figure>,
}

impl Figure {
    pub(super) fn new(problem: String, variant: String, request: &Request, report: &Report) -> Self {
        let setting = report.setting();
        let hot = report.hot().map(|part| HotPart {
            fmas: part.counts.fmas,
            share: rounded(part.counts.fma_share()),
            model: rounded(model(&part.taken, setting).share()),
        });
        let loops = work(request).ok_or_else(|| "the work of this kernel is not described".to_owned());
        let loops = loops.and_then(|work| turns(&report.parts, &work));
        let tile = |share: fn(&Report, &[(usize, f64)]) -> f64| {
            loops.as_ref().ok().map(|turns| rounded(share(report, turns)))
        };
        Self {
            family: report.family,
            problem,
            variant,
            vgprs: report.statistics.vgprs,
            spills: report.statistics.spilled_vgprs + report.statistics.spilled_sgprs,
            scratch_bytes: report.statistics.scratch_bytes,
            lds_bytes: report.statistics.lds_bytes,
            waves: rounded(setting.waves_per_simd),
            hot: hot.collect(),
            whole: tile(|report, turns| report.tile(turns).share()),
            whole_all_sides: tile(|report, turns| report.tile_all_sides(turns).share()),
            unknown: loops.err(),
        }
    }

    /// Family, problem and variant, for messages.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.family, self.problem, self.variant)
    }
}

/// Four digits: a file that people compare line by line needs no more.
fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

impl Figures {
    /// The figure of the same shader in another survey.
    pub fn find(&self, like: &Figure) -> Option<&Figure> {
        self.all
            .iter()
            .find(|f| f.family == like.family && f.problem == like.problem && f.variant == like.variant)
    }
}

/// A figure that is worse than the checked-in one.
#[derive(Clone, Debug, PartialEq)]
pub struct Gone {
    /// Family, problem and variant.
    pub name: String,
    /// The figure that got worse, from what to what.
    pub what: String,
}

/// Everything in which `now` is worse than `before` by more than [`TOLERANCE`], has more spills, or is missing.
pub fn compare(before: &Figures, now: &Figures) -> Vec<Gone> {
    let mut worse = Vec::new();
    let families: BTreeSet<Family> = now.all.iter().map(|f| f.family).collect();
    for old in before.all.iter().filter(|f| families.contains(&f.family)) {
        let mut say = |what: String| worse.push(Gone { name: old.name(), what });
        let Some(new) = now.find(old) else {
            say("is no longer planned".to_owned());
            continue;
        };
        if new.spills > old.spills || new.scratch_bytes > old.scratch_bytes {
            say(format!(
                "spills {} to {}, scratch {} B to {} B",
                old.spills, new.spills, old.scratch_bytes, new.scratch_bytes
            ));
        }
        let mut fell = |what: &str, old: f64, new: f64| {
            if new < old * (1.0 - TOLERANCE) {
                say(format!("{what} fell from {old:.4} to {new:.4}"));
            }
        };
        fell("waves per SIMD", old.waves, new.waves);
        fell("whole-kernel share", old.whole.unwrap_or(0.0), new.whole.unwrap_or(0.0));
        // Where the compiler cuts the loops differently, parts cannot be paired: then the least must not fall.
        if old.hot.len() == new.hot.len() {
            for (index, (old, new)) in old.hot.iter().zip(&new.hot).enumerate() {
                fell(&format!("multiply-add share of hot part {index}"), old.share, new.share);
            }
        } else {
            let min = |f: &Figure| f.hot.iter().map(|h| h.share).reduce(f64::min).unwrap_or(0.0);
            fell("least multiply-add share", min(old), min(new));
        }
    }
    worse
}

/// The figures as a table.
pub fn table(figures: &Figures) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "family",
        "problem",
        "variant",
        "VGPRs",
        "spills",
        "LDS",
        "waves",
        "FMA share",
        "model",
        "whole",
        "all sides",
    ]);
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    for f in &figures.all {
        let each = |of: fn(&HotPart) -> f64| {
            let texts: Vec<String> = f.hot.iter().map(|h| percent(of(h))).collect();
            texts.join(" ")
        };
        let whole = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
        let spills = match f.scratch_bytes {
            0 => f.spills.to_string(),
            bytes => format!("{} ({bytes} B)", f.spills),
        };
        table.add_row([
            f.family.to_string(),
            f.problem.clone(),
            f.variant.clone(),
            f.vgprs.to_string(),
            spills,
            f.lds_bytes.to_string(),
            format!("{:.2}", f.waves),
            each(|h| h.share),
            each(|h| h.model),
            whole(f.whole),
            whole(f.whole_all_sides),
        ]);
    }
    table.trim_fmt()
}
