//! One process a family. RADV reads the family from the environment, and a process cannot change its own environment
//! safely once it has threads; a compiler that aborts also takes only its own process along.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, serve};
use crate::{Error, Family, Job, Report, shims, vulkan};

/// Set for workers only; holds the family's name, or [`shims::WORKER`].
pub(crate) const WORKER: &str = "GPU_STATS_WORKER";

/// Names the driver's manifest where it is not at one of the usual places.
pub const ICD_VARIABLE: &str = "GPU_STATS_ICD";

/// A running compiler for one family.
///
/// The worker is a program that calls [`serve_if_asked`] first thing in `main`: this crate's binary, or a test built
/// with `harness = false`.
pub struct Compiler {
    family: Family,
    process: Process,
}

impl Compiler {
    /// Starts `program` as the worker for a family.
    ///
    /// # Errors
    /// [`Error::NoDriver`] where RADV is not installed or has no null device of this family; [`Error::Worker`] where
    /// the program cannot be run or is no worker.
    pub fn start(program: &Path, family: Family) -> Result<Self, Error> {
        let icd = find_icd()?;
        let mut command = Command::new(program);
        command
            .env(WORKER, family.name())
            .env("RADV_FORCE_FAMILY", family.name())
            .env("VK_ICD_FILENAMES", &icd)
            .env("VK_DRIVER_FILES", &icd);
        let mut process = Process::start(&mut command, format!("the worker for {family}"))?;
        process.reply::<()>("start")?;
        Ok(Self { family, process })
    }

    /// The family this worker compiles for.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Compiles one shader and analyses the result.
    ///
    /// # Errors
    /// [`Error::Shader`] where the WGSL is wrong or the driver refuses it; [`Error::Worker`] where the worker died,
    /// with what it said last; [`Error::TooLong`] where it did not finish within [`LIMIT`](crate::LIMIT). After the latter two,
    /// start a new one.
    pub fn compile(&mut self, job: &Job) -> Result<Report, Error> {
        self.process.compile(job)
    }
}

/// Compiles all jobs for all families: one worker a family, families in parallel. Reports come family by family, in the
/// order of the jobs.
///
/// # Errors
/// As [`Compiler::start`] and [`Compiler::compile`]; the first error ends the survey.
pub fn survey(program: &Path, families: &[Family], jobs: &[Job]) -> Result<Vec<Report>, Error> {
    std::thread::scope(|scope| {
        let running: Vec<_> = families
            .iter()
            .map(|&family| {
                scope.spawn(move || {
                    let mut compiler = Compiler::start(program, family)?;
                    jobs.iter().map(|job| compiler.compile(job)).collect::<Result<Vec<_>, Error>>()
                })
            })
            .collect();
        let mut reports = Vec::new();
        for thread in running {
            let family =
                thread.join().map_err(|_| Error::Worker { message: "a thread panicked".to_owned() })?;
            reports.extend(family?);
        }
        Ok(reports)
    })
}

/// Becomes a worker if this process was started as one, and does not return then. Call it first in `main`.
pub fn serve_if_asked() {
    if let Ok(name) = env::var(WORKER) {
        let served = if name == shims::WORKER {
            shims::serve().is_ok()
        } else {
            name.parse::<Family>().is_ok_and(|family| serve_family(family).is_ok())
        };
        std::process::exit(i32::from(!served));
    }
}

fn serve_family(family: Family) -> std::io::Result<()> {
    let opened = vulkan::Device::open("RADV").map(|device| (device, ()));
    serve(opened, |device, job| Report::make(device, family, job))
}

/// The manifest of RADV's driver.
fn find_icd() -> Result<PathBuf, Error> {
    if let Some(named) = env::var_os(ICD_VARIABLE).map(PathBuf::from) {
        return if named.is_file() {
            Ok(named)
        } else {
            Err(Error::NoDriver {
                message: format!("{ICD_VARIABLE} names {}, which is no file", named.display()),
            })
        };
    }
    let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let mut found: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Distributions with two architectures installed have one manifest for each.
            name.starts_with("radeon_icd") && (name == "radeon_icd.json" || name.contains(env::consts::ARCH))
        })
        .collect();
    found.sort();
    found.into_iter().next().ok_or_else(|| Error::NoDriver {
        message: format!(
            "no radeon_icd*.json for {} in {}; Debian and Ubuntu have it in mesa-vulkan-drivers, or name one in {ICD_VARIABLE}",
            env::consts::ARCH,
            folders.join(", ")
        ),
    })
}
