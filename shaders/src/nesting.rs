//! How deeply a text nests.

use wgsl_parse::lexer::Token;

use crate::error::ErrorKind;

/// How deeply brackets and operator chains may nest, taken together. The passes recurse over the tree; this bounds their
/// stack, on a thread of a browser too.
const MAX_DEPTH: usize = 512;
/// How many `<` may be open at once. The parser looks ahead at each for the end of a template list, and looks again from
/// the `<` within: the work doubles with every one.
const MAX_OPEN_ANGLES: usize = 12;

/// How deep the tree at the current token is, at most.
pub(crate) struct Depth {
    open: Vec<Level>,
    total: usize,
}

/// Tokens met since a bracket opened.
#[derive(Default)]
struct Level {
    opened_by: Option<Token>,
    /// Operators since the last separator: a chain of them is a tree as deep as it is long.
    chain: usize,
    /// `<` that may begin a template list.
    angles: usize,
}

impl Default for Depth {
    fn default() -> Self {
        Self { open: vec![Level::default()], total: 0 }
    }
}

impl Depth {
    /// Takes the next token. Fails if it closes nothing, or nests too deeply.
    pub(crate) fn step(&mut self, token: &Token, after_ident: bool) -> Result<(), (ErrorKind, String)> {
        let Some(level) = self.open.last_mut() else {
            return Err((ErrorKind::Syntax, "unbalanced brackets".into()));
        };
        match token {
            Token::SymSemicolon => {
                self.total -= level.chain;
                *level = Level { opened_by: level.opened_by.take(), ..Level::default() };
            }
            Token::SymComma => {
                self.total -= level.chain;
                level.chain = 0;
            }
            Token::SymParenLeft | Token::SymBracketLeft | Token::SymBraceLeft => {
                level.chain += 1;
                self.total += 2;
                self.open.push(Level { opened_by: Some(token.clone()), ..Level::default() });
            }
            Token::SymParenRight | Token::SymBracketRight | Token::SymBraceRight => {
                let opener = match token {
                    Token::SymParenRight => Token::SymParenLeft,
                    Token::SymBracketRight => Token::SymBracketLeft,
                    _ => Token::SymBraceLeft,
                };
                if level.opened_by != Some(opener) {
                    return Err((ErrorKind::Syntax, format!("`{token}` closes nothing")));
                }
                self.total -= level.chain + 1;
                self.open.pop();
                if *token == Token::SymBraceRight
                    && let Some(outer) = self.open.last_mut()
                {
                    self.total -= outer.chain;
                    outer.chain = 0;
                    outer.angles = 0;
                }
            }
            Token::SymAndAnd | Token::SymOrOr => {
                level.angles = 0;
                level.chain += 1;
                self.total += 1;
            }
            Token::SymGreaterThan => level.angles = level.angles.saturating_sub(1),
            Token::SymShiftRight => level.angles = level.angles.saturating_sub(2),
            Token::SymLessThan
            | Token::SymPlus
            | Token::SymMinus
            | Token::SymMinusMinus
            | Token::SymStar
            | Token::SymForwardSlash
            | Token::SymModulo
            | Token::SymAnd
            | Token::SymOr
            | Token::SymXor
            | Token::SymTilde
            | Token::SymBang
            | Token::SymPeriod
            | Token::KwElse => {
                level.angles += usize::from(after_ident && *token == Token::SymLessThan);
                level.chain += 1;
                self.total += 1;
                if level.angles > MAX_OPEN_ANGLES {
                    return Err((
                        ErrorKind::Limit,
                        format!("too many `<` without parentheses (limit {MAX_OPEN_ANGLES})"),
                    ));
                }
            }
            _ => {}
        }
        if self.total > MAX_DEPTH {
            return Err((
                ErrorKind::Limit,
                format!("nested too deeply, or too long a chain of operators (limit {MAX_DEPTH})"),
            ));
        }
        Ok(())
    }
}
