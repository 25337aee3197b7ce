//! Options of operators on the command line: one argument for each name that any operator has.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use foveal_kernels::{Operator, OptionMap, OptionSpec, OptionValue, did_you_mean};

use crate::failure::usage;

/// Adds the options of all operators to a command, except those it has itself.
pub(crate) fn add(command: Command, operators: &[&dyn Operator], own: &[&str]) -> Command {
    let mut specs: BTreeMap<&'static str, Vec<(&'static str, OptionSpec)>> = BTreeMap::new();
    for operator in operators {
        for spec in operator.options() {
            specs.entry(spec.name).or_default().push((operator.name(), *spec));
        }
    }
    let mut command = command;
    for (name, of) in specs {
        let Some(&(_, spec)) = of.first().filter(|_| !own.contains(&name)) else { continue };
        let operators: Vec<&str> = of.iter().map(|(operator, _)| *operator).collect();
        let mut arg = Arg::new(name)
            .long(name.replace('_', "-"))
            .help(help(&of))
            .help_heading(format!("Options of {}", operators.join(", ")))
            .allow_negative_numbers(true);
        arg = if spec.value.is_empty() {
            // A value is possible so that a file's option can be turned off.
            arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("true|false")
        } else {
            let same = of.iter().all(|(_, other)| other.value == spec.value);
            arg.action(ArgAction::Set).value_name(if same { spec.value } else { "VALUE" })
        };
        command = command.arg(arg);
    }
    command
}

/// The help of an option, operator by operator where it means different things to them.
fn help(of: &[(&'static str, OptionSpec)]) -> String {
    match of {
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other.help == first.help) => {
            first.help.into()
        }
        _ => {
            let each = of.iter().map(|(operator, spec)| format!("{operator}: {}", spec.help));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

/// The operator's options that were given; options of other operators are errors.
pub(crate) fn given(matches: &ArgMatches, operator: &dyn Operator) -> Result<OptionMap> {
    let mut options = OptionMap::new();
    for other in foveal_kernels::operators() {
        for spec in other.options() {
            let from_user = matches.try_contains_id(spec.name).unwrap_or(false)
                && matches.value_source(spec.name) == Some(ValueSource::CommandLine);
            if !from_user {
                continue;
            }
            if !operator.options().iter().any(|own| own.name == spec.name) {
                let names: Vec<&str> = operator.options().iter().map(|spec| spec.name).collect();
                return Err(usage(format!(
                    "`{}` has no option --{}: it has {}{}",
                    operator.name(),
                    spec.name.replace('_', "-"),
                    names
                        .iter()
                        .map(|name| format!("--{}", name.replace('_', "-")))
                        .collect::<Vec<_>>()
                        .join(", "),
                    did_you_mean(spec.name, names.iter().copied())
                )));
            }
            if let Some(text) = matches.get_one::<String>(spec.name) {
                options.insert(spec.name, parse(text));
            }
        }
    }
    Ok(options)
}

/// Numbers, booleans, arrays and objects as JSON has them; anything else is text.
fn parse(text: &str) -> OptionValue {
    match serde_json::from_str(text) {
        Ok(OptionValue::Text(_) | OptionValue::Null) | Err(_) => text.into(),
        Ok(value) => value,
    }
}

/// Options as they would be typed.
pub(crate) fn typed(options: &OptionMap) -> String {
    let mut words = Vec::new();
    for (name, value) in options.iter().filter(|(name, _)| *name != "op") {
        let name = name.replace('_', "-");
        words.push(match value {
            OptionValue::Bool(true) => format!("--{name}"),
            OptionValue::Text(text)
                if text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) =>
            {
                format!("--{name} {text}")
            }
            OptionValue::Text(text) => format!("--{name} '{}'", text.replace('\'', r"'\''")),
            number @ (OptionValue::Integer(_) | OptionValue::Number(_)) => format!("--{name} {number}"),
            other => format!("--{name}='{other}'"),
        });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_option_is_explained_for_each_operator_that_it_differs_for() {
        let spec = |help| OptionSpec { name: "page", value: "N", help };
        assert_eq!(help(&[("a", spec("keys")), ("b", spec("keys"))]), "keys");
        assert_eq!(help(&[("a", spec("keys")), ("b", spec("slots"))]), "a: keys; b: slots");
    }

    #[test]
    fn values_are_typed_by_how_they_look() {
        assert_eq!(parse("0.5").to_string(), json!(0.5).to_string());
        assert_eq!(parse("-3").to_string(), json!(-3).to_string());
        assert_eq!(parse("true").to_string(), json!(true).to_string());
        assert_eq!(parse("bthd").to_string(), json!("bthd").to_string());
        assert_eq!(parse("causal & (k < 4)").to_string(), json!("causal & (k < 4)").to_string());
        assert_eq!(parse(r#"{"q_block":16}"#).to_string(), json!({"q_block": 16}).to_string());
        assert_eq!(parse("nan").to_string(), json!("nan").to_string());
        assert_eq!(parse("null").to_string(), json!("null").to_string());
    }

    #[test]
    fn options_are_quoted_for_a_shell() {
        let options =
            json!({"op": "attention", "causal": true, "layout": "bthd", "mask": "k < 4", "scale": 0.5});
        let options = serde_json::from_value(options).unwrap();
        assert_eq!(typed(&options), "--causal --layout bthd --mask 'k < 4' --scale 0.5");
    }
}
