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

/// The file's bytes; `None` if it is not there, is no regular file, cannot be read or is larger than `limit`.
pub(crate) fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
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

/// Opens a regular file only: a pipe in its place would be waited on for ever, and a device may be read without an end.
fn open(path: &Path) -> io::Result<File> {
    let regular = |about: std::fs::Metadata| {
        let other = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        if about.is_file() { Ok(()) } else { Err(other()) }
    };
    regular(std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    regular(file.metadata()?)?;
    Ok(file)
}

/// Replaces the file in one step: readers see the old content or the new. Errors are logged.
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        std::fs::write(path("file"), b"abc").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("device")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo is part of every Unix");
        std::os::unix::fs::symlink(path("pipe"), path("to_pipe")).unwrap();
        for there in ["file", "link"] {
            assert_eq!(read(&path(there), 10).as_deref(), Some(&b"abc"[..]), "{there}");
        }
        for not in ["device", "pipe", "to_pipe", "none", "."] {
            assert_eq!(read(&path(not), 10), None, "{not}");
        }
        // A written file takes the pipe's place.
        write(&path("pipe"), &[b"new"]);
        assert_eq!(read(&path("pipe"), 10).as_deref(), Some(&b"new"[..]));
    }
}
