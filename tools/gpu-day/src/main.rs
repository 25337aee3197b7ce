//! A session on a machine with a GPU, which may be lent for minutes: checks, rates, times and other libraries' times, each within a
//! time limit, into `report.json` and `report.md`. `tools/gpu-day.sh` builds what it runs.
//!
//!     foveal-gpu-day [--short] [--bin FOLDER] [--seconds N] OUT
//!
//! Exits with 0 if nothing failed, 1 if something did, 2 if it cannot begin.

mod part;
mod parts;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::part::Outcome;
use crate::parts::Programs;

struct Options {
    /// Few cases and small shapes, to try the tool itself.
    short: bool,
    /// For everything together.
    limit: Duration,
    programs: PathBuf,
    out: PathBuf,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error:#}\nfoveal-gpu-day [--short] [--bin FOLDER] [--seconds N] OUT");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn options(words: impl Iterator<Item = String>) -> Result<Options> {
    let own = std::env::current_exe().context("the folder of this program")?;
    let programs = own.parent().context("the folder of this program")?.to_owned();
    let mut options =
        Options { short: false, limit: Duration::from_secs(450), programs, out: PathBuf::new() };
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--short" => options.short = true,
            "--bin" => options.programs = value()?.into(),
            "--seconds" => {
                let given = value()?;
                let seconds = given.parse().with_context(|| format!("--seconds: {given} is no number"))?;
                options.limit = Duration::from_secs(seconds);
            }
            _ if word.starts_with('-') => bail!("unknown option {word}"),
            _ => {
                ensure!(options.out.as_os_str().is_empty(), "one folder is expected, got {word} too");
                options.out = word.into();
            }
        }
    }
    ensure!(!options.out.as_os_str().is_empty(), "the folder for the report is missing");
    Ok(options)
}

/// Whether nothing failed.
fn run(options: &Options) -> Result<bool> {
    std::fs::create_dir_all(&options.out).with_context(|| format!("the folder {}", options.out.display()))?;
    let programs = Programs::find(&options.programs, &options.out)?;
    let started = Instant::now();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for part in parts::all(&programs, options.short) {
        let left = options.limit.saturating_sub(started.elapsed());
        eprint!("{:<34}", part.name);
        let outcome = part.run(left, &options.out);
        eprintln!("{:>7.1} s  {}", outcome.seconds, outcome.summary());
        outcomes.push(outcome);
        // After every part: a machine may be taken away.
        report::write(&options.out, &outcomes, started.elapsed())?;
    }
    eprintln!("{}", options.out.join("report.md").display());
    Ok(outcomes.iter().all(|outcome| !outcome.failed()))
}
