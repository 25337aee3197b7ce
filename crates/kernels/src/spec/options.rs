//! The option table of a spec: one row an option, from which help, reading and writing derive.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::{Dtype, Error, HostTensor, TensorSpec, suggest::did_you_mean};

/// An option of an operator.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name in files; on the command line `--name`, with dashes for underscores.
    pub name: &'static str,
    /// The form of its value, e.g. `bhtd|bthd`; empty for a flag.
    pub value: &'static str,
    /// One line.
    pub help: &'static str,
}

/// A row of the table.
pub(crate) struct OptionRow<S> {
    pub(crate) option: OptionSpec,
    /// Reads the value into the spec.
    pub(crate) parse: fn(&mut S, &Input<'_>) -> Result<(), Error>,
    /// The value that `parse` would read, where it is not the default.
    pub(crate) print: fn(&S) -> Option<Value>,
    /// The option in the few words that a problem is described with.
    pub(crate) describe: fn(&S) -> Option<String>,
}

/// Text that command lines show. Pages show none of it, and load every byte.
pub(crate) const fn for_terminals(text: &'static str) -> &'static str {
    if cfg!(target_family = "wasm") { "" } else { text }
}

/// A row; `value` is empty for a flag.
pub(crate) const fn row<S>(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    parse: fn(&mut S, &Input<'_>) -> Result<(), Error>,
    print: fn(&S) -> Option<Value>,
    describe: fn(&S) -> Option<String>,
) -> OptionRow<S> {
    OptionRow { option: OptionSpec { name, value, help: for_terminals(help) }, parse, print, describe }
}

/// A row of a field that is one of a few words.
macro_rules! word_row {
    ($name:literal, $field:ident, $value:literal, $help:literal, $describe:expr) => {
        $crate::spec::options::row(
            $name,
            $value,
            $help,
            |spec, input| input.word().map(|word| spec.$field = word),
            |spec| $crate::spec::options::word(&spec.$field),
            $describe,
        )
    };
}

/// A row of a field that names a tensor; problems that have one are described as `$words`.
macro_rules! name_row {
    ($name:literal, $field:ident, $help:literal, $words:literal) => {
        $crate::spec::options::row(
            $name,
            "NAME",
            $help,
            |spec, input| input.text().map(|name| spec.$field = Some(name.to_owned())),
            |spec| spec.$field.as_ref().map(|name| ::serde_json::json!(name)),
            |spec| spec.$field.as_ref().map(|_| $words.to_owned()),
        )
    };
}

/// A row of a field that is a flag; problems where it is not `$default` are described as `$words`.
macro_rules! flag_row {
    ($name:literal, $field:ident, $default:literal, $help:literal, $words:expr) => {
        $crate::spec::options::row(
            $name,
            "",
            $help,
            |spec, input| input.flag().map(|flag| spec.$field = flag),
            |spec| (spec.$field != $default).then(|| ::serde_json::json!(spec.$field)),
            $words,
        )
    };
}

/// The row of the layout, which is printed even where it is the default.
macro_rules! layout_row {
    ($help:literal) => {
        $crate::spec::options::row(
            "layout",
            "bhtd|bthd",
            $help,
            |spec, input| input.word().map(|layout| spec.layout = layout),
            |spec| Some(::serde_json::json!(spec.layout.to_string())),
            |spec| (spec.layout != $crate::Layout::Bhtd).then(|| spec.layout.to_string()),
        )
    };
}

pub(crate) use {flag_row, layout_row, name_row, word_row};

/// A spec that options describe, beside shapes.
pub(crate) trait Options: Sized + 'static {
    /// The operator's name.
    const OPERATOR: &'static str;

    /// The table. Options are read in this order.
    const OPTIONS: &'static [OptionRow<Self>];

    /// The storage type, which every operator has as the option `dtype`.
    fn dtype_mut(&mut self) -> &mut Dtype;

    /// The same, to look at.
    fn stored_as(&self) -> Dtype;

    /// Decides what absent options leave open, once all others are read.
    ///
    /// # Errors
    /// If what is there does not decide it.
    fn complete(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
        let _ = given;
        Ok(())
    }
}

/// The options and tensors of a caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) options: &'a Map<String, Value>,
    /// `None` where a shape stands in for tensors.
    pub(crate) tensors: Option<&'a [(String, HostTensor)]>,
}

impl<'a> Arguments<'a> {
    /// The option's value, if it has one.
    pub(crate) fn option(&self, name: &str) -> Option<&'a Value> {
        self.options.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a HostTensor> {
        let mut tensors = self.tensors.unwrap_or_default().iter();
        tensors.find_map(|(given, tensor)| (given == name).then_some(tensor))
    }

