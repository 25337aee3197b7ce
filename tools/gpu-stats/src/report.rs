//! The result of one compilation, and its table.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::model::{Pipe, Setting, Whole, model, whole, whole_all_sides};
use crate::parts::{Counts, Part, analyse, analyse_without, inner_loops, per_tile};
use crate::{Error, Family, Job, spirv, vulkan};

/// The driver's statistics, by RADV's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// "VGPRs": vector registers a lane.
    pub vgprs: u64,
    /// "SGPRs": scalar registers a wave; RDNA always allots 128.
    pub sgprs: u64,
    /// "Spilled VGPRs".
    pub spilled_vgprs: u64,
    /// "Spilled SGPRs".
    pub spilled_sgprs: u64,
    /// "LDS size": workgroup memory in bytes, rounded up to what the hardware allots.
    pub lds_bytes: u64,
    /// "Scratch size": bytes a lane has in memory because registers did not do.
    pub scratch_bytes: u64,
    /// "Subgroups per SIMD": rounded up, and in waves of 32 lanes on RDNA. [`Report::setting`] has an unrounded figure.
    pub waves_per_simd: u64,
    /// "Code size" in bytes.
    pub code_bytes: u64,
    /// "Instructions".
    pub instructions: u64,
    /// "Latency": the compiler's estimate in cycles, blind to trip counts.
    pub latency: u64,
    /// "Inverse Throughput": likewise, with all SIMDs filled.
    pub inverse_throughput: u64,
}

impl Statistics {
    fn read(all: &[vulkan::Statistic]) -> Self {
        let get = |name: &str| all.iter().find(|s| s.name == name).map_or(0, |s| s.value);
        Self {
            vgprs: get("VGPRs"),
            sgprs: get("SGPRs"),
            spilled_vgprs: get("Spilled VGPRs"),
            spilled_sgprs: get("Spilled SGPRs"),
            lds_bytes: get("LDS size"),
            scratch_bytes: get("Scratch size"),
            waves_per_simd: get("Subgroups per SIMD"),
            code_bytes: get("Code size"),
            instructions: get("Instructions"),
            latency: get("Latency"),
            inverse_throughput: get("Inverse Throughput"),
        }
    }
}

/// Everything known about one shader on one family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The job's label.
    pub label: String,
    /// The family it was compiled for.
    pub family: Family,
    /// The driver's name for the device.
    pub device: String,
    /// The driver's version, such as "Mesa 22.3.6": snapshots are of one version.
    pub driver: String,
    /// Lanes of a wave.
    pub wave_size: u32,
    /// Invocations a workgroup along x, y, z.
    pub workgroup_size: [u32; 3],
    /// The driver's figures.
    pub statistics: Statistics,
    /// The program cut into parts, in order of address.
    pub parts: Vec<Part>,
    /// ACO's assembly text.
    pub assembly: String,
}

