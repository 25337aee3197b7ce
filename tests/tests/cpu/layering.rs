//! The invariants of docs/ARCHITECTURE.md that can be read off the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use foveal_kernels::operators;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files below `folder` with one of these extensions, build products and other people's programs aside.
fn files(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                files(&path, extensions, found)?;
            }
        } else if extensions.iter().any(|extension| path.extension().is_some_and(|e| e == *extension)) {
            found.push(path);
        }
    }
    Ok(())
}

fn sources(folder: &str, extensions: &[&str]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    files(&root().join(folder), extensions, &mut found)?;
    ensure!(!found.is_empty(), "no {extensions:?} below {folder}");
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Ok((path.display().to_string(), text))
        })
        .collect()
}

/// The text without comments and without what follows `#[cfg(test)]`, where modules of tests stand.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

struct Package {
    name: String,
    /// Dependencies of the package itself, and those of its tests and examples only.
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

fn packages() -> Result<Vec<Package>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .context("cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]).into_iter().map(|package| {
        let of_kind = |dev: bool| {
            let all = list(&package["dependencies"]);
            let some = all.iter().filter(|dependency| (dependency["kind"] == "dev") == dev);
            some.map(|dependency| text(&dependency["name"])).collect()
        };
        Package { name: text(&package["name"]), normal: of_kind(false), dev: of_kind(true) }
    });
    Ok(packages.collect())
}

fn package(name: &str) -> Result<Package> {
    packages()?.into_iter().find(|package| package.name == name).with_context(|| format!("no package {name}"))
}

/// Names of packages, each with those that it depends on, from Cargo.lock.
fn locked() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let text = std::fs::read_to_string(root().join("Cargo.lock"))?;
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for block in text.split("[[package]]").skip(1) {
        let name =
            block.lines().find_map(|line| line.strip_prefix("name = ")).context("a package without name")?;
        let dependencies = block.split("dependencies = [").nth(1).unwrap_or_default();
        let names = dependencies.lines().filter_map(|line| line.trim().strip_prefix('"'));
        let names = names.filter_map(|line| line.split(['"', ' ']).next()).map(str::to_owned);
        packages.entry(name.trim_matches('"').to_owned()).or_default().extend(names);
    }
    Ok(packages)
}

#[test]
fn kernels_and_shaders_are_pure() -> Result<()> {
    let locked = locked()?;
    for name in ["foveal-kernels", "foveal-shaders"] {
        let package = package(name)?;
        let mut open: Vec<String> = package.normal.into_iter().collect();
        let mut reached: BTreeSet<String> = BTreeSet::new();
        while let Some(next) = open.pop() {
            // Dependencies of the workspace's own tests are in Cargo.lock as well.
            let ours = next.starts_with("foveal");
            if reached.insert(next.clone()) && !ours {
                open.extend(locked.get(&next).into_iter().flatten().cloned());
            }
        }
        for banned in ["wgpu", "wgpu-core", "wgpu-hal", "pollster", "anyhow", "tokio"] {
            ensure!(!reached.contains(banned), "{name} depends on {banned}");
            ensure!(!package.dev.contains(banned), "{name}'s tests depend on {banned}");
        }
        let folder = if name == "foveal-kernels" { "crates/kernels/src" } else { "shaders/src" };
        // Modules of tests have folders of their own.
        let of_library = |path: &str| !path.split(folder).skip(1).any(|below| below.contains("tests"));
        for (path, text) in sources(folder, &["rs"])?.into_iter().filter(|(path, _)| of_library(path)) {
            for banned in
                ["std::fs", "std::net", "std::env", "std::process", "Instant", "SystemTime", "println!"]
            {
                ensure!(!code(&text).contains(banned), "{path} uses {banned}");
            }
        }
    }
    Ok(())
}

#[test]
fn only_the_engine_depends_on_wgpu() -> Result<()> {
    for package in packages()? {
        let uses = package.normal.union(&package.dev).any(|name| name.starts_with("wgpu"));
        // The tests turn on the noop backend, a feature of wgpu's; the API they use is the engine's.
        let may = ["foveal", "foveal-tests"].contains(&package.name.as_str());
        ensure!(!uses || may, "{} depends on wgpu: take it from the engine", package.name);
    }
    Ok(())
}

