//! Errors as people and scripts see them: one line, and an exit code that says whose fault it is.

use std::fmt;

use foveal_kernels::ErrorKind;

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
        if cause.is::<Usage>() || cause.is::<crate::job::NoJob>() {
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

/// The error and its causes on one line, whatever line breaks a driver or a file put into its message.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    single_line(&format!("{error:#}"))
}

/// `text` without line breaks and control characters: messages quote names from files, and a terminal obeys escapes.
pub(crate) fn single_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(['\n', '\r', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect();
    words.join(" ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `; did you mean X?` for the candidate nearest to `name`, or nothing if none is near.
pub(crate) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + name.chars().count() / 3 => {
            format!("; did you mean `{candidate}`?")
        }
        _ => String::new(),
    }
}

/// That `got` is not among the names there are.
pub(crate) fn unknown(what: &str, got: &str, known: &[&str]) -> anyhow::Error {
    let hint = suggestion(got, known.iter().copied());
    usage(format!("unknown {what} `{got}`: expected one of {}{hint}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(suggestion("tield", ["naive", "tiled"]), "; did you mean `tiled`?");
        assert_eq!(suggestion("xyz", ["naive", "tiled"]), "");
    }

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(single_line("a\n  b\r\nc\u{1b}[0m"), "a b c\u{fffd}[0m");
    }

    #[test]
    fn exit_codes_tell_mistakes_from_failures() {
        assert_eq!(exit_code(&usage("x").context("reading")), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("device lost")), 1);
        assert_eq!(exit_code(&anyhow::Error::new(foveal_kernels::Error::invalid("q", "rank"))), 2);
        assert_eq!(exit_code(&anyhow::Error::new(foveal_kernels::Error::internal("q", "bug"))), 1);
    }
}
