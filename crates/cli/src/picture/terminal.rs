//! Attention weights as characters.

use std::fmt::Write;
use std::io::IsTerminal;

use super::{Weights, tone};

/// From nothing to all.
const RAMP: &[u8] = b" .:-=+*#%@";

/// How a terminal shows shades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shades {
    /// Characters of more and less ink: for pipes, files and old terminals.
    Ink,
    /// Two coloured pixels a character.
    Colour,
}

impl Shades {
    /// The capabilities of stdout.
    pub(crate) fn of_stdout() -> Self {
        let able = || match anstyle_query::windows::enable_ansi_colors() {
            // A console of Windows that interprets escapes has all colours, and no variable says so.
            Some(able) => able,
            None => has_all_colours(|name| std::env::var(name).ok()),
        };
        // In this order: a pipe is no console whose mode could be set.
        if std::io::stdout().is_terminal() && !anstyle_query::no_color() && able() {
            Self::Colour
        } else {
            Self::Ink
        }
    }
}

/// Whether a terminal's variables promise 24-bit colours. `COLORTERM` is for that, but neither every terminal nor `ssh` passes it on.
fn has_all_colours(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, known: &[&str]| variable(name).is_some_and(|value| known.contains(&&*value));
    is("COLORTERM", &["truecolor", "24bit"])
        || is("TERM_PROGRAM", &["iTerm.app", "WezTerm", "ghostty", "vscode", "Hyper"])
        || is("TERM", &["alacritty", "foot", "wezterm", "xterm-ghostty", "xterm-kitty"])
        || variable("TERM").is_some_and(|value| value.ends_with("-direct"))
        || variable("WT_SESSION").is_some()
}

/// The weights on `columns` by half as many characters, which is about square.
pub(crate) fn heat_map(weights: &Weights, columns: usize, shades: Shades) -> String {
    let rows = columns / 2;
    let mut text = String::new();
    for row in 0..rows {
        for column in 0..columns {
            match shades {
                Shades::Ink => {
                    // Ten levels of ink are few: squared, the many small weights leave the page white.
                    let level = tone(brightest(weights, (row, rows), (column, columns))).powi(2);
                    text.push(char::from(RAMP[index(level, RAMP.len())]));
                }
                Shades::Colour => {
                    let colour = |half: usize| {
                        let weight = brightest(weights, (2 * row + half, 2 * rows), (column, columns));
                        colorous::INFERNO.eval_continuous(tone(weight))
                    };
                    let (top, bottom) = (colour(0), colour(1));
                    let _ = write!(
                        text,
                        "\x1b[38;2;{};{};{};48;2;{};{};{}m\u{2580}",
                        top.r, top.g, top.b, bottom.r, bottom.g, bottom.b
                    );
                }
            }
        }
        if shades == Shades::Colour {
            text.push_str("\x1b[0m");
        }
        let kept = text.trim_end_matches(' ').len();
        text.truncate(kept);
        text.push('\n');
    }
    text
}

/// The largest weight in a cell: a mean would wash out the single keys that matter.
fn brightest(weights: &Weights, (row, rows): (usize, usize), (column, columns): (usize, usize)) -> f64 {
    let span = |at: usize, of: usize, length: usize| {
        let first = at * length / of;
        first..((at + 1) * length / of).max(first + 1).min(length)
    };
    span(row, rows, weights.queries)
        .flat_map(|query| span(column, columns, weights.keys).map(move |key| query * weights.keys + key))
        .map(|at| weights.values[at])
        .fold(0.0, f64::max)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "0 to 1 times ten"
)]
fn index(level: f64, count: usize) -> usize {
    ((level * count as f64) as usize).min(count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_known_by_their_variables() {
        let given = |name: &'static str, value: &'static str| {
            has_all_colours(|asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(
            given("COLORTERM", "truecolor") && given("TERM", "xterm-kitty") && given("TERM", "xterm-direct")
        );
        assert!(given("WT_SESSION", "a number") && given("TERM_PROGRAM", "vscode"));
        assert!(
            !given("TERM", "xterm-256color")
                && !given("TERM", "dumb")
                && !given("TERM_PROGRAM", "Apple_Terminal")
        );
    }

    #[test]
    fn a_diagonal_is_drawn_as_one() {
        let values = (0..16).map(|at| if at % 5 == 0 { 1.0 } else { 0.0 }).collect();
        let weights = Weights { label: String::new(), queries: 4, keys: 4, values };
        assert_eq!(heat_map(&weights, 8, Shades::Ink), "@@\n  @@\n    @@\n      @@\n");
    }

    #[test]
    fn more_cells_than_weights_are_no_problem() {
        let weights = Weights { label: String::new(), queries: 1, keys: 1, values: vec![1.0] };
        assert!(heat_map(&weights, 6, Shades::Ink).starts_with("@@@@@@\n"));
    }
}
