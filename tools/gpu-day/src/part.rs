//! A part of the session: one program, run within a time limit.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// How often a running program is looked at.
const STEP: Duration = Duration::from_millis(20);

/// A program to run, or the reason why not.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) command: Result<Vec<String>, String>,
    pub(crate) limit: Duration,
    pub(crate) form: Form,
}

/// The form of a program's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON document.
    Json,
    /// Lines of `foveal check`: those of a check that runs out of time count too.
    Check,
}

/// How a part went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) seconds: f64,
    pub(crate) status: Status,
    /// The document, or the counts of a check; null where there is none.
    pub(crate) result: Value,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Status {
    Passed,
    /// With the reason.
    Failed(String),
    Skipped(String),
    /// After as many seconds.
    TimedOut(u64),
}

impl Outcome {
    pub(crate) fn failed(&self) -> bool {
        let wrong = self.result["failed"].as_u64().is_some_and(|failed| failed > 0);
        wrong || matches!(self.status, Status::Failed(_))
    }

    /// One line.
    pub(crate) fn summary(&self) -> String {
        let counts = ["passed", "failed", "skipped"]
            .map(|what| self.result[what].as_u64().map(|count| format!("{count} {what}")));
        let counts = counts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let status = match &self.status {
            Status::Passed if counts.is_empty() => "done".to_owned(),
            Status::Passed => String::new(),
            Status::Failed(why) => format!("FAILED: {why}"),
            Status::Skipped(why) => format!("skipped: {why}"),
            Status::TimedOut(seconds) => format!("stopped after {seconds} s"),
        };
        [counts, status].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }

    /// The outcome as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let (status, reason) = match &self.status {
            Status::Passed => ("passed", Value::Null),
            Status::Failed(why) => ("failed", json!(why)),
            Status::Skipped(why) => ("skipped", json!(why)),
            Status::TimedOut(_) => ("timed out", Value::Null),
        };
        json!({
            "name": self.name, "command": self.command.join(" "), "seconds": self.seconds,
            "status": status, "reason": reason, "result": self.result,
        })
    }
}

impl Part {
    /// Runs it for at most `left`; its output stays in `out`.
    pub(crate) fn run(self, left: Duration, out: &Path) -> Outcome {
        let begun = Instant::now();
        let Self { name, command, limit, form } = self;
        let outcome = |command, status, result| Outcome {
            name: name.clone(),
            command,
            seconds: begun.elapsed().as_secs_f64(),
            status,
            result,
        };
        let command = match command {
            Ok(command) => command,
            Err(why) => return outcome(Vec::new(), Status::Skipped(why), Value::Null),
        };
        let limit = limit.min(left);
        if limit < Duration::from_secs(1) {
            return outcome(command, Status::Skipped("no time was left".to_owned()), Value::Null);
        }
        let file = out.join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        match finish(&command, limit, &file) {
            Ok((status, text)) => {
                let (status, result) = read(form, &text, status, &file, limit);
                outcome(command, status, result)
            }
            Err(error) => outcome(command, Status::Failed(format!("{error:#}")), Value::Null),
        }
    }
}

/// The exit code, none if the time ran out, and the output. Files `.out` and `.err` take it, so that a full pipe stops nothing.
fn finish(command: &[String], limit: Duration, file: &Path) -> Result<(Option<i32>, String)> {
    let (program, arguments) = command.split_first().context("no program")?;
    let path = |extension: &str| -> PathBuf { file.with_extension(extension) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(path("out"))?)
        .stderr(File::create(path("err"))?)
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let code = wait(&mut child, limit)?;
    let text = String::from_utf8_lossy(&std::fs::read(path("out"))?).into_owned();
    Ok((code, text))
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<i32>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            // A signal's victim has no code.
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        if Instant::now() >= end {
            // It may have ended just now, which is no error.
            let _ = child.kill();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(STEP);
    }
}

fn read(form: Form, text: &str, code: Option<i32>, file: &Path, limit: Duration) -> (Status, Value) {
    let result = match form {
        Form::Json => serde_json::from_str(text).unwrap_or(Value::Null),
        Form::Check => counts(text),
    };
    let status = match code {
        None => Status::TimedOut(limit.as_secs()),
        Some(0) if form == Form::Json && result.is_null() => {
            Status::Failed("its output is no JSON document".to_owned())
        }
        Some(0) => Status::Passed,
        Some(code) => Status::Failed(format!("exit code {code}: {}", last_line(&file.with_extension("err")))),
    };
    (status, result)
}

/// Counts of the lines of `foveal check`, and the lines of failures.
fn counts(text: &str) -> Value {
    let starting = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    let failures: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("FAIL") || line.trim_start().starts_with("again: "))
        .collect();
    json!({
        "passed": starting("PASS"), "failed": starting("FAIL"), "skipped": starting("SKIP"), "failures": failures,
    })
}

fn last_line(path: &Path) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_default();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("foveal-gpu-day-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn shell(script: &str, limit: Duration, form: Form) -> Part {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        Part { name: "a part".to_owned(), command: Ok(command), limit, form }
    }

    #[test]
    #[cfg(unix)]
    fn a_check_that_runs_out_of_time_keeps_its_lines() {
        let folder = folder("time");
        let script = "echo 'PASS  a'; echo 'FAIL  b'; echo '      again: foveal check'; exec sleep 60";
        let begun = Instant::now();
        let outcome = shell(script, Duration::from_secs(2), Form::Check).run(Duration::from_secs(9), &folder);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!(outcome.status, Status::TimedOut(2));
        assert_eq!(
            (outcome.result["passed"].as_u64(), outcome.result["failed"].as_u64()),
            (Some(1), Some(1))
        );
        assert!(outcome.failed() && outcome.summary().contains("stopped after 2 s"), "{outcome:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn documents_are_read_and_failures_have_reasons() {
        let folder = folder("documents");
        let long = Duration::from_secs(60);
        let run = |script: &str| shell(script, long, Form::Json).run(long, &folder);
        let good = run("echo '{\"rate\": 2.5}'");
        assert!(!good.failed() && good.result["rate"] == 2.5, "{good:?}");
        let mute = run("true");
        assert!(mute.failed(), "{mute:?}");
        let bad = run("echo 'error: no adapter' >&2; exit 2");
        assert_eq!(bad.status, Status::Failed("exit code 2: error: no adapter".to_owned()));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_time_or_program_a_part_is_skipped() {
        let folder = folder("skipped");
        let part = shell("true", Duration::from_secs(5), Form::Json);
        let outcome = part.run(Duration::from_millis(10), &folder);
        assert_eq!(outcome.status, Status::Skipped("no time was left".to_owned()));
        let reason = "not installed".to_owned();
        let part = Part { command: Err(reason.clone()), ..shell("", Duration::from_secs(5), Form::Json) };
        assert_eq!(part.run(Duration::from_secs(5), &folder).status, Status::Skipped(reason));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
