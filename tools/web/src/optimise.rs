//! Binaryen's `wasm-opt`, if it can be had.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// The npm package that has `wasm-opt` as JavaScript: nothing to compile, and the same on every system.
const PACKAGE: &str = "binaryen@132.0.0";

/// What the module uses, which wasm-opt does not find out by itself once the section that tells is stripped.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-multivalue",
    "--enable-simd",
];

/// Makes the module smaller and faster in place. Says so, and does nothing, if there is no `wasm-opt`.
pub(crate) fn optimise(wasm: &Path, tools: &Path, offline: bool) -> Result<()> {
    let Some(mut command) = find(tools, offline) else {
        println!("wasm-opt was not found: the module is as the compiler made it");
        return Ok(());
    };
    let output = wasm.with_extension("optimised");
    command.arg("-Oz").args(FEATURES).arg(wasm).arg("-o").arg(&output);
    let status = command.status()?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    std::fs::rename(output, wasm)?;
    Ok(())
}

fn find(tools: &Path, offline: bool) -> Option<Command> {
    if runs(&mut Command::new("wasm-opt")) {
        return Some(Command::new("wasm-opt"));
    }
    let script = tools.join("node_modules/binaryen/bin/wasm-opt");
    if !script.is_file() {
        if offline || std::env::var_os("FOVEAL_INSTALL").is_some_and(|value| value == "0") {
            return None;
        }
        fetch(tools)?;
    }
    let node = |script: &PathBuf| {
        let mut command = Command::new("node");
        command.arg(script);
        command
    };
    runs(&mut node(&script)).then(|| node(&script))
}

fn runs(command: &mut Command) -> bool {
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Installs the npm package beside what is built.
fn fetch(tools: &Path) -> Option<()> {
    std::fs::create_dir_all(tools).ok()?;
    let mut command = Command::new("npm");
    command
        .args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"])
        .arg(tools)
        .arg(PACKAGE);
    command.status().ok()?.success().then_some(())
}
