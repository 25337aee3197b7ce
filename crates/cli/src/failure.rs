//! Errors as people and scripts see them: one line, and an exit code that says whose fault it is.

use std::fmt;

use foveal_kernels::{ErrorKind, did_you_mean};

/// The caller's mistake, or a device that is not there: exit code 2. Everything else that goes wrong is 1.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error that the caller can mend.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// The process's exit code for `error`.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<Usage>() || cause.is::<NoJob>() {
            return 2;
        }
        if let Some(error) = cause.downcast_ref::<foveal_kernels::Error>() {
            return match error.kind() {
                ErrorKind::Invalid | ErrorKind::Unsupported => 2,
                _ => 1,
            };
        }
        if let Some(error) = cause.downcast_ref::<foveal::Error>() {
            use foveal::ErrorKind as Cause;
            return match error.kind() {
                Cause::Usage | Cause::NoAdapter | Cause::Unsupported => 2,
                _ => 1,
            };
        }
    }
    1
}

/// The error and its causes on one line, without the line breaks that a driver or a file put into its message.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let text = with_causes(error);
    single_line(split_excerpt(&text).map_or(&text, |(message, _)| message))
}

/// The error and its causes, but for those that the message says already.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.contains(cause.trim_end()) {
            continue;
        }
        text += if text.is_empty() { "" } else { ": " };
        text += &cause;
    }
    text
}

/// The place of a text that an error points at, if it does: two lines, the second a caret beneath the place.
pub(crate) fn excerpt(error: &anyhow::Error) -> Option<String> {
    let text = with_causes(error);
    let (_, excerpt) = split_excerpt(&text)?;
    let shown = |line: &str| -> String { line.chars().filter(|c| !c.is_control()).collect() };
    Some(excerpt.lines().map(shown).collect::<Vec<_>>().join("\n"))
}

/// An error's message, and the two lines at its end that point at a place, if there are such.
fn split_excerpt(text: &str) -> Option<(&str, &str)> {
    let (before, caret) = text.rsplit_once('\n')?;
    if caret.trim_start() != "^" {
        return None;
    }
    let start = before.rfind('\n')?;
    Some((&text[..start], &text[start + 1..]))
}

/// `text` without line breaks and control characters: messages quote names from files, and a terminal obeys escapes.
pub(crate) fn single_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(['\n', '\r', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect();
    words.join(" ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The error of a name `got` that is not among the `known` ones.
pub(crate) fn unknown(what: &str, got: &str, known: &[&str]) -> anyhow::Error {
    let hint = did_you_mean(got, known.iter().copied());
    usage(format!("unknown {what} `{got}`: expected one of {}{hint}", known.join(", ")))
}

/// Why a file is no job for this version: not an error where many files are gone through.
#[derive(Debug)]
pub(crate) struct NoJob(pub(crate) String);

impl fmt::Display for NoJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoJob {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(single_line("a\n  b\r\nc\u{1b}[0m"), "a b c\u{fffd}[0m");
    }

    #[test]
    fn what_an_error_points_at_stands_apart() {
        let error = usage("mask: column 3: unknown\n  a b\n    ^").context("reading\nit");
        assert_eq!(one_line(&error), "reading it: mask: column 3: unknown");
        assert_eq!(excerpt(&error).as_deref(), Some("  a b\n    ^"));
        for other in ["a", "a\n^b", "a ^", "a\nb\nc"] {
            assert_eq!(excerpt(&usage(other)), None, "{other}");
        }
    }

    #[test]
    fn a_cause_that_the_message_repeats_is_told_once() {
        let planned = foveal::Error::from(foveal_kernels::Error::invalid("q", "rank 3"));
        let error = anyhow::Error::new(planned).context("reading");
        assert_eq!(one_line(&error), "reading: q: rank 3");
    }

    #[test]
    fn exit_codes_tell_mistakes_from_failures() {
        assert_eq!(exit_code(&usage("x").context("reading")), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("device lost")), 1);
        assert_eq!(exit_code(&anyhow::Error::new(foveal_kernels::Error::invalid("q", "rank"))), 2);
        assert_eq!(exit_code(&anyhow::Error::new(foveal_kernels::Error::internal("q", "bug"))), 1);
    }
}