    pub(crate) fn needed(&self, name: &str) -> Result<&'a HostTensor, Error> {
        self.tensor(name).ok_or_else(|| Error::invalid(name, "expected a tensor, got none"))
    }

    /// Checks that there are tensors of these shapes, as far as they are read.
    pub(crate) fn check_shapes(&self, tensors: &[TensorSpec]) -> Result<(), Error> {
        for wanted in tensors.iter().filter(|tensor_spec| tensor_spec.access.reads()) {
            let got = self.needed(&wanted.name)?.shape();
            if got != wanted.shape {
                let message = format!("expected shape {:?}, got {got:?}", wanted.shape);
                return Err(Error::invalid(&*wanted.name, message));
            }
        }
        Ok(())
    }

    pub(crate) fn input(self, name: &'a str) -> Option<Input<'a>> {
        Some(Input { name, value: self.option(name)?, given: self })
    }
}

/// The value of an option.
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a Value,
    pub(crate) given: Arguments<'a>,
}

impl<'a> Input<'a> {
    pub(crate) fn expected(&self, what: &str) -> Error {
        Error::invalid(self.name, format!("expected {what}, got {}", self.value))
    }

    pub(crate) fn text(&self) -> Result<&'a str, Error> {
        self.value.as_str().ok_or_else(|| self.expected("text"))
    }

    /// An expression: text, or the bool or number that a text may be.
    pub(crate) fn expression(&self) -> Result<String, Error> {
        match self.value {
            Value::Bool(value) => Ok(value.to_string()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Ok(self.text()?.to_owned()),
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: FromStr<Err = Error>>(&self) -> Result<T, Error> {
        self.text()?.parse()
    }

    pub(crate) fn flag(&self) -> Result<bool, Error> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    pub(crate) fn count(&self) -> Result<usize, Error> {
        let whole = self.value.as_u64().and_then(|x| usize::try_from(x).ok());
        whole.ok_or_else(|| self.expected("a whole number of at least 0"))
    }

    pub(crate) fn number(&self) -> Result<f64, Error> {
        self.value.as_f64().ok_or_else(|| self.expected("a number"))
    }
}

/// No words: for an option that problems' descriptions leave out.
pub(crate) fn untold<S>(_: &S) -> Option<String> {
    None
}

/// A word, where it is not the default.
pub(crate) fn word<T: Default + PartialEq + ToString>(value: &T) -> Option<Value> {
    (*value != T::default()).then(|| json!(value.to_string()))
}

/// That all names are those of options of the spec.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] naming the first other one, and the option that was probably meant.
pub(crate) fn check_names<S: Options>(options: &Map<String, Value>) -> Result<(), Error> {
    let known: Vec<&str> = S::OPTIONS.iter().map(|row| row.option.name).collect();
    let unknown = options.iter().find(|(name, value)| {
        !(value.is_null() || known.contains(&name.as_str()) || ["op", "dtype"].contains(&name.as_str()))
    });
    if let Some((unknown, _)) = unknown {
        let meant = did_you_mean(unknown, known.iter().copied());
        let message = format!("not an option of {}: {}{meant}", S::OPERATOR, known.join(", "));
        return Err(Error::unknown(unknown, message));
    }
    Ok(())
}

/// The spec with these options.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] for options that are not the spec's, and values that are not the option's.
pub(crate) fn read<S: Options>(mut spec: S, given: Arguments<'_>) -> Result<S, Error> {
    for row in S::OPTIONS {
        if let Some(input) = given.input(row.option.name) {
            (row.parse)(&mut spec, &input)?;
        }
    }
    if let Some(input) = given.input("dtype") {
        *spec.dtype_mut() = input.word()?;
    }
    spec.complete(&given)?;
    Ok(spec)
}

/// The options that [`read`] would read the spec from.
pub(crate) fn write<S: Options>(spec: &S) -> Map<String, Value> {
    let mut options = Map::new();
    options.insert("op".to_owned(), json!(S::OPERATOR));
    for row in S::OPTIONS {
        options.extend((row.print)(spec).map(|value| (row.option.name.to_owned(), value)));
    }
    let dtype = spec.stored_as();
    if dtype != Dtype::F32 {
        options.insert("dtype".to_owned(), json!(dtype.to_string()));
    }
    options
}

/// Checks that an object has no fields but these.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] naming the first other one.
pub(crate) fn check_fields(name: &str, fields: &Map<String, Value>, known: &[&str]) -> Result<(), Error> {
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let meant = did_you_mean(unknown, known.iter().copied());
            Err(Error::invalid(name, format!("`{unknown}` is none of {}{meant}", known.join(", "))))
        }
    }
}
