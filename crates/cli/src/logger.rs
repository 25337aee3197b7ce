//! Warnings of the engine, on stderr. A variant that was refused must be seen without asking for it.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr {
    verbose: bool,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Graphics crates warn about drivers and loaders all the time; only what our own crates say is for everyone.
        let ours = metadata.target().starts_with("foveal");
        let max = match (ours, self.verbose) {
            (true, true) => Level::Debug,
            (true, false) => Level::Warn,
            (false, true) => Level::Warn,
            (false, false) => return false,
        };
        metadata.level() <= max
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let ours = record.target().starts_with("foveal");
            // A driver's errors are only notes as long as the command succeeds.
            let level = if ours && record.level() <= Level::Warn { "warning" } else { "note" };
            let origin = if ours { String::new() } else { format!("{}: ", record.target()) };
            let text = crate::failure::single_line(&record.args().to_string());
            let _ = writeln!(std::io::stderr(), "{level}: {origin}{text}");
        }
    }

    fn flush(&self) {}
}

/// Sends log records to stderr from now on.
pub(crate) fn start(verbose: bool) {
    // A second logger is refused; tests that call this twice lose nothing.
    let _ = log::set_boxed_logger(Box::new(Stderr { verbose }));
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
}
