//! Values of options, as callers give and read them. Files and command lines carry them as JSON, which this file keeps to itself.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Options by name, in alphabetical order. Serde reads and writes them as an object, and they are displayed as JSON text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OptionMap {
    // As the option table reads them. Were they `OptionValue`s, browsers would load two sorts of maps.
    fields: Map<String, Value>,
}

/// The value of an option. Serde reads and writes it as JSON has it, and it is displayed as JSON text.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// As if the option were absent.
    Null,
    /// A flag.
    Bool(bool),
    /// A whole number, of i64 or u64; beyond those it counts as a [`OptionValue::Number`].
    Integer(i128),
    /// Any other number. NaN and infinities, which JSON lacks, are written as texts, so that they are refused by name.
    Number(f64),
    /// A word, a name or an expression.
    Text(String),
    /// Values in order.
    List(Vec<Self>),
    /// Values by name.
    Fields(OptionMap),
}

impl OptionMap {
    /// No options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The option's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<OptionValue> {
        self.fields.get(name).map(of_json)
    }

    /// The option's value, if it is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// The option's value, if it is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.fields.get(name)?.as_f64()
    }

    /// Whether there is such an option.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Adds an option, or replaces its value.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<OptionValue>) {
        self.fields.insert(name.into(), to_json(value.into()));
    }

    /// Removes an option, and says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.fields.remove(name).is_some()
    }

    /// Adds options, in place of those of the same names.
    pub fn extend(&mut self, other: Self) {
        self.fields.extend(other.fields);
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, OptionValue)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), of_json(value)))
    }

    /// Whether a text of some option, however deep in lists and fields, has this property.
    pub fn any_text(&self, is: &dyn Fn(&str) -> bool) -> bool {
        self.fields.values().any(|value| any_text(value, is))
    }

    pub(crate) fn of_json(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    pub(crate) fn as_json(&self) -> &Map<String, Value> {
        &self.fields
    }
}

impl<N: Into<String>, V: Into<OptionValue>> FromIterator<(N, V)> for OptionMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(options: I) -> Self {
        let mut all = Self::new();
        for (name, value) in options {
            all.insert(name, value);
        }
        all
    }
}

impl fmt::Display for OptionMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OptionValue::Fields(self.clone()).fmt(f)
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
        to_json(self.clone()).fmt(f)
    }
}

impl Serialize for OptionValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_json(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OptionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| of_json(&value))
    }
}

fn to_json(value: OptionValue) -> Value {
    match value {
        OptionValue::Null => Value::Null,
        OptionValue::Bool(value) => value.into(),
        OptionValue::Integer(value) => match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => value.into(),
            (_, Ok(value)) => value.into(),
            #[expect(clippy::cast_precision_loss, reason = "as JSON reads such a number")]
            _ => (value as f64).into(),
        },
        OptionValue::Number(value) if !value.is_finite() => value.to_string().into(),
        OptionValue::Number(value) => value.into(),
        OptionValue::Text(text) => text.into(),
        OptionValue::List(values) => values.into_iter().map(to_json).collect(),
        OptionValue::Fields(fields) => fields.fields.into(),
    }
}

fn of_json(value: &Value) -> OptionValue {
    match value {
        Value::Null => OptionValue::Null,
        Value::Bool(value) => OptionValue::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => value.into(),
            (_, Some(value)) => value.into(),
            _ => number.as_f64().map_or(OptionValue::Null, OptionValue::Number),
        },
        Value::String(text) => OptionValue::Text(text.clone()),
        Value::Array(values) => OptionValue::List(values.iter().map(of_json).collect()),
        Value::Object(fields) => OptionValue::Fields(OptionMap::of_json(fields.clone())),
    }
}

fn any_text(value: &Value, is: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is(text),
        Value::Array(values) => values.iter().any(|value| any_text(value, is)),
        Value::Object(fields) => fields.values().any(|value| any_text(value, is)),
        _ => false,
    }
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
        assert_eq!(options.get("most"), Some(OptionValue::Integer(u64::MAX.into())));
        assert_eq!(options.get("one"), Some(OptionValue::Number(1.0)));
        assert_eq!((options.number("half"), options.text("text")), (Some(0.5), Some("k < \"4\"")));
        // Through values and back.
        let again: OptionMap = options.iter().collect();
        assert_eq!(serde_json::to_value(&again).unwrap(), json);
        assert_eq!(again.to_string(), json.to_string());
        // Beyond u64, as JSON readers have it.
        let large: OptionValue = serde_json::from_str("18446744073709551616").unwrap();
        assert_eq!(large, OptionValue::Number(18_446_744_073_709_551_616.0));
    }

    #[test]
    fn texts_are_found_at_any_depth() {
        let options: OptionMap = serde_json::from_value(json!({"a": [{"b": "here"}], "c": 3})).unwrap();
        assert!(options.any_text(&|text| text == "here") && !options.any_text(&|text| text == "there"));
    }

    #[test]
    fn numbers_that_json_lacks_are_not_lost() {
        let linear = crate::operator("linear").unwrap();
        for number in [f64::NAN, f64::INFINITY] {
            let options = OptionMap::from_iter([("scale", number)]);
            let error = linear.problem_of_shape("1x1x8x8", &options).unwrap_err();
            assert_eq!(error.argument(), "scale", "{error}");
            assert!(error.to_string().contains(&number.to_string()), "{error}");
        }
        let options = OptionMap::from_iter([("scale", 0.5)]);
        assert!(linear.problem_of_shape("1x1x8x8", &options).is_ok());
    }
}
