//! The option table of a spec: one row an option, from which help, reading and writing derive.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::{Dtype, Error, HostTensor, OptionSpec, suggest::did_you_mean};

/// A row of the table.
pub(crate) struct OptionRow<S> {
    pub(crate) option: OptionSpec,
    /// Reads the value into the spec.
    pub(crate) parse: fn(&mut S, &Input<'_>) -> Result<(), Error>,
    /// The value that `parse` would read, where it is not the default.
    pub(crate) print: fn(&S) -> Option<Value>,
}

/// A row; `value` is empty for a flag.
pub(crate) const fn row<S>(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    parse: fn(&mut S, &Input<'_>) -> Result<(), Error>,
    print: fn(&S) -> Option<Value>,
) -> OptionRow<S> {
    OptionRow { option: OptionSpec { name, value, help }, parse, print }
}

/// A spec that options describe, beside shapes.
pub(crate) trait Options: Sized + 'static {
    /// The operator's name.
    const OPERATOR: &'static str;

    /// The table. Options are read in this order.
    const OPTIONS: &'static [OptionRow<Self>];

    /// The storage type, which every operator has as the option `dtype`.
    fn dtype_mut(&mut self) -> &mut Dtype;

    /// Decides what absent options leave open, once all others are read.
    ///
    /// # Errors
    /// If what is there does not decide it.
    fn complete(&mut self, given: &Given<'_>) -> Result<(), Error> {
        let _ = given;
        Ok(())
    }
}

/// The options and tensors of a caller.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) options: &'a Map<String, Value>,
    /// `None` where a shape stands in for tensors.
    pub(crate) tensors: Option<&'a [(String, HostTensor)]>,
}

impl<'a> Given<'a> {
    /// The option's value, if it has one.
    pub(crate) fn option(&self, name: &str) -> Option<&'a Value> {
        self.options.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a HostTensor> {
        let mut tensors = self.tensors.unwrap_or_default().iter();
        tensors.find_map(|(given, tensor)| (given == name).then_some(tensor))
    }

    pub(crate) fn input(self, name: &'a str) -> Option<Input<'a>> {
        Some(Input { name, value: self.option(name)?, given: self })
    }
}

/// The value of an option.
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a Value,
    pub(crate) given: Given<'a>,
}

impl<'a> Input<'a> {
    pub(crate) fn expected(&self, what: &str) -> Error {
        Error::invalid(self.name, format!("expected {what}, got {}", self.value))
    }

    pub(crate) fn text(&self) -> Result<&'a str, Error> {
        self.value.as_str().ok_or_else(|| self.expected("text"))
    }

    /// The name of a tensor.
    pub(crate) fn name(&self) -> Result<Option<String>, Error> {
        Ok(Some(self.text()?.to_owned()))
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

/// A word, where it is not the default.
pub(crate) fn word<T: Default + PartialEq + ToString>(value: &T) -> Option<Value> {
    (*value != T::default()).then(|| json!(value.to_string()))
}

/// The name of a tensor, where there is one.
pub(crate) fn name(value: Option<&String>) -> Option<Value> {
    value.map(|name| json!(name))
}

/// The table as help has it.
pub(crate) fn specs<S: Options>() -> Vec<OptionSpec> {
    S::OPTIONS.iter().map(|row| row.option).collect()
}

/// The spec with these options.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] for options that are not the spec's, and values that are not the option's.
pub(crate) fn read<S: Options>(mut spec: S, given: Given<'_>) -> Result<S, Error> {
    let known: Vec<&str> = S::OPTIONS.iter().map(|row| row.option.name).collect();
    let unknown = given.options.iter().find(|(name, value)| {
        !(value.is_null() || known.contains(&name.as_str()) || ["op", "dtype"].contains(&name.as_str()))
    });
    if let Some((unknown, _)) = unknown {
        let meant = did_you_mean(unknown, known.iter().copied());
        let message = format!("not an option of {}: {}{meant}", S::OPERATOR, known.join(", "));
        return Err(Error::invalid(unknown, message));
    }
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
pub(crate) fn write<S: Options + Clone>(spec: &S) -> Map<String, Value> {
    let mut options = Map::new();
    options.insert("op".to_owned(), json!(S::OPERATOR));
    for row in S::OPTIONS {
        options.extend((row.print)(spec).map(|value| (row.option.name.to_owned(), value)));
    }
    let dtype = *spec.clone().dtype_mut();
    if dtype != Dtype::F32 {
        options.insert("dtype".to_owned(), json!(dtype.to_string()));
    }
    options
}

/// That an object has no fields but these.
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
