//! Output: results on stdout, as text or as one JSON document; the rest on stderr.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use comfy_table::{LineStyle, TableStyle};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// The two streams and which of them carries what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    /// Print one JSON document instead of text.
    pub(crate) json: bool,
}

impl Ui {
    /// A line of text for people; nothing with `--json`.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        if !self.json {
            print(text.as_ref());
        }
    }

    /// The JSON document; nothing without `--json`.
    pub(crate) fn document(self, value: &Value) {
        if self.json {
            print(&format!("{value:#}"));
        }
    }

    /// Something the caller should know although the command goes on.
    pub(crate) fn warn(self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr(), "warning: {}", crate::failure::single_line(text.as_ref()));
    }

    /// Something worth knowing that changes nothing.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr(), "note: {}", crate::failure::single_line(text.as_ref()));
    }

    /// A progress bar with the time that is left; invisible unless stderr is a terminal.
    pub(crate) fn progress(self, steps: usize, what: &str) -> ProgressBar {
        let bar = ProgressBar::new(steps as u64);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len}, {eta} left  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }
}

/// Why stdout could not be written, once it could not.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// The error that kept output from being written, if there was one: an unreadable result is no success.
pub(crate) fn unwritten() -> Option<&'static str> {
    UNWRITTEN.get().map(String::as_str)
}

fn print(text: &str) {
    if unwritten().is_some() {
        return;
    }
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        cannot_write(&error);
    }
}

/// Remembers that stdout cannot be written. If its reader has closed it (`foveal list | head`), the process ends here,
/// quietly and as others do.
pub(crate) fn cannot_write(error: &std::io::Error) {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        #[cfg(unix)]
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
        std::process::exit(1);
    }
    let _ = UNWRITTEN.set(error.to_string());
}

/// A duration in the unit people read.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{} ms", three(s * 1e3)),
        s => format!("{} us", three(s * 1e6)),
    }
}

/// Three significant digits, without an exponent for the sizes that rates and times have.
pub(crate) fn three(value: f64) -> String {
    match value.abs() {
        x if !x.is_finite() => format!("{value}"),
        0.0 => "0".into(),
        x if x >= 99.95 => format!("{value:.0}"),
        x if x >= 9.995 => format!("{value:.1}"),
        x if x >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.1e}"),
    }
}

/// A share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", three(share * 100.0))
}

/// Bytes in the unit people read.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..0x10_0000 => format!("{} KiB", three(count as f64 / 1024.0)),
        0x10_0000..0x4000_0000 => format!("{} MiB", three(count as f64 / 1_048_576.0)),
        _ => format!("{} GiB", three(count as f64 / 1_073_741_824.0)),
    }
}

/// A table that lines up in a terminal and survives being pasted elsewhere. Columns of numbers are `numbers`.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], numbers: Range<usize>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('-').junction('-')));
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().take(numbers.end).skip(numbers.start) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let shown: Vec<String> = [0.0, 0.001_23, 0.0567, 1.234, 12.34, 123.4, 12345.6].map(three).to_vec();
        assert_eq!(shown, ["0", "1.2e-3", "0.06", "1.23", "12.3", "123", "12346"]);
    }

    #[test]
    fn times_pick_their_unit() {
        assert_eq!(time(Duration::from_micros(12)), "12.0 us");
        assert_eq!(time(Duration::from_micros(1234)), "1.23 ms");
        assert_eq!(time(Duration::from_millis(2500)), "2.50 s");
    }
}
