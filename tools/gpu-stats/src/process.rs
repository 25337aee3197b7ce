//! Worker processes: a line of JSON in, a line of JSON out. A process cannot change its own environment safely once it has
//! threads, and drivers read their device from it; a compiler that aborts also takes only its own process along.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Job};

/// How long a compilation may take. A compiler needs a second for a kernel that fits, and minutes or more to spill one that needs
/// several times the registers there are.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A running worker.
pub(crate) struct Process {
    name: String,
    child: Child,
    requests: Option<ChildStdin>,
    replies: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts a worker; `name` is for messages.
    pub(crate) fn start(command: &mut Command, name: String) -> Result<Self, Error> {
        let mut child = command
            // A person's settings must not change what a snapshot sees.
            .env_remove("RADV_DEBUG")
            .env_remove("RADV_PERFTEST")
            .env_remove("ACO_DEBUG")
            .env_remove("NAK_DEBUG")
            .env_remove("IR3_SHADER_DEBUG")
            .env_remove("AGX_MESA_DEBUG")
            .env_remove("VK_INSTANCE_LAYERS")
            .env("MESA_SHADER_CACHE_DISABLE", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Error::Worker {
                message: format!("{} cannot be run: {e}", command.get_program().display()),
            })?;
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
        Ok(Self { name, child, requests: Some(requests), replies: lines, complaints: Some(complaints) })
    }

    /// The worker's answer to a job.
    pub(crate) fn compile<T: DeserializeOwned>(&mut self, job: &Job) -> Result<T, Error> {
        let line = serde_json::to_string(job).map_err(|e| Error::Worker { message: e.to_string() })?;
        let sent = self.requests.as_mut().is_some_and(|pipe| writeln!(pipe, "{line}").is_ok());
        if !sent {
            return Err(self.died());
        }
        self.reply(&job.label)
    }

    /// The next answer.
    pub(crate) fn reply<T: DeserializeOwned>(&mut self, label: &str) -> Result<T, Error> {
        match self.replies.recv_timeout(LIMIT) {
            Ok(line) => serde_json::from_str::<Result<T, Error>>(&line).map_err(|e| Error::Worker {
                message: format!(
                    "no reply of a worker: {e} in {:?}",
                    line.chars().take(120).collect::<String>()
                ),
            })?,
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
        Error::Worker { message: format!("{} ended ({status}): {}", self.name, last.join(" | ")) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // End of input is the worker's signal to leave.
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}

/// The worker's side: says what opening the device brought, then answers jobs until the input ends.
pub(crate) fn serve<D, H: Serialize, R: Serialize>(
    opened: Result<(D, H), String>,
    compile: impl Fn(&D, &Job) -> Result<R, Error>,
) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let mut send = |text: serde_json::Result<String>| {
        writeln!(out, "{}", text?)?;
        out.flush()
    };
    let device = match opened {
        Ok((device, hello)) => {
            send(serde_json::to_string(&Ok::<H, Error>(hello)))?;
            device
        }
        Err(message) => {
            return send(serde_json::to_string(&Err::<(), _>(Error::NoDriver { message })));
        }
    };
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        send(serde_json::to_string(&compile(&device, &job)))?;
    }
    Ok(())
}
