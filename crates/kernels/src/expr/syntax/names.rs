//! Every name of the language, once: what it is called, what it takes.

use crate::expr::Variable;

/// Functions, masks and score terms that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Builtin {
    Causal,
    CausalTopLeft,
    Window,
    Sinks,
    Prefix,
    Blocks,
    ShiftedBlocks,
    Dilated,
    Strided,
    Same,
    Disc,
    Local,
    Window2d,
    Softcap,
    Alibi,
    Slope,
    Abs,
    Min,
    Max,
    Clamp,
    Floor,
    Sqrt,
    Exp,
    Log,
    Tanh,
}

/// The meaning of a name of the language.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    Bool(bool),
    Variable(Variable),
    Position,
    Builtin(Builtin),
}

/// A parameter: its name, and the least value that makes sense.
pub(crate) type Parameter = (&'static str, Option<i64>);

const BUILTINS: [(Builtin, &str, &[Parameter]); 25] = [
    (Builtin::Causal, "causal", &[]),
    (Builtin::CausalTopLeft, "causal_top_left", &[]),
    (Builtin::Window, "window", &[("l", None), ("r", None)]),
    (Builtin::Sinks, "sinks", &[("n", Some(0))]),
    (Builtin::Prefix, "prefix", &[("n", Some(0))]),
    (Builtin::Blocks, "blocks", &[("n", Some(1))]),
    (Builtin::ShiftedBlocks, "shifted_blocks", &[("n", Some(1)), ("o", None)]),
    (Builtin::Dilated, "dilated", &[("r", Some(1))]),
    (Builtin::Strided, "strided", &[("n", Some(1)), ("r", Some(1))]),
    // One table or two; its names are not expressions, so the parser reads them itself.
    (Builtin::Same, "same", &[("t", None)]),
    (Builtin::Disc, "disc", &[("w", Some(1)), ("r", Some(1))]),
    (Builtin::Local, "local", &[("w", Some(1)), ("rx", Some(0)), ("ry", Some(0))]),
    (Builtin::Window2d, "window2d", &[("w", Some(1)), ("m", Some(1)), ("o", None)]),
    (Builtin::Softcap, "softcap", &[("c", None)]),
    (Builtin::Alibi, "alibi", &[]),
    (Builtin::Slope, "slope", &[("h", None)]),
    (Builtin::Abs, "abs", &[("x", None)]),
    (Builtin::Min, "min", &[("x", None), ("y", None)]),
    (Builtin::Max, "max", &[("x", None), ("y", None)]),
    (Builtin::Clamp, "clamp", &[("x", None), ("low", None), ("high", None)]),
    (Builtin::Floor, "floor", &[("x", None)]),
    (Builtin::Sqrt, "sqrt", &[("x", None)]),
    (Builtin::Exp, "exp", &[("x", None)]),
    (Builtin::Log, "log", &[("x", None)]),
    (Builtin::Tanh, "tanh", &[("x", None)]),
];

const OTHERS: [(&str, Name); 11] = [
    ("true", Name::Bool(true)),
    ("false", Name::Bool(false)),
    ("b", Name::Variable(Variable::Batch)),
    ("h", Name::Variable(Variable::Head)),
    ("g", Name::Variable(Variable::KvHead)),
    ("q", Name::Variable(Variable::Query)),
    ("k", Name::Variable(Variable::Key)),
    ("nq", Name::Variable(Variable::QueryCount)),
    ("nk", Name::Variable(Variable::KeyCount)),
    ("s", Name::Variable(Variable::Score)),
    ("qp", Name::Position),
];

/// Words of other languages that mean something here under another sign; no table may have them as its name.
const WORDS: [(&str, &str); 7] = [
    ("and", "write `&`"),
    ("or", "write `|`"),
    ("not", "write `!`"),
    ("xor", "on bools write `!=`"),
    ("if", "there is no conditional: a mask says what is seen, `min`, `max` and `clamp` choose numbers"),
    ("else", "there is no conditional: a mask says what is seen, `min`, `max` and `clamp` choose numbers"),
    ("where", "there is no conditional: a mask says what is seen, `min`, `max` and `clamp` choose numbers"),
];

impl Builtin {
    pub(crate) fn name(self) -> &'static str {
        BUILTINS.iter().find(|(builtin, ..)| *builtin == self).map_or("", |(_, name, _)| name)
    }

    pub(crate) fn parameters(self) -> &'static [Parameter] {
        BUILTINS.iter().find(|(builtin, ..)| *builtin == self).map_or(&[], |(.., parameters)| parameters)
    }

    /// Whether it takes so many arguments. What `softcap` and `alibi` change is the score, unless they are given something.
    pub(crate) fn takes(self, arguments: usize) -> bool {
        match self {
            Self::Softcap => (1..=2).contains(&arguments),
            Self::Alibi => arguments <= 1,
            _ => arguments == self.parameters().len(),
        }
    }

    /// Whether it is of the score, with so many arguments.
    pub(crate) fn of_score(self, arguments: usize) -> bool {
        matches!((self, arguments), (Self::Softcap, 1) | (Self::Alibi, 0))
    }

    /// As one would write it: `window(l, r)`.
    pub(crate) fn signature(self) -> String {
        match self {
            Self::Same => return "same(t)` or `same(tq, tk)".into(),
            Self::Softcap => return "softcap(c)` or `softcap(x, c)".into(),
            Self::Alibi => return "alibi` or `alibi(x)".into(),
            _ => {}
        }
        let parameters: Vec<&str> = self.parameters().iter().map(|(name, _)| *name).collect();
        if parameters.is_empty() {
            self.name().into()
        } else {
            format!("{}({})", self.name(), parameters.join(", "))
        }
    }

    /// The variables that its meaning reads, beyond its arguments, of which there are so many. `same(t)` reads `b` only of a table of rank 2, which is
    /// not known before binding, so it counts.
    pub(crate) fn reads(self, arguments: usize) -> &'static [Variable] {
        use Variable::{Batch, Head, Key, KeyCount, Query, QueryCount, Score};
        match self {
            Self::Causal | Self::Window | Self::Dilated => &[Query, Key, QueryCount, KeyCount],
            Self::CausalTopLeft
            | Self::Blocks
            | Self::ShiftedBlocks
            | Self::Disc
            | Self::Local
            | Self::Window2d => &[Query, Key],
            Self::Sinks | Self::Prefix | Self::Strided => &[Key],
            Self::Same => &[Batch, Query, Key, QueryCount, KeyCount],
            Self::Softcap if arguments < 2 => &[Score],
            Self::Alibi if arguments > 0 => &[Head, Query, Key, QueryCount, KeyCount],
            Self::Alibi => &[Score, Head, Query, Key, QueryCount, KeyCount],
            _ => &[],
        }
    }

    /// Whether it is a mask.
    pub(crate) fn is_mask(self) -> bool {
        !matches!(
            self,
            Self::Softcap
                | Self::Alibi
                | Self::Slope
                | Self::Abs
                | Self::Min
                | Self::Max
                | Self::Clamp
                | Self::Floor
                | Self::Sqrt
                | Self::Exp
                | Self::Log
                | Self::Tanh
        )
    }
}

