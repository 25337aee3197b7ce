//! The compilers of four makers' GPUs: Mesa's drivers on devices that execute nothing.
//!
//! Mesa has shims that answer a kernel driver's calls for a device that is not there. On them its Vulkan drivers open that device
//! and compile as for the real one. `tools/drivers.sh` fetches shims and drivers; [`ShimCompiler`] starts a worker on one of
//! [`DEVICES`] and gives back a [`Figure`] of each kernel, [`measure`] does so for all planned ones.

mod figures;
mod mix;
mod profile;
mod statistics;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use foveal_kernels::AdapterProfile;
use serde::{Deserialize, Serialize};

pub use figures::{Figure, Figures, table, version};

use crate::planned::{Planned, plan_all};
use crate::process::{Process, serve as serve_jobs};
use crate::worker::WORKER as VARIABLE;
use crate::{Error, Job, spirv, vulkan};

/// Marks workers of shims.
pub(crate) const WORKER: &str = "shim";

/// Names the folder that `tools/drivers.sh` filled, where it is not the workspace's `target/drivers`.
pub const DRIVERS_VARIABLE: &str = "FOVEAL_DRIVERS";

/// Makers of GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Compiled for by RADV's ACO.
    Amd,
    /// By NVK's NAK.
    Nvidia,
    /// By Turnip's ir3.
    Qualcomm,
    /// By Honeykrisp's AGX compiler.
    Apple,
}

/// A GPU that need not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// As `target/drivers/run` takes it.
    pub name: &'static str,
    /// Its maker.
    pub maker: Maker,
    /// The name that people know it by.
    pub about: &'static str,
    /// Subgroups that a core (a SIMD of AMD's) holds at most; threads, with Apple.
    held: u64,
}

impl Device {
    /// Whether AMD's GPU has waves of 64 lanes only.
    fn wide(self) -> bool {
        self.name.contains("vega")
    }
}

const fn device(name: &'static str, maker: Maker, about: &'static str, held: u64) -> Device {
    Device { name, maker, about, held }
}

/// The devices, a generation each. The first of each maker is the one that tests take by default.
pub const DEVICES: [Device; 9] = [
    device("radv:navi31", Maker::Amd, "Radeon RX 7900", 16),
    device("radv:navi21", Maker::Amd, "Radeon RX 6800", 16),
    device("radv:gfx1201", Maker::Amd, "Radeon RX 9070", 16),
    device("radv:vega10", Maker::Amd, "Radeon Vega 64", 10),
    device("nvk:172", Maker::Nvidia, "GeForce RTX 3080", 48),
    device("nvk:162", Maker::Nvidia, "GeForce RTX 2080", 32),
    device("turnip:750", Maker::Qualcomm, "Adreno 750", 16),
    device("turnip:660", Maker::Qualcomm, "Adreno 660", 16),
    device("honeykrisp", Maker::Apple, "M1", 1024),
];

/// The folder of checked-in figures, a file for each version of Mesa.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/shims"))
}

/// The first device of each maker.
pub fn usual() -> Vec<Device> {
    let mut usual: Vec<Device> = Vec::new();
    for device in DEVICES {
        if usual.iter().all(|known| known.maker != device.maker) {
            usual.push(device);
        }
    }
    usual
}

/// The script that starts programs on drivers.
fn runner() -> Result<PathBuf, Error> {
    let folder = std::env::var_os(DRIVERS_VARIABLE).map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/drivers")),
        PathBuf::from,
    );
    let script = folder.join("run");
    if folder.join("testing/icd").is_dir() && script.is_file() {
        return Ok(script);
    }
    let message = format!("{} has no drivers: run tools/drivers.sh", folder.display());
    Err(Error::NoDriver { message })
}

/// A worker's answer about a kernel.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    subgroup: u32,
    workgroup_bytes: u32,
    statistics: Vec<(String, u64)>,
    representations: Vec<(String, String)>,
}

/// A running compiler for one device.
pub struct ShimCompiler {
    device: Device,
    process: Process,
    profile: AdapterProfile,
}

