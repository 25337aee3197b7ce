//! Text into tokens, one at a time, with columns.

use super::names::MAX_NAME;
use crate::expr::ExprError;

/// One token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Name(&'a str),
    /// At most 2^31: one more than an int can be, for the sake of `-2147483648`.
    Int(i64),
    /// Finite in f32, and not rounded to zero there.
    Float(f64),
    Symbol(&'static str),
    End,
}

/// Longest first, so that `<=` is not `<`.
const SYMBOLS: [&str; 19] =
    ["==", "!=", "<=", ">=", "<", ">", "|", "&", "+", "-", "*", "/", "%", "!", "(", ")", "[", "]", ","];

/// Signs of other languages, longest first, and what to write here.
const FOREIGN: [(&str, &str); 23] = [
    ("&&", "write `&`"),
    ("||", "write `|`"),
    ("===", "write `==`"),
    ("!==", "write `!=`"),
    ("<>", "write `!=`"),
    ("=<", "write `<=`"),
    ("=>", "write `>=`"),
    ("**", "there is no power: write `x * x`"),
    ("^", "there is no power: write `x * x`; on bools write `!=`"),
    ("//", "write `/`, which on ints rounds down"),
    ("~", "write `!`"),
    ("?", "there is no conditional: a mask says what is seen, `min`, `max` and `clamp` choose numbers"),
    ("<<", "there are no shifts: multiply by a power of two"),
    (">>", "there are no shifts: divide by a power of two"),
    ("−", "write `-`"),
    ("–", "write `-`"),
    ("×", "write `*`"),
    ("≤", "write `<=`"),
    ("≥", "write `>=`"),
    ("≠", "write `!=`"),
    ("∧", "write `&`"),
    ("∨", "write `|`"),
    ("¬", "write `!`"),
];

pub(crate) struct Lexer<'a> {
    rest: &'a str,
    column: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text, column: 1 }
    }

    /// The next token and its column; at the end of the text, [`Token::End`] one beyond it, as often as asked.
    pub(crate) fn token(&mut self) -> Result<(Token<'a>, usize), ExprError> {
        let spaces = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.take(spaces);
        let column = self.column;
        let Some(first) = self.rest.chars().next() else { return Ok((Token::End, column)) };
        let token = if first.is_ascii_alphabetic() || first == '_' {
            self.name()?
        } else if first.is_ascii_digit() || first == '.' {
            self.number()?
        } else {
            self.symbol(first)?
        };
        Ok((token, column))
    }

    /// Takes `bytes` of the text, all ASCII.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.column += bytes;
        taken
    }

    fn name(&mut self) -> Result<Token<'a>, ExprError> {
        let column = self.column;
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let name = self.take(end.unwrap_or(self.rest.len()));
        if name.len() > MAX_NAME {
            return Err(ExprError::new(
                column,
                format!("a name has at most {MAX_NAME} characters, this one {}", name.len()),
            ));
        }
        Ok(Token::Name(name))
    }

    fn number(&mut self) -> Result<Token<'a>, ExprError> {
        let column = self.column;
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let whole = digits(0);
        let mut end = whole;
        let mut float = false;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            if whole == 0 || fraction == 0 {
                return Err(ExprError::new(
                    column,
                    "a float has digits on both sides of its point: write `0.5`, `2.0`",
                ));
            }
            end += 1 + fraction;
            float = true;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits((end + 1 + sign).min(bytes.len()));
            if exponent > 0 {
                end += 1 + sign + exponent;
                float = true;
            }
        }
        if bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')) {
            return Err(ExprError::new(
                column,
                "expected a decimal number (`12`, `12.25`, `1e-3`) and then an operator",
            ));
        }
        let text = self.take(end);
        if float { float_literal(text, column) } else { int_literal(text, column) }
    }

    fn symbol(&mut self, first: char) -> Result<Token<'a>, ExprError> {
        let column = self.column;
        if let Some((sign, hint)) = FOREIGN.iter().find(|(sign, _)| self.rest.starts_with(sign)) {
            return Err(ExprError::new(column, format!("`{sign}` is not an operator: {hint}")));
        }
        let symbol = SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol)).copied().unwrap_or("");
        if !symbol.is_empty() {
            self.take(symbol.len());
            return Ok(Token::Symbol(symbol));
        }
        let message = match first {
            '=' => "`=` is not an operator: write `==`".into(),
            '"' | '\'' | '`' => "names and numbers stand without quotes".into(),
            '{' | '}' => "group with `(` and `)`".into(),
            _ if first.is_control() || first.is_whitespace() => {
                format!("unexpected character U+{:04X}", u32::from(first))
            }
            _ => format!("unexpected character `{first}`"),
        };
        Err(ExprError::new(column, message))
    }
}

fn int_literal(text: &str, column: usize) -> Result<Token<'static>, ExprError> {
    match text.parse::<i64>() {
        Ok(value) if value <= 1 << 31 => Ok(Token::Int(value)),
        _ => Err(int_range(column)),
    }
}

/// A number does not fit an int.
pub(crate) fn int_range(column: usize) -> ExprError {
    ExprError::new(
        column,
        "an int is at most 2147483647 (32 bits, signed); for a larger number write a float, as in `3e9`",
    )
}

fn float_literal(text: &str, column: usize) -> Result<Token<'static>, ExprError> {
    // Rust's own grammar of floats includes this one.
    let value = text.parse::<f64>().unwrap_or(f64::NAN);
    check_float(value).map_err(|message| ExprError::new(column, message))?;
    Ok(Token::Float(value))
}

/// Whether the device, which computes in f32, can have this number.
pub(crate) fn check_float(value: f64) -> Result<(), String> {
    if value.abs() <= f64::from(f32::MAX) && (value == 0.0 || value.abs() >= f64::from(f32::MIN_POSITIVE)) {
        Ok(())
    } else {
        Err("a float is 0, or between 1.1754944e-38 and 3.4028235e38 (32 bits)".into())
    }
}