/// The meaning of `name`, if it is a name of the language.
pub(crate) fn find(name: &str) -> Option<Name> {
    let other = OTHERS.iter().find(|(other, _)| *other == name).map(|(_, meaning)| *meaning);
    other.or_else(|| {
        let found = BUILTINS.iter().find(|(_, builtin, _)| *builtin == name);
        found.map(|(builtin, ..)| Name::Builtin(*builtin))
    })
}

/// The name of a variable.
pub(crate) fn variable_name(variable: Variable) -> &'static str {
    let found = OTHERS.iter().find(|(_, name)| matches!(name, Name::Variable(v) if *v == variable));
    found.map_or("", |(name, _)| name)
}

/// The form to write in place of a word of another language.
pub(crate) fn word_hint(name: &str) -> Option<&'static str> {
    WORDS.iter().find(|(word, _)| *word == name).map(|(_, hint)| *hint)
}

/// Longest name of a table, in characters.
pub(crate) const MAX_NAME: usize = 255;

/// Whether expressions can index a table of this name: ASCII letters, digits and `_`, no digit first, at most 255
/// characters, and no name of the language.
pub fn is_table_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= MAX_NAME
        && find(name).is_none()
        && word_hint(name).is_none()
}

/// The name of the language that was probably meant.
pub(crate) fn suggestion(name: &str) -> Option<&'static str> {
    let all = OTHERS.iter().map(|(name, _)| *name).chain(BUILTINS.iter().map(|(_, name, _)| *name));
    crate::suggest::closest(name, all)
}

/// The message for a name without meaning.
pub(crate) fn unknown(name: &str, called: bool) -> String {
    let mut message = format!("unknown name `{}`", shortened(name));
    if let Some(meant) = suggestion(name) {
        message += &format!("; did you mean `{meant}`?");
    } else if !called {
        message += &format!("; a table is indexed: `{}[..]`", shortened(name));
    }
    message
}

/// `name`, cut if it is so long that a message drowns in it.
pub(crate) fn shortened(name: &str) -> String {
    const SHOWN: usize = 40;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_names_find_their_own() {
        for (typed, meant) in [
            ("windw", Some("window")),
            ("casual", Some("causal")),
            ("Causal", Some("causal")),
            ("causal_topleft", Some("causal_top_left")),
            ("window2D", Some("window2d")),
            ("NQ", Some("nq")),
            ("i", None),
            ("segment_ids", None),
        ] {
            assert_eq!(suggestion(typed), meant, "{typed}");
        }
    }

    #[test]
    fn names_of_the_language_are_no_tables() {
        for name in ["q", "true", "same", "and", "2d", "", "a b", "é"] {
            assert!(!is_table_name(name), "{name}");
        }
        assert!(is_table_name("bias") && is_table_name("_t2"));
    }
}
