//! Reading and writing small files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The user's cache directory for Foveal, if there is one.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn default_dir() -> Option<PathBuf> {
    use etcetera::app_strategy::{AppStrategy, AppStrategyArgs, choose_native_strategy};
    let names = AppStrategyArgs { app_name: "foveal".to_owned(), ..AppStrategyArgs::default() };
    choose_native_strategy(names).ok().map(|strategy| strategy.cache_dir())
}

/// A browser has no disk.
#[cfg(target_family = "wasm")]
pub(crate) fn default_dir() -> Option<PathBuf> {
    None
}

/// The file's bytes; `None` if it is not there, cannot be read or is larger than `limit`.
pub(crate) fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match read {
        Ok(size) if size as u64 <= limit => Some(bytes),
        Ok(_) => {
            log::debug!("{} is larger than {limit} bytes and ignored", path.display());
            None
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            log::debug!("{} cannot be read and is ignored: {error}", path.display());
            None
        }
    }
}

/// Replaces the file in one step: whoever reads it sees the old content or the new. What goes wrong is logged.
pub(crate) fn write(path: &Path, parts: &[&[u8]]) {
    if let Err(error) = try_write(path, parts) {
        log::debug!("{} cannot be written: {error}", path.display());
    }
}

#[cfg(not(target_family = "wasm"))]
fn try_write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    use std::io::Write;
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new().prefix(".foveal").tempfile_in(dir)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.persist(path)?;
    Ok(())
}

#[cfg(target_family = "wasm")]
fn try_write(_: &Path, _: &[&[u8]]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
