//! The text that is printed.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use foveal::SelfCheckReport;

/// Prints a line. A closed stdout is no reason to stop.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A duration in milliseconds.
#[must_use]
pub fn time(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// How a self-check went.
#[must_use]
pub fn self_check(report: SelfCheckReport) -> String {
    match report {
        SelfCheckReport::Passed { duration, .. } => format!("passed in {}", time(duration)),
        SelfCheckReport::Remembered => "passed before, with these shaders on this driver".to_owned(),
        SelfCheckReport::Off => "off".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A count with its thousands apart.
#[must_use]
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let told = [0, 999, 20_000, 1_234_567].map(thousands);
        assert_eq!(told, ["0", "999", "20,000", "1,234,567"]);
    }
}
