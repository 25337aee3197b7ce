//! Places for files: found good or bad before anything is computed, and written in one step.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::pending::Pending;
use crate::failure::usage;

/// A place for one file. Nothing is there until all of it is written: the file is written beside it and renamed.
#[derive(Debug)]
pub(crate) struct OutputPath {
    /// As it was given.
    given: PathBuf,
    /// Where it is, links followed.
    path: PathBuf,
}

impl OutputPath {
    /// Checks that a file can be written to `path`, and that this would replace none of the command's `inputs`.
    ///
    /// A symbolic link is followed: what it leads to is replaced. A directory, a pipe, a device and a link that leads
    /// nowhere are refused.
    pub(crate) fn prepare(path: &Path, inputs: &[PathBuf]) -> Result<Self> {
        let resolved = resolve(path)?;
        match fs::metadata(&resolved) {
            Ok(about) if about.is_dir() => {
                return Err(usage(format!("{}: is a directory, expected a file", path.display())));
            }
            Ok(about) if !about.is_file() => return Err(no_file(path)),
            _ => {}
        }
        spare(path, &resolved, inputs)?;
        let parent = parent(path, &resolved)?;
        builder(0o666).tempfile_in(parent).map_err(|error| denied(path, &error))?;
        Ok(Self { given: path.to_owned(), path: resolved })
    }

    /// Writes the file: all of it, or nothing.
    pub(crate) fn write(&self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        let all = || {
            let parent = parent(&self.given, &self.path)?;
            let mut file = builder(0o666).tempfile_in(parent)?;
            let _pending = Pending::new(file.path());
            let mut out = BufWriter::with_capacity(1 << 18, file.as_file_mut());
            write(&mut out)?;
            out.flush()?;
            drop(out);
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            anyhow::Ok(())
        };
        all().with_context(|| self.given.display().to_string())
    }
}

/// The path with all links followed; of a file that is not there yet, those of its directory.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(path) => return Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(denied(path, &error)),
    }
    if let Ok(target) = fs::read_link(path) {
        return Err(usage(format!(
            "{}: is a symbolic link to {}, which is not there",
            path.display(),
            target.display()
        )));
    }
    let Some(name) = path.file_name() else {
        return Err(usage(format!("{}: cannot be written: it names no file", path.display())));
    };
    let parent = parent(path, path)?;
    Ok(fs::canonicalize(parent).map_err(|error| denied(path, &error))?.join(name))
}

/// The directory of a path. Looked at first, because a temporary file's own error would name the temporary file.
pub(super) fn parent<'p>(given: &Path, path: &'p Path) -> Result<&'p Path> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(usage(format!("{}: cannot be written", given.display()))),
    };
    let why = match fs::metadata(parent) {
        Ok(about) if about.is_dir() => return Ok(parent),
        Ok(_) => "not a directory".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(usage(format!("{}: cannot be written: {}: {why}", given.display(), parent.display())))
}

/// Checks that writing to `resolved` leaves the inputs as they are.
pub(super) fn spare(given: &Path, resolved: &Path, inputs: &[PathBuf]) -> Result<()> {
    for input in inputs {
        if fs::canonicalize(input).is_ok_and(|input| input.starts_with(resolved)) {
            return Err(usage(format!(
                "{}: writing there would replace the input {}",
                given.display(),
                input.display()
            )));
        }
    }
    Ok(())
}

pub(super) fn no_file(path: &Path) -> anyhow::Error {
    usage(format!("{}: is neither a file nor a directory, and cannot be replaced by either", path.display()))
}

pub(super) fn denied(path: &Path, error: &std::io::Error) -> anyhow::Error {
    usage(format!("{}: cannot be written: {error}", path.display()))
}

/// Temporary files are private by default; what becomes the user's file has the permissions that files have there.
#[cfg_attr(not(unix), expect(unused_variables, reason = "permission bits are a Unix notion"))]
pub(super) fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".foveal-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    builder
}
