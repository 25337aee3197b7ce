//! The browser package's types of options, which are made of the operators' tables: `INSTA_UPDATE=always` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use foveal_kernels::{OptionSpec, operators};

const HEAD: &str = "// Options of the operators. Made of their tables: tests/tests/cpu/types.rs says how.

import type { BlockMask, DeviceBlockMask } from \"./foveal.js\";
";
/// Columns of a line of documentation.
const WIDTH: usize = 120;

/// `kvLen` for `kv_len`.
fn camel_case(name: &str) -> String {
    let mut upper = false;
    let letters = name.chars().filter_map(|letter| {
        let is_word = letter != '_';
        let shown = if upper { letter.to_ascii_uppercase() } else { letter };
        upper = !is_word;
        is_word.then_some(shown)
    });
    letters.collect()
}

/// The type of an option's value, from its form in the table.
fn type_of(option: &OptionSpec) -> Result<String> {
    let of_json = [("block_mask", "BlockMask | DeviceBlockMask"), ("tables", "Record<string, string>")];
    let one = |form: &str| match form {
        "EXPR" | "NAME" => Ok("string".to_owned()),
        "N" | "F" | "X" | "HQ" | "C" | "W" => Ok("number".to_owned()),
        "JSON" => {
            let found = of_json.iter().find(|(name, _)| *name == option.name);
            Ok(found.with_context(|| format!("no type for the option {}", option.name))?.1.to_owned())
        }
        word if word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit()) => {
            Ok(format!("\"{word}\""))
        }
        other => bail!("no type for values of the form `{other}`"),
    };
    match option.value {
        "" => Ok("boolean".to_owned()),
        // Words that are combined in one text.
        form if form.contains(',') => Ok("string".to_owned()),
        form => Ok(form.split('|').map(one).collect::<Result<Vec<_>>>()?.join(" | ")),
    }
}

/// A comment of lines that are not too long.
fn comment(help: &str) -> Result<String> {
    ensure!(!help.contains("*/"), "the help `{help}` would end a comment");
    let mut lines = vec![String::new()];
    for word in help.split(' ') {
        let line = lines.last_mut().context("there is a line")?;
        if line.len() + word.len() + 6 > WIDTH {
            lines.push(word.to_owned());
        } else {
            *line = format!("{line} {word}").trim_start().to_owned();
        }
    }
    if let [line] = lines.as_slice()
        && line.len() + 9 <= WIDTH
    {
        return Ok(format!("  /** {line} */\n"));
    }
    Ok(format!("  /**\n{}   */\n", lines.iter().map(|line| format!("   * {line}\n")).collect::<String>()))
}

fn declarations() -> Result<String> {
    let mut text = HEAD.to_owned();
    for operator in operators() {
        let (first, rest) = operator.name().split_at(1);
        write!(text, "\n/** Options of {}. */\n", operator.name())?;
        writeln!(text, "export interface {}{rest}Options {{", first.to_uppercase())?;
        for option in operator.options() {
            text += &comment(option.help)?;
            writeln!(text, "  {}?: {};", camel_case(option.name), type_of(option)?)?;
        }
        text += "}\n";
    }
    Ok(text)
}

#[test]
fn types_are_those_of_the_tables() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/web/js/options.d.ts");
    let made = declarations()?;
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &made)?;
    }
    let held = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (line, (held, made)) in (1..).zip(held.lines().zip(made.lines())) {
        ensure!(
            held == made,
            "options.d.ts:{line}: `{held}` where the tables say `{made}`: run with INSTA_UPDATE=always"
        );
    }
    ensure!(held == made, "options.d.ts has {} bytes, the tables make {}", held.len(), made.len());
    Ok(())
}

#[test]
fn forms_have_types() -> Result<()> {
    let of = |name: &'static str, value: &'static str| type_of(&OptionSpec { name, value, help: "" });
    assert_eq!(of("lse", "")?, "boolean");
    assert_eq!(of("scale", "X|NAME")?, "number | string");
    assert_eq!(of("splits", "auto|N")?, "\"auto\" | number");
    assert_eq!(of("qk_norm", "l2")?, "\"l2\"");
    assert_eq!(camel_case("kv_len"), "kvLen");
    assert!(of("other", "JSON").is_err() && of("other", "SOMETHING").is_err());
    Ok(())
}
