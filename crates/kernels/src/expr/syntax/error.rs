//! Errors of expressions, with their place.

use std::fmt;

/// Characters of the text that an excerpt shows.
const EXCERPT: usize = 76;

/// The fault of an expression, and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExprError {
    /// Where, counted from 1 in characters; 0 if no place of the text is at fault (a table declared twice).
    pub column: usize,
    /// The message: what was expected and what came.
    pub message: String,
    excerpt: String,
    /// Characters of the word, number or sign at the column.
    length: usize,
}

impl ExprError {
    /// The error `message` at `column`, counted from 1 in characters (0: nowhere in the text).
    pub fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into(), excerpt: String::new(), length: 1 }
    }

    /// With the excerpt of `text`, the text that [`ExprError::column`] counts in.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.excerpt = excerpt(text, self.column);
        self.length = token_length(text, self.column);
        self
    }

    /// Two lines: the text around the column, at most 78 characters of it, and a caret beneath the column. Empty if the
    /// error is nowhere in the text.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }

    /// This error as one of the argument `argument` (`mask`, `score`), the excerpt beneath the message.
    #[must_use]
    pub fn in_argument(&self, argument: &str) -> crate::Error {
        let message = if self.excerpt.is_empty() {
            self.to_string()
        } else {
            let lines: Vec<String> = self.excerpt.lines().map(|line| format!("  {line}")).collect();
            format!("{self}\n{}", lines.join("\n"))
        };
        let place = self.column.checked_sub(1).map(|column| crate::TextSpan { column, length: self.length });
        crate::Error::invalid(argument, message).at(place)
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.column > 0 {
            write!(f, "column {}: ", self.column)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExprError {}

/// Characters of the word, number or sign that begins at `column`.
fn token_length(text: &str, column: usize) -> usize {
    let rest = text.chars().skip(column.saturating_sub(1));
    rest.take_while(|&c| c.is_alphanumeric() || c == '_' || c == '.').count().max(1)
}

fn excerpt(text: &str, column: usize) -> String {
    let Some(place) = column.checked_sub(1) else { return String::new() };
    // The whole text if it is short; the column a little right of the middle if not.
    let short = text.chars().nth(EXCERPT).is_none();
    let first = if short { 0 } else { place.saturating_sub(EXCERPT / 2) };
    let mut shown = String::new();
    let mut rest = text.chars().skip(first);
    if first > 0 {
        shown.push('…');
    }
    // A line break or a tab would move the caret off its column.
    shown.extend(rest.by_ref().take(EXCERPT).map(|c| if c.is_control() { ' ' } else { c }));
    if rest.next().is_some() {
        shown.push('…');
    }
    let indent = place - first.min(place) + usize::from(first > 0);
    format!("{shown}\n{}^", " ".repeat(indent))
}

#[cfg(test)]
mod tests {
    use super::ExprError;

    #[test]
    fn the_caret_stands_beneath_the_column() {
        let error = ExprError::new(10, "unknown").with_text("causal & windw(1, 0)");
        assert_eq!(error.excerpt(), "causal & windw(1, 0)\n         ^");
        assert_eq!(error.in_argument("mask").to_string().lines().nth(2), Some("           ^"));
    }

    #[test]
    fn long_and_odd_texts_are_trimmed_around_the_column() {
        for text in ["é".repeat(500), "a\t\n".repeat(200)] {
            for column in [1, 2, 39, 40, 41, 250, 499, 500, 501] {
                let error = ExprError::new(column, "x").with_text(&text);
                let lines: Vec<&str> = error.excerpt().lines().collect();
                assert_eq!(lines.len(), 2);
                assert!(lines[0].chars().count() <= super::EXCERPT + 2);
                let caret = lines[1].chars().count() - 1;
                let shown = lines[0].chars().nth(caret);
                let meant = text.chars().nth(column - 1).map(|c| if c.is_control() { ' ' } else { c });
                assert_eq!(shown, meant, "column {column}");
            }
        }
    }
}
