//! `foveal`: run, check, benchmark and explain attention kernels on any adapter.

mod args;
mod commands;
mod device;
mod failure;
mod io;
mod job;
mod logger;
mod measure;
mod options;
mod picture;
mod ui;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::ArgMatches;

use commands::Verdict;
use ui::Ui;

fn main() -> ExitCode {
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return wrong_command_line(&error),
    };
    logger::start(matches.get_flag("verbose"));
    let ui = Ui { json: matches.get_flag("json") };
    match dispatch(&matches, ui) {
        Ok(verdict) => match ui::unwritten() {
            Some(why) => report(&format!("stdout cannot be written: {why}"), 1, ui.json),
            None if verdict == Verdict::Passed => ExitCode::SUCCESS,
            None => ExitCode::from(1),
        },
        Err(error) => {
            let code = report(&failure::one_line(&error), failure::exit_code(&error), ui.json);
            if let Some(excerpt) = failure::excerpt(&error) {
                let _ = writeln!(std::io::stderr(), "{excerpt}");
            }
            code
        }
    }
}

fn dispatch(matches: &ArgMatches, ui: Ui) -> Result<Verdict> {
    match matches.subcommand() {
        Some(("demo", matches)) => commands::demo::run(matches, ui),
        Some(("info", matches)) => commands::info::run(matches, ui),
        Some(("list", matches)) => commands::list::run(matches, ui),
        Some(("run", matches)) => commands::run::run(matches, ui),
        Some(("check", matches)) => commands::check::run(matches, ui),
        Some(("bench", matches)) => commands::bench::run(matches, ui),
        Some(("plan", matches)) => commands::plan::run(matches, ui),
        Some(("mask", matches)) => commands::mask::run(matches, ui),
        _ => Err(failure::usage("expected a command, see `foveal --help`")),
    }
}

/// Help and version are asked for; the rest is a mistake.
fn wrong_command_line(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind as Kind;
    if matches!(error.kind(), Kind::DisplayHelp | Kind::DisplayVersion) {
        let printed = error.print().and_then(|()| std::io::stdout().flush());
        let Err(error) = printed else { return ExitCode::SUCCESS };
        ui::cannot_write(&error);
        return report(&format!("stdout cannot be written: {error}"), 1, false);
    }
    if error.kind() == Kind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(2);
    }
    // The line did not parse, so whether it asked for JSON has to be looked up in its words.
    let json = std::env::args().any(|word| word == "--json");
    report(&args::one_line(error), 2, json)
}

/// Says what went wrong: always on stderr, and as the one document on stdout where that was asked for.
fn report(message: &str, code: u8, json: bool) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {message}");
    Ui { json }.document(&serde_json::json!({ "error": message, "exit_code": code }));
    ExitCode::from(code)
}