#[test]
fn libraries_neither_block_nor_return_anyhow() -> Result<()> {
    for library in ["foveal", "foveal-kernels", "foveal-shaders", "foveal-web"] {
        let package = package(library)?;
        for banned in ["pollster", "anyhow"] {
            ensure!(!package.normal.contains(banned), "{library} depends on {banned}");
        }
    }
    Ok(())
}

#[test]
fn libraries_obey_one_environment_variable_that_is_documented() -> Result<()> {
    for folder in ["crates/engine/src", "crates/kernels/src", "crates/web/src", "shaders/src"] {
        let ours = sources(folder, &["rs"])?;
        let ours = ours
            .into_iter()
            .filter(|(path, _)| !path.rsplit_once(folder).is_some_and(|(_, file)| file.contains("/tests/")));
        for (path, text) in ours {
            for call in code(&text).split("env::").skip(1) {
                ensure!(call.starts_with("var(\"FOVEAL_ADAPTER\")"), "{path} asks the environment");
            }
        }
    }
    Ok(())
}

/// Options reach callers as [`foveal_kernels::OptionValue`]s, whatever text they come from.
#[test]
fn traits_name_no_json() -> Result<()> {
    let kernels = sources("crates/kernels/src", &["rs"])?;
    let traits: Vec<_> = kernels
        .into_iter()
        .filter(|(_, text)| text.lines().any(|line| line.starts_with("pub trait ")))
        .collect();
    ensure!(traits.len() >= 4, "{} files declare traits", traits.len());
    for (path, text) in traits {
        ensure!(!code(&text).contains("serde_json"), "{path} names serde_json");
    }
    Ok(())
}

#[test]
fn the_engine_knows_no_operator_by_name() -> Result<()> {
    let names: Vec<&str> = operators().iter().map(|operator| operator.name()).collect();
    let engine = sources("crates/engine/src", &["rs"])?;
    // The browser package, between the engine and a page, knows none either.
    for (path, text) in engine.into_iter().chain(sources("crates/web/src", &["rs"])?) {
        // Structs whose fields have the names of tensors: a shorthand for callers, which nothing in the engine uses.
        if path.ends_with("engine/src/kernel/tensors.rs") {
            continue;
        }
        let code = code(&text).to_lowercase();
        for name in &names {
            ensure!(!code.contains(name), "{path} mentions {name}");
        }
    }
    Ok(())
}

#[test]
fn no_file_is_over_400_lines() -> Result<()> {
    for (path, text) in sources("", &["rs", "wgsl", "sh", "py", "ts", "js", "mjs"])? {
        let lines = text.lines().count();
        ensure!(lines <= 400, "{path} has {lines} lines");
    }
    Ok(())
}

#[test]
fn nothing_is_kept_in_step_by_hand() -> Result<()> {
    // In pieces, so that this file is not found.
    let phrases = [
        ["keep", "in sync"],
        ["keep these", "in sync"],
        ["must be kept", "in sync"],
        ["kept", "in sync with"],
    ];
    for (path, text) in sources("", &["rs", "wgsl", "sh", "toml"])? {
        for phrase in phrases.map(|words| words.join(" ")) {
            ensure!(
                !text.to_lowercase().contains(&phrase),
                "{path}: two things that agree are generated or compared"
            );
        }
    }
    Ok(())
}

#[test]
fn the_minimum_rust_version_is_the_workspaces() -> Result<()> {
    for (path, text) in sources("", &["toml"])? {
        // Those with a workspace of their own are built by other tools or toolchains.
        let apart = text.contains("[workspace]");
        if path.ends_with("Cargo.toml") && text.contains("[package]") && !apart {
            ensure!(text.contains("rust-version.workspace = true"), "{path} states no minimum version");
            if !text.contains("[lints]\nworkspace = true") {
                bail!("{path} does not use the workspace's lints");
            }
        }
    }
    Ok(())
}
