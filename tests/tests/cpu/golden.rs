//! The CPU reference against what third parties computed.

use anyhow::{Context, Result, ensure};
use foveal_tests::{golden, say, skipped};

fn agree(folder: &std::path::Path, at_least: usize) -> Result<()> {
    let files = golden::files(folder)?;
    let (mut agreed, mut passed_over) = (0, 0);
    for path in &files {
        match golden::reference_agrees(path).with_context(|| path.display().to_string())? {
            None => agreed += 1,
            Some(_) => passed_over += 1,
        }
    }
    say(&format!("golden: {agreed} files agree, {passed_over} are not served by this version"));
    ensure!(agreed >= at_least, "{agreed} golden files were compared, at least {at_least} are expected");
    Ok(())
}

#[test]
fn the_reference_agrees_with_the_golden_files() -> Result<()> {
    let [ours, _] = golden::folders();
    agree(&ours, 35)
}

#[test]
fn the_reference_agrees_with_the_larger_golden_set() -> Result<()> {
    let [_, larger] = golden::folders();
    if golden::files(&larger)?.is_empty() {
        skipped("larger golden set", "there is no ../shared/golden beside the repository");
        return Ok(());
    }
    agree(&larger, 99)
}
