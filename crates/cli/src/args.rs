//! The command line. Operators bring their own options, so none is named here.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use foveal_kernels::{Dtype, Operator, operators};

use crate::options;

/// The whole command line.
pub(crate) fn command() -> Command {
    let operators = operators();
    let names: Vec<&str> = operators.iter().map(|op| op.name()).collect();
    let op = |help: &str| Arg::new("op").value_name("OP").help(format!("{} ({help})", names.join(", ")));
    Command::new("foveal")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Attention kernels on any GPU: run, check, benchmark, explain")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(global())
        .subcommand(
            Command::new("demo")
                .about("Attention of a real model: right on this adapter, how fast, how far from its limit; and a picture")
                .long_about(
                    "Runs every variant on the sample that ships with foveal (attention of a published sentence model \
                     on English text), checks each against the stored output and against the f64 reference, measures \
                     a larger shape, and draws the attention weights. Works without any GPU driver: the reference is \
                     then computed on the CPU.",
                )
                .arg(path("png", "PNG", "Where to write the picture").default_value("foveal-demo.png")),
        )
        .subcommand(
            Command::new("info")
                .about("Adapters, their limits and features, and which one is taken")
                .arg(flag("roofline", "Measure the rates that plans can be made by (about a second)")),
        )
        .subcommand(Command::new("list").about("Operators, variants, options and named recipes").arg(op("by default all")))
        .subcommand(run(op("by default what the file's `foveal` entry says"), operators))
        .subcommand(check(op("by default all"), operators))
        .subcommand(bench(op("by default all"), operators))
        .subcommand(plan(op("by default what the file's `foveal` entry says"), operators))
        .subcommand(mask())
}

fn run(op: Arg, operators: &[&dyn Operator]) -> Command {
    let command = Command::new("run")
        .about("Compute an operator on tensors from files")
        .arg(op)
        .arg(input().required(true))
        .arg(
            path("output", "F", "Where to write: a .safetensors file, or a directory for .npy files (a new one, an empty one, or one that a run wrote: it is replaced whole). Links are followed; an input is never replaced")
                .required(true),
        )
        .arg(variant())
        .arg(dtype("Convert floating-point inputs to this storage type"))
        .arg(flag("check", "Compare with the f64 reference; a mismatch exits 1"));
    options::add(command, operators, &["dtype"])
}

fn check(op: Arg, operators: &[&dyn Operator]) -> Command {
    let shapes: Vec<String> =
        operators.iter().map(|op| format!("{}: {}", op.name(), op.shape_help())).collect();
    let command = Command::new("check")
        .about("Compare every variant on this adapter with the f64 reference")
        .arg(op)
        .arg(
            text("cases", "NAME", "Only cases whose name contains this")
                .conflicts_with_all(["golden", "random", "recipe"]),
        )
        .arg(
            text("recipe", "NAME", "The example of this recipe (`foveal list` has them), or of `all`")
                .conflicts_with_all(["golden", "random"]),
        )
        .arg(
            text(
                "shape",
                "SHAPE",
                &format!("One problem of this size and the options below. {}", shapes.join("; ")),
            )
            .conflicts_with_all(["cases", "golden", "random", "recipe"]),
        )
        .arg(
            path(
                "golden",
                "PATH",
                "Compare with the outputs stored in this file, or in each file of this directory",
            )
            .conflicts_with("random"),
        )
        .arg(
            Arg::new("random")
                .long("random")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("N random cases, the i-th drawn from SEED + i"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("SEED")
                .value_parser(value_parser!(u64))
                .default_value("1")
                .help("What random cases are drawn from"),
        )
        .arg(variant())
        .arg(dtype("Storage type"));
    options::add(command, operators, &["dtype"])
}

fn bench(op: Arg, operators: &[&dyn Operator]) -> Command {
    let shapes: Vec<String> =
        operators.iter().map(|op| format!("{}: {}", op.name(), op.shape_help())).collect();
    let command = Command::new("bench")
        .about(
            "Measure, after checking: median of at least 30, rates, and the share of what this adapter can do",
        )
        .arg(op)
        .arg(
            text("shape", "SHAPE", &format!("What to measure; may be given again. {}", shapes.join("; ")))
                .action(ArgAction::Append),
        )
        .arg(variant())
        .arg(text("against", "V", "Measure this variant too and show the ratio"))
        .arg(dtype("Storage type"))
        .arg(
            Arg::new("repeat")
                .long("repeat")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..=100_000))
                .default_value("30")
                .help("Measurements of each; fewer if they would take more than 20 s"),
        )
        .arg(flag("no-roofline", "Do not measure what the adapter can do at most"));
    options::add(command, operators, &["dtype"])
}

