//! One process a family. RADV reads the family from the environment, and a process cannot change its own environment
//! safely once it has threads; a compiler that aborts also takes only its own process along.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Error, Family, Job, Report, vulkan};

/// Set for workers only; holds the family's name.
const WORKER: &str = "GPU_STATS_WORKER";

/// Names the driver's manifest where it is not at one of the usual places.
pub const ICD_VARIABLE: &str = "GPU_STATS_ICD";

/// How long a compilation may take. ACO needs a second for a kernel that fits, and minutes or more to spill one that needs
/// several times the registers there are.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A running compiler for one family.
///
/// The worker is a program that calls [`serve_if_asked`] first thing in `main`: this crate's binary, or a test built
/// with `harness = false`.
pub struct Compiler {
    family: Family,
    child: Child,
    requests: Option<ChildStdin>,
    replies: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

impl Compiler {
    /// Starts `program` as the worker for a family.
    ///
    /// # Errors
    /// [`Error::NoDriver`] where RADV is not installed or has no null device of this family; [`Error::Worker`] where
    /// the program cannot be run or is no worker.
    pub fn start(program: &Path, family: Family) -> Result<Self, Error> {
        let icd = find_icd()?;
        let mut child = Command::new(program)
            .env(WORKER, family.name())
            .env("RADV_FORCE_FAMILY", family.name())
            .env("VK_ICD_FILENAMES", &icd)
            .env("VK_DRIVER_FILES", &icd)
            // A person's settings must not change what a snapshot sees.
            .env_remove("RADV_DEBUG")
            .env_remove("RADV_PERFTEST")
            .env_remove("ACO_DEBUG")
            .env_remove("VK_INSTANCE_LAYERS")
            .env("MESA_SHADER_CACHE_DISABLE", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Error::Worker { message: format!("{} cannot be run: {e}", program.display()) })?;
        let (Some(requests), Some(replies), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::Worker { message: "the worker has no pipes".to_owned() });
        };
        // Read all the time: a full pipe would stop the worker.
        let complaints = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let (send, lines) = channel();
        // Ends with the worker's output, or when the receiver is gone.
        std::thread::spawn(move || {
            for line in BufReader::new(replies).lines() {
                if line.map_or(true, |line| send.send(line).is_err()) {
                    break;
                }
            }
        });
        let mut compiler =
            Self { family, child, requests: Some(requests), replies: lines, complaints: Some(complaints) };
        compiler.reply::<Result<(), Error>>("start")??;
        Ok(compiler)
    }

    /// The family this worker compiles for.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Compiles one shader and analyses the result.
    ///
    /// # Errors
    /// [`Error::Shader`] where the WGSL is wrong or the driver refuses it; [`Error::Worker`] where the worker died,
    /// with what it said last; [`Error::TooLong`] where it did not finish within [`LIMIT`]. After the latter two, start a
    /// new one.
    pub fn compile(&mut self, job: &Job) -> Result<Report, Error> {
        let line = serde_json::to_string(job).map_err(|e| Error::Worker { message: e.to_string() })?;
        let sent = self.requests.as_mut().is_some_and(|pipe| writeln!(pipe, "{line}").is_ok());
        if !sent {
            return Err(self.died());
        }
        self.reply::<Result<Report, Error>>(&job.label)?
    }

    fn reply<T: serde::de::DeserializeOwned>(&mut self, label: &str) -> Result<T, Error> {
        match self.replies.recv_timeout(LIMIT) {
            Ok(line) => serde_json::from_str(&line).map_err(|e| Error::Worker {
                message: format!(
                    "no reply of a worker: {e} in {:?}",
                    line.chars().take(120).collect::<String>()
                ),
            }),
            Err(RecvTimeoutError::Timeout) => {
                // It would go on for good, and dropping this would wait for it.
                let _ = self.child.kill();
                Err(Error::TooLong { label: label.to_owned(), seconds: LIMIT.as_secs() })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.died()),
        }
    }

    fn died(&mut self) -> Error {
        drop(self.requests.take());
        let status = self.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
        let said = self.complaints.take().and_then(|t| t.join().ok()).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Error::Worker {
            message: format!("the worker for {} ended ({status}): {}", self.family, last.join(" | ")),
        }
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // End of input is the worker's signal to leave.
        drop(self.requests.take());
        let _ = self.child.wait();
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
        let served = name.parse::<Family>().is_ok_and(|family| serve(family).is_ok());
        std::process::exit(i32::from(!served));
    }
}

/// A line of JSON in, a line of JSON out, until the input ends.
fn serve(family: Family) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let mut send = |text: serde_json::Result<String>| {
        writeln!(out, "{}", text?)?;
        out.flush()
    };
    let device = match vulkan::Device::open() {
        Ok(device) => device,
        Err(message) => {
            return send(serde_json::to_string(&Err::<(), _>(Error::NoDriver { message })));
        }
    };
    send(serde_json::to_string(&Ok::<(), Error>(())))?;
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        send(serde_json::to_string(&Report::make(&device, family, &job)))?;
    }
    Ok(())
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
