//! Khronos' validator, where it is installed.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Whether `spirv-val` can be run.
#[must_use]
pub fn installed() -> bool {
    let run = Command::new("spirv-val").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// The complaint of `spirv-val` about a module; `None` if there is none.
///
/// # Errors
/// If the tool cannot be run.
pub fn complaint(words: &[u32]) -> Result<Option<String>> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut child = Command::new("spirv-val")
        .args(["--target-env", "vulkan1.1", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("spirv-val")?;
    // A validator that gives up early closes its end; what it says is what counts.
    let _ = child.stdin.take().context("spirv-val has no stdin")?.write_all(&bytes);
    let output = child.wait_with_output().context("spirv-val")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned()))
}