impl Report {
    pub(crate) fn make(device: &vulkan::Device, family: Family, job: &Job) -> Result<Self, Error> {
        let spirv = spirv::translate(job)?;
        let fail = |message| Error::Shader { label: job.label.clone(), message };
        let raw = device.compile(&spirv, job.subgroup_size).map_err(fail)?;
        let assembly = raw
            .representations
            .into_iter()
            .find(|(name, _)| name == "Assembly")
            .map(|(_, text)| text)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| fail("this driver was built without a disassembler".to_owned()))?;
        Ok(Self {
            label: job.label.clone(),
            family,
            device: raw.device,
            driver: raw.driver,
            wave_size: raw.subgroup_size,
            workgroup_size: spirv.workgroup_size,
            statistics: Statistics::read(&raw.statistics),
            parts: analyse(&assembly),
            assembly,
        })
    }

    /// The parts with many multiply-adds in a loop, in order of address: the caller knows which is what.
    pub fn hot(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.hot())
    }

    /// Input of the model besides the code.
    pub fn setting(&self) -> Setting {
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Setting::new(
            self.family,
            self.wave_size,
            small(self.statistics.vgprs),
            small(self.statistics.lds_bytes),
            self.workgroup_size.iter().product(),
        )
    }

    /// The whole kernel's estimate for one key tile, given the turns of the loops inside the key loop; see [`per_tile`].
    pub fn tile(&self, turns: &[(usize, f64)]) -> Whole {
        whole(&self.parts, &per_tile(&self.parts, turns), self.setting())
    }

    /// As [`Report::tile`], with both sides of every `if`/`else`.
    pub fn tile_all_sides(&self, turns: &[(usize, f64)]) -> Whole {
        whole_all_sides(&self.parts, &per_tile(&self.parts, turns), self.setting())
    }

    /// Takes the bodies of plain `if`s that begin with these labels out of what the model counts.
    pub fn leave_out(&mut self, rare: &[String]) {
        self.parts = analyse_without(&self.assembly, rare);
    }

    /// Loops inside the key loop that `turns` says nothing of: [`Report::tile`] counts them once.
    pub fn unknown_turns(&self, turns: &[(usize, f64)]) -> Vec<usize> {
        let known = |l: &usize| turns.iter().any(|(number, _)| number == l);
        inner_loops(&self.parts).into_iter().filter(|l| !known(l)).collect()
    }

    /// One line of the driver's figures.
    pub fn headline(&self) -> String {
        let s = &self.statistics;
        let threads: u32 = self.workgroup_size.iter().product();
        let mut line = format!(
            "{:<8} wave{} VGPRs {} SGPRs {} spills {}v+{}s LDS {} B waves/SIMD {:.2} (driver {}) threads {} code {} B",
            self.family,
            self.wave_size,
            s.vgprs,
            s.sgprs,
            s.spilled_vgprs,
            s.spilled_sgprs,
            s.lds_bytes,
            self.setting().waves_per_simd,
            s.waves_per_simd,
            threads,
            s.code_bytes
        );
        if s.scratch_bytes > 0 {
            let _ = write!(line, " SCRATCH {} B", s.scratch_bytes);
        }
        line
    }

    /// The parts as a table: hot ones, or all of them with their other vector instructions.
    pub fn table(&self, all: bool) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut header = vec![
            "part", "loop", "blocks", "FMA", "of", "share", "-waits", "VALU", "trans", "LDS rd", "LDS wr",
            "VMEM", "SALU", "other", "model", "pipe",
        ];
        if all {
            header.push("other VALU");
        }
        table.set_header(header);
        for part in self.parts.iter().filter(|p| all || p.hot()) {
            let c = &part.counts;
            let cost = model(&part.taken, self.setting());
            let pipe = match cost.binding() {
                Pipe::Valu => "valu",
                Pipe::Lds => "lds",
                Pipe::Vmem => "vmem",
            };
            let mut row = vec![
                format!("{}{}", part.index, if part.hot() { "*" } else { "" }),
                place(part),
                if part.labels.0 == part.labels.1 {
                    part.labels.0.clone()
                } else {
                    format!("{}-{}", part.labels.0, part.labels.1)
                },
                c.fmas.to_string(),
                if c.instructions == part.taken.instructions {
                    c.instructions.to_string()
                } else {
                    format!("{}/{}", part.taken.instructions, c.instructions)
                },
                percent(c.fma_share()),
                percent(c.fma_share_without_waits()),
                c.valu.to_string(),
                (c.transcendental + c.slow_valu).to_string(),
                widths(&c.lds_reads),
                widths(&merge(&c.lds_writes, &c.lds_other)),
                widths(&merge(&c.vmem_loads, &c.vmem_stores)),
                (c.salu + c.smem).to_string(),
                (c.waits + c.branches + c.barriers).to_string(),
                percent(cost.share()),
                format!("{pipe} {:.0}", cost.cycles()),
            ];
            if all {
                row.push(top(c, 5));
            }
            table.add_row(row.into_iter().enumerate().map(|(column, text)| {
                let left = matches!(column, 1 | 2 | 9..=11 | 15..);
                Cell::new(text).set_alignment(if left { CellAlignment::Left } else { CellAlignment::Right })
            }));
        }
        table.trim_fmt()
    }
}

/// The loop a part is in: `L1.3` is loop 3 inside of loop 1; a `+` says that there are loops inside.
fn place(part: &Part) -> String {
    let path: Vec<String> = part.path.iter().map(ToString::to_string).collect();
    match path.as_slice() {
        [] => "-".to_owned(),
        _ => format!("L{}{}", path.join("."), if part.innermost { "" } else { "+" }),
    }
}

/// `6xb128 2xb64`.
fn widths(by_bytes: &BTreeMap<u32, u32>) -> String {
    let total: u32 = by_bytes.values().sum();
    if total == 0 {
        return "0".to_owned();
    }
    let each: Vec<String> =
        by_bytes.iter().rev().map(|(bytes, count)| format!("{count}xb{}", bytes * 8)).collect();
    each.join(" ")
}

fn merge(a: &BTreeMap<u32, u32>, b: &BTreeMap<u32, u32>) -> BTreeMap<u32, u32> {
    let mut both = a.clone();
    for (width, count) in b {
        *both.entry(*width).or_default() += count;
    }
    both
}

fn top(counts: &Counts, max: usize) -> String {
    let mut names: Vec<_> = counts.valu_mnemonics.iter().collect();
    names.sort_by_key(|&(name, count)| (std::cmp::Reverse(*count), name));
    let shown: Vec<String> = names
        .iter()
        .take(max)
        .map(|(name, count)| format!("{count} {}", name.trim_start_matches("v_")))
        .collect();
    shown.join(", ")
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}
