//! Outputs, written beside their place and then renamed: a reader never sees half a file, and a failed run leaves nothing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use foveal_kernels::HostTensor;
use tempfile::{NamedTempFile, TempDir};

use super::{npy, safetensors};
use crate::failure::usage;

/// A place that can be written to, found out before anything is computed.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    pending: Pending,
}

#[derive(Debug)]
enum Pending {
    File(NamedTempFile),
    Directory(TempDir),
}

impl Output {
    /// Prepares to write to `path`: a `.safetensors` file, or a directory of `.npy` files if it has no extension.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        let denied = |error: std::io::Error| denied(path, &error);
        let pending = match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") if path.is_dir() => {
                return Err(usage(format!("{}: is a directory, expected a file", path.display())));
            }
            Some("safetensors") => Pending::File(beside(path)?),
            _ if path.is_file() || path.extension().is_some() && !path.is_dir() => {
                return Err(usage(format!(
                    "{}: expected a name that ends in .safetensors, or a directory for .npy files",
                    path.display()
                )));
            }
            // What is in a directory stays there, so the files are renamed one by one from within it.
            _ if path.is_dir() => Pending::Directory(builder(0o777).tempdir_in(path).map_err(denied)?),
            _ => Pending::Directory(builder(0o777).tempdir_in(parent(path)?).map_err(denied)?),
        };
        Ok(Self { path: path.to_owned(), pending })
    }

    /// Writes the tensors and the options of the run that made them.
    pub(crate) fn write(self, tensors: &[(&str, &HostTensor)], options: &str) -> Result<()> {
        let Self { path, pending } = self;
        match pending {
            Pending::File(mut file) => {
                file.write_all(&safetensors::serialise(tensors, options)?)
                    .and_then(|()| file.as_file().sync_all())
                    .with_context(|| path.display().to_string())?;
                file.persist(&path)
                    .map_err(|error| error.error)
                    .with_context(|| path.display().to_string())?;
            }
            Pending::Directory(directory) => {
                let write = |name: String, bytes: Vec<u8>| {
                    fs::write(directory.path().join(&name), bytes)
                        .with_context(|| path.display().to_string())?;
                    anyhow::Ok(name)
                };
                let mut names = vec![write("foveal.json".into(), options.as_bytes().to_vec())?];
                for (name, tensor) in tensors {
                    names.push(write(format!("{name}.npy"), npy::serialise(tensor)?)?);
                }
                let moved = if path.is_dir() {
                    names.iter().try_for_each(|name| fs::rename(directory.path().join(name), path.join(name)))
                } else {
                    // Renamed, the directory must not be deleted when its handle goes.
                    fs::rename(directory.path(), &path).map(|()| drop(directory.keep()))
                };
                moved.with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }
}

/// A temporary file in the directory where `path` will be, or an error that says why there cannot be one.
pub(crate) fn beside(path: &Path) -> Result<NamedTempFile> {
    builder(0o666).tempfile_in(parent(path)?).map_err(|error| denied(path, &error))
}

/// The directory of `path`. Looked at first, because a temporary file's own error would name the temporary file.
fn parent(path: &Path) -> Result<&Path> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(usage(format!("{}: cannot be written", path.display()))),
    };
    let why = match fs::metadata(parent) {
        Ok(about) if about.is_dir() => return Ok(parent),
        Ok(_) => "not a directory".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(usage(format!("{}: cannot be written: {}: {why}", path.display(), parent.display())))
}

fn denied(path: &Path, error: &std::io::Error) -> anyhow::Error {
    usage(format!("{}: cannot be written: {error}", path.display()))
}

/// Temporary files are private by default; what becomes the user's file has the permissions that files have there.
#[cfg_attr(not(unix), expect(unused_variables, reason = "permission bits are a Unix notion"))]
fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".foveal-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    builder
}

#[cfg(test)]
mod tests {
    use foveal_kernels::TensorData;

    use super::*;

    fn tensor() -> HostTensor {
        HostTensor::new(vec![1, 2], TensorData::F32(vec![1.0, -2.0])).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let place = tempfile::tempdir().unwrap();
        for name in ["out.safetensors", "out"] {
            let path = place.path().join(name);
            // Twice: the second replaces the first.
            for _ in 0..2 {
                let output = Output::prepare(&path).unwrap();
                output.write(&[("o", &tensor())], "{\"op\":\"attention\"}").unwrap();
                let file = crate::io::read(&path).unwrap();
                assert_eq!(file.tensors["o"], tensor());
                assert_eq!(file.options().unwrap().unwrap()["op"], "attention");
            }
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "nothing temporary stays");
    }

    #[test]
    fn a_place_that_is_dropped_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        drop(Output::prepare(&place.path().join("a.safetensors")).unwrap());
        drop(Output::prepare(&place.path().join("b")).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn places_that_cannot_be_written_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [
            place.path().join("none/out.safetensors"),
            file.join("out.safetensors"),
            place.path().join("out.txt"),
        ] {
            assert!(Output::prepare(&path).is_err(), "{}", path.display());
        }
    }
}