fn plan(op: Arg, operators: &[&dyn Operator]) -> Command {
    let shapes: Vec<String> =
        operators.iter().map(|op| format!("{}: {}", op.name(), op.shape_help())).collect();
    let command = Command::new("plan")
        .about("How a problem would run on this adapter, and why; needs no GPU")
        .arg(op)
        .arg(text("shape", "SHAPE", &format!("The problem's sizes. {}", shapes.join("; "))))
        .arg(input().conflicts_with("shape"))
        .arg(variant())
        .arg(dtype("Storage type"))
        .arg(
            Arg::new("limits")
                .long("limits")
                .value_name("LIMITS")
                .value_parser(PossibleValuesParser::new(["adapter", "floor"]))
                .default_value("adapter")
                .help("Plan for this adapter, or for the least that any WebGPU adapter offers"),
        )
        .arg(flag(
            "roofline",
            "Measure the adapter first and plan by its own rates, not by those assumed of its kind",
        ))
        .arg(flag("wgsl", "Also print the shaders as the driver gets them"));
    options::add(command, operators, &["dtype"])
}

fn mask() -> Command {
    let number = |name: &'static str, help: &str, max: i64| {
        let range = value_parser!(u32).range(1..=max);
        Arg::new(name).long(name).value_name("N").value_parser(range).help(help.to_owned())
    };
    let size = |name, help: &str| number(name, help, i64::from(i32::MAX));
    // Each may have lists of its own, and a row of the answer.
    let lists = |name, help: &str| number(name, help, 1 << 16);
    Command::new("mask")
        .about("Which keys a mask shows: a map of its blocks, their classes, its density, and a picture")
        .arg(
            Arg::new("expr")
                .value_name("EXPR")
                .required(true)
                .allow_hyphen_values(true)
                .help("The mask, such as 'causal & window(255, 0) | sinks(4)'"),
        )
        .arg(size("q", "Number of queries").required(true))
        .arg(size("k", "Number of keys, by default as many"))
        .arg(text("block", "N|QxK", "Queries and keys of a block").default_value("64"))
        .arg(lists("batch", "Number of batch entries, by default 1; the first is shown"))
        .arg(lists("heads", "Number of query heads, by default 1"))
        .arg(lists("kv-heads", "Number of key/value heads, by default as many as query heads"))
        .arg(
            Arg::new("head")
                .long("head")
                .value_name("H")
                .value_parser(value_parser!(u32))
                .help("Show this head only, where heads differ"),
        )
        .arg(path("png", "PNG", "Where to write a picture"))
        .arg(
            text("table", "NAME=FILE", "A table that the mask reads; may be given again")
                .action(ArgAction::Append),
        )
        .arg(input())
}

fn global() -> impl Iterator<Item = Arg> {
    [
        flag("json", "Print one JSON document on stdout instead of text"),
        text("adapter", "N|NAME", "Adapter by its number in `foveal info` or by a part of its name"),
        Arg::new("device")
            .long("device")
            .value_name("DEVICE")
            .value_parser(PossibleValuesParser::new(["auto", "gpu", "cpu"]))
            .default_value("auto")
            .help("Where to compute: cpu is the f64 reference"),
        flag("no-self-check", "Trust variants without running their self-check first"),
        flag("verbose", "Also show notes, and warnings of the graphics stack"),
    ]
    .into_iter()
    .map(|arg| arg.global(true).help_heading("Options of every command"))
}

fn input() -> Arg {
    path("input", "F", "Tensors: a .safetensors file or a directory of .npy files; may be given again")
        .action(ArgAction::Append)
}

fn variant() -> Arg {
    text("variant", "V", "Take this variant or fail (see `foveal list`)")
}

fn dtype(help: &str) -> Arg {
    let names: Vec<String> = Dtype::FLOATS.iter().map(ToString::to_string).collect();
    text("dtype", "DTYPE", help).value_parser(PossibleValuesParser::new(&names))
}

fn flag(name: &'static str, help: &str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help.to_owned())
}

fn text(name: &'static str, value: &'static str, help: &str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help.to_owned())
}

fn path(name: &'static str, value: &'static str, help: &str) -> Arg {
    text(name, value, help).value_parser(value_parser!(PathBuf))
}

/// The text of an argument.
pub(crate) fn string<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// All values of an argument that may be given again.
pub(crate) fn all<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches.get_many::<T>(name).map(|values| values.cloned().collect()).unwrap_or_default()
}

/// Clap's message about a wrong command line, on one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let useful = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut parts: Vec<&str> =
        useful.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    if let Some(first) = parts.first_mut() {
        *first = first.trim_start_matches("error: ");
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn an_option_is_given_once() {
        for words in [
            &["plan", "attention", "--shape", "1x1x8x8", "--shape", "1x1x9x8"][..],
            &["plan", "attention", "--shape", "1x1x8x8", "--mask", "causal", "--mask", "window(3, 3)"],
            &["check", "--seed", "1", "--seed", "1"],
            &["check", "attention", "--shape", "1x1x8x8", "--lse", "--lse=false"],
        ] {
            let error = command().try_get_matches_from(["foveal"].iter().chain(words)).unwrap_err();
            let line = one_line(&error);
            let twice = words.iter().rfind(|word| word.starts_with("--")).unwrap();
            let option = twice.split('=').next().unwrap();
            assert!(line.contains(option) && line.contains("multiple times"), "{line}");
        }
    }

    #[test]
    fn mistakes_are_one_line() {
        let error = command().try_get_matches_from(["foveal", "info", "--rofline"]).unwrap_err();
        let line = one_line(&error);
        assert!(!line.contains('\n') && line.contains("--rofline") && line.contains("--roofline"), "{line}");
    }
}
