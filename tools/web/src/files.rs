//! Folders.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

/// Puts the folder `new` where `place` is. Readers find the old or the new one whole, or none for a moment.
pub(crate) fn replace(new: &Path, place: &Path) -> Result<()> {
    let old = place.with_extension("old");
    let _ = fs::remove_dir_all(&old);
    if place.exists() {
        fs::rename(place, &old)?;
    }
    fs::rename(new, place).with_context(|| format!("{} cannot be written", place.display()))?;
    let _ = fs::remove_dir_all(&old);
    Ok(())
}