impl ShimCompiler {
    /// Starts `program`, which calls [`serve_if_asked`](crate::serve_if_asked) first thing in `main`, as the worker for a device.
    ///
    /// # Errors
    /// [`Error::NoDriver`] where `tools/drivers.sh` has fetched nothing, or its driver has no such device; [`Error::Worker`] where
    /// the program cannot be run or is no worker.
    pub fn start(program: &Path, device: Device) -> Result<Self, Error> {
        let mut command = Command::new(runner()?);
        command.arg(device.name).arg(program).env(VARIABLE, WORKER);
        let mut process = Process::start(&mut command, format!("the worker for {}", device.name))?;
        let profile = process.reply("start")?;
        Ok(Self { device, process, profile })
    }

    /// The device as the engine would see it.
    pub fn profile(&self) -> &AdapterProfile {
        &self.profile
    }

    /// Compiles one shader.
    ///
    /// # Errors
    /// As [`Compiler::compile`](crate::Compiler::compile).
    pub fn compile(&mut self, job: &Job) -> Result<Figure, Error> {
        let answer: Answer = self.process.compile(job)?;
        let said = statistics::Said {
            subgroup: answer.subgroup,
            workgroup_bytes: answer.workgroup_bytes,
            statistics: &answer.statistics,
            representations: &answer.representations,
        };
        statistics::figure(self.device, &said)
            .map_err(|message| Error::Shader { label: job.label.clone(), message })
    }
}

/// The worker's side.
pub(crate) fn serve() -> std::io::Result<()> {
    let opened = vulkan::Device::open("").map(|device| {
        let profile = profile::profile(&device);
        (device, profile)
    });
    serve_jobs(opened, |device, job| {
        let spirv = spirv::translate(job)?;
        let fail = |message| Error::Shader { label: job.label.clone(), message };
        let raw = device.compile(&spirv, job.subgroup_size).map_err(fail)?;
        Ok(Answer {
            subgroup: raw.subgroup_size,
            workgroup_bytes: spirv.workgroup_bytes,
            statistics: raw.statistics.into_iter().map(|s| (s.name, s.value)).collect(),
            representations: raw.representations,
        })
    })
}

/// Figures of every planned kernel.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The version of Mesa.
    pub version: String,
    /// The figures.
    pub figures: Figures,
    /// Variants without figures, and why.
    pub missing: Vec<String>,
}

/// Plans, specialises and compiles every variant of every operator's samples for these devices, two of them at a time.
///
/// # Errors
/// As [`planned::measure`](crate::planned::measure).
pub fn measure(program: &Path, devices: &[Device]) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    for pair in devices.chunks(2) {
        let parts = std::thread::scope(|scope| {
            let threads: Vec<_> =
                pair.iter().map(|&device| scope.spawn(move || measure_device(program, device))).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().map_err(|_| Error::Worker { message: "a thread panicked".to_owned() })?
            });
            joined.collect::<Result<Vec<_>, Error>>()
        })?;
        for (device, part) in pair.iter().zip(parts) {
            for (kernel, figure) in part.kernels {
                survey.figures.add(device.name, &kernel, figure);
            }
            survey.version = part.version;
            survey.missing.extend(part.missing);
        }
    }
    Ok(survey)
}

/// Those of one device.
struct Part {
    version: String,
    kernels: Vec<(String, Figure)>,
    missing: Vec<String>,
}

fn measure_device(program: &Path, device: Device) -> Result<Part, Error> {
    let mut compiler = ShimCompiler::start(program, device)?;
    let version = version(&compiler.profile.driver);
    let mut part = Part { version, kernels: Vec::new(), missing: Vec::new() };
    let planned = plan_all(&compiler.profile, device.name, &|_| true, &mut part.missing)?;
    let mut known: BTreeMap<String, Figure> = BTreeMap::new();
    for Planned { problem, variant, text, .. } in planned {
        let kernel = format!("{problem} {variant}");
        if let Some(&figure) = known.get(&text) {
            part.kernels.push((kernel, figure));
            continue;
        }
        match compiler.compile(&Job::new(format!("{} {kernel}", device.name), text.clone())) {
            Err(error @ Error::TooLong { .. }) => {
                part.missing.push(error.to_string());
                compiler = ShimCompiler::start(program, device)?;
            }
            Err(error) => return Err(error),
            Ok(figure) => {
                known.insert(text, figure);
                part.kernels.push((kernel, figure));
            }
        }
    }
    Ok(part)
}
