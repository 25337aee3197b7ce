//! The checked-in figures of shims, a text file for each version of Mesa: a line for each kernel, a column for each device.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{Table, presets};

/// One compiler's figures of one kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Registers a thread: of 32 bits, but with Apple of 16, and with Adreno of four times 32.
    pub registers: u64,
    /// Registers that went to memory, or stores of them, as the driver counts; at least what memory a thread has for itself.
    pub spills: u64,
    /// Share of the threads that a core can hold which it can hold of this kernel.
    pub occupancy: f64,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u64,
    /// Multiply-adds among the instructions of the hot loops; `None` without such a loop, or without assembly.
    pub fma: Option<f64>,
}

/// The figures of a version, by kernel and device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Names of devices, in the order of the columns.
    pub devices: Vec<String>,
    /// Problem and variant, and a figure for each device that runs it.
    pub kernels: BTreeMap<String, BTreeMap<String, Figure>>,
}

impl Figure {
    fn cell(&self) -> String {
        let fma = self.fma.map_or_else(|| "-".to_owned(), |share| format!("{:.0}", share * 100.0));
        format!(
            "{}/{}/{:.0}/{}/{fma}",
            self.registers,
            self.spills,
            self.occupancy * 100.0,
            self.workgroup_bytes
        )
    }

    fn read(cell: &str) -> Option<Self> {
        let mut parts = cell.split('/');
        let percent = |text: &str| text.parse::<f64>().ok().map(|percent| percent / 100.0);
        let figure = Self {
            registers: parts.next()?.parse().ok()?,
            spills: parts.next()?.parse().ok()?,
            occupancy: percent(parts.next()?)?,
            workgroup_bytes: parts.next()?.parse().ok()?,
            fma: match parts.next()? {
                "-" => None,
                share => Some(percent(share)?),
            },
        };
        parts.next().is_none().then_some(figure)
    }
}

/// How the file begins.
const LEGEND: &str = "# registers / spills / occupancy, % / workgroup memory, bytes / multiply-adds, %; compiled, never executed\n";

impl Figures {
    /// Adds a figure.
    pub fn add(&mut self, device: &str, kernel: &str, figure: Figure) {
        if !self.devices.iter().any(|known| known == device) {
            self.devices.push(device.to_owned());
        }
        self.kernels.entry(kernel.to_owned()).or_default().insert(device.to_owned(), figure);
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = LEGEND.to_owned();
        let _ = writeln!(text, "kernel\t{}", self.devices.join("\t"));
        for (kernel, figures) in &self.kernels {
            text.push_str(kernel);
            for device in &self.devices {
                let cell = figures.get(device).map_or_else(|| "-".to_owned(), Figure::cell);
                let _ = write!(text, "\t{cell}");
            }
            text.push('\n');
        }
        text
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// The line that is not one.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let header = lines.next().and_then(|line| line.strip_prefix("kernel\t"));
        let devices: Vec<&str> = header.ok_or("expected a line of devices")?.split('\t').collect();
        let mut figures =
            Self { devices: devices.iter().map(ToString::to_string).collect(), ..Self::default() };
        for line in lines {
            let mut cells = line.split('\t');
            let kernel = cells.next().unwrap_or_default();
            let cells: Vec<&str> = cells.collect();
            if cells.len() != devices.len() {
                return Err(format!("expected {} figures in `{line}`", devices.len()));
            }
            for (device, cell) in devices.iter().zip(cells).filter(|(_, cell)| *cell != "-") {
                let figure =
                    Figure::read(cell).ok_or_else(|| format!("`{cell}` is no figure of {kernel}"))?;
                figures.add(device, kernel, figure);
            }
        }
        Ok(figures)
    }

    /// Kernels that spill more than in `before`, or spill and are not in there; in words.
    #[must_use]
    pub fn new_spills(&self, before: &Self) -> Vec<String> {
        let mut new = Vec::new();
        for (kernel, figures) in &self.kernels {
            for (device, figure) in figures {
                let old = before.kernels.get(kernel).and_then(|all| all.get(device));
                let allowed = old.map_or(0, |old| old.spills);
                if figure.spills > allowed {
                    new.push(format!("{kernel} on {device} spills {}, {allowed} before", figure.spills));
                }
            }
        }
        new
    }

    /// Figures that are worse than in `before` by more than a share, new ones and missing ones; in words. Devices that were not measured
    /// are left out.
    #[must_use]
    pub fn falls(&self, before: &Self, tolerance: f64) -> Vec<String> {
        let mut falls = Vec::new();
        let find = |figures: &Self, kernel: &str, device: &str| {
            figures.kernels.get(kernel).and_then(|of| of.get(device)).copied()
        };
        for (kernel, figures) in &self.kernels {
            for (device, now) in figures {
                let Some(old) = find(before, kernel, device) else {
                    falls.push(format!("{kernel} on {device} has no checked-in figure"));
                    continue;
                };
                let pairs = [
                    ("occupancy", old.occupancy, now.occupancy),
                    ("share of multiply-adds", old.fma.unwrap_or(0.0), now.fma.unwrap_or(0.0)),
                ];
                // Files have whole percents.
                let fell = pairs.iter().filter(|(_, old, now)| *now < old * (1.0 - tolerance) - 0.005);
                falls.extend(fell.map(|(what, old, now)| {
                    format!("{kernel} on {device}: {what} fell from {old:.2} to {now:.2}")
                }));
            }
        }
        for (kernel, figures) in &before.kernels {
            let measured = figures.keys().filter(|device| self.devices.contains(device));
            let gone = measured.filter(|device| find(self, kernel, device).is_none());
            falls.extend(gone.map(|device| format!("{kernel} on {device} is no longer planned")));
        }
        falls
    }
}

/// The version in a driver's text, such as 26.1.6 in `radv Mesa 26.1.6-1`; empty if there is none.
pub fn version(driver: &str) -> String {
    let last = driver.rsplit("Mesa ").next().unwrap_or_default();
    last.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect()
}

/// The figures as a table for people.
pub fn table(figures: &Figures) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec!["kernel".to_owned()];
    header.extend(figures.devices.iter().cloned());
    table.set_header(header);
    for (kernel, of) in &figures.kernels {
        let mut row = vec![kernel.clone()];
        row.extend(figures.devices.iter().map(|d| of.get(d).map_or_else(|| "-".to_owned(), Figure::cell)));
        table.add_row(row);
    }
    table.trim_fmt()
}
