//! Values of options, as callers give and read them. Files and command lines carry them as JSON, with which this file alone
//! exchanges them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::Error;

/// Options by name.
pub type OptionMap = BTreeMap<String, OptionValue>;

/// The value of an option. Serde reads and writes it as JSON has it, and it is displayed as JSON text.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// As if the option were absent.
    Null,
    /// A flag.
    Bool(bool),
    /// A whole number, of i64 or u64; beyond those it counts as a [`OptionValue::Number`].
    Integer(i128),
    /// Any other number.
    Number(f64),
    /// A word, a name or an expression.
    Text(String),
    /// Values in order.
    List(Vec<Self>),
    /// Values by name.
    Fields(OptionMap),
}

impl OptionValue {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "numbers of options are f64")]
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether one of its texts has this property.
    pub fn any_text(&self, is: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Text(text) => is(text),
            Self::List(values) => values.iter().any(|value| value.any_text(is)),
            Self::Fields(fields) => fields.values().any(|value| value.any_text(is)),
            _ => false,
        }
    }

    fn not_finite(&self) -> Option<f64> {
        match self {
            Self::Number(value) if !value.is_finite() => Some(*value),
            Self::List(values) => values.iter().find_map(Self::not_finite),
            Self::Fields(fields) => fields.values().find_map(Self::not_finite),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($variant:ident: $($type:ty)*;)*) => {$($(
        impl From<$type> for OptionValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*)*};
}

from! {
    Bool: bool;
    Integer: i32 u32 i64 u64;
    Number: f32 f64;
    Text: &str String;
    List: Vec<OptionValue>;
    Fields: OptionMap;
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        to_json(self).fmt(f)
    }
}

impl Serialize for OptionValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_json(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OptionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(of_json)
    }
}

fn to_json(value: &OptionValue) -> Value {
    match value {
        OptionValue::Null => Value::Null,
        OptionValue::Bool(value) => (*value).into(),
        OptionValue::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
            (Ok(value), _) => value.into(),
            (_, Ok(value)) => value.into(),
            #[expect(clippy::cast_precision_loss, reason = "as JSON reads such a number")]
            _ => (*value as f64).into(),
        },
        OptionValue::Number(value) => (*value).into(),
        OptionValue::Text(text) => text.as_str().into(),
        OptionValue::List(values) => values.iter().map(to_json).collect(),
        OptionValue::Fields(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), to_json(value))).collect())
        }
    }
}

fn of_json(value: Value) -> OptionValue {
    match value {
        Value::Null => OptionValue::Null,
        Value::Bool(value) => OptionValue::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => value.into(),
            (_, Some(value)) => value.into(),
            _ => number.as_f64().map_or(OptionValue::Null, OptionValue::Number),
        },
        Value::String(text) => OptionValue::Text(text),
        Value::Array(values) => OptionValue::List(values.into_iter().map(of_json).collect()),
        Value::Object(fields) => OptionValue::Fields(fields_of_json(fields)),
    }
}

/// The options as the option table reads them.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] naming an option that holds NaN or an infinity: JSON has none, and reads nothing instead.
pub(crate) fn fields_to_json(fields: &OptionMap) -> Result<Map<String, Value>, Error> {
    let one = |(name, value): (&String, &OptionValue)| match value.not_finite() {
        None => Ok((name.clone(), to_json(value))),
        Some(number) => Err(Error::invalid(name.as_str(), format!("expected a finite number, got {number}"))),
    };
    fields.iter().map(one).collect()
}

/// Options as the option table prints them.
pub(crate) fn fields_of_json(fields: Map<String, Value>) -> OptionMap {
    fields.into_iter().map(|(name, value)| (name, of_json(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_and_written_alike() {
        let json = json!({
            "flag": true, "least": i64::MIN, "most": u64::MAX, "half": 0.5, "one": 1.0, "tiny": 1e-300, "text": "k < \"4\"",
            "list": [1, [], null], "fields": {"q_block": 16},
        });
        let options: OptionMap = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(options["most"], OptionValue::Integer(u64::MAX.into()));
        assert_eq!(options["one"], OptionValue::Number(1.0));
        assert_eq!(serde_json::to_value(&options).unwrap(), json);
        assert_eq!(OptionValue::from(options).to_string(), json.to_string());
        // Beyond u64, as JSON readers have it.
        let large: OptionValue = serde_json::from_str("18446744073709551616").unwrap();
        assert_eq!(large, OptionValue::Number(18_446_744_073_709_551_616.0));
    }

    #[test]
    fn numbers_that_json_lacks_are_refused() {
        let attention = crate::operator("attention").unwrap();
        let read = |options| attention.problem_of_shape("1x1x8x8", &OptionMap::from([options]));
        for number in [f64::NAN, f64::INFINITY] {
            let error = read(("scale".to_owned(), number.into())).unwrap_err();
            assert_eq!(error.argument(), "scale", "{error}");
            assert!(error.to_string().contains(&number.to_string()), "{error}");
            let nested = OptionMap::from([("random".to_owned(), vec![number.into()].into())]);
            assert_eq!(read(("block_mask".to_owned(), nested.into())).unwrap_err().argument(), "block_mask");
        }
        assert!(read(("scale".to_owned(), 0.5.into())).is_ok());
    }
}
