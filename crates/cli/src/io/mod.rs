//! Tensors in files. Nothing is trusted: sizes are checked against the file before memory is asked for.

mod foreign;
#[cfg(test)]
mod hostile;
mod npy;
mod output;
mod pending;
mod place;
mod safetensors;
mod source;
mod stored;
mod tensor_file;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::failure::usage;
pub(crate) use output::Output;
pub(crate) use place::OutputPath;
use source::FileBytes;
pub(crate) use stored::{Element, Stored};
pub(crate) use tensor_file::TensorFile;
use tensor_file::entries_with;

/// The tensors of a `.safetensors` file that is part of the program.
pub(crate) fn parse(bytes: &'static [u8]) -> Result<TensorFile> {
    safetensors::parse(&FileBytes::held(bytes))
}

/// Reads a `.safetensors` file or a directory of `.npy` files: what its headers say. The elements of a tensor are read when
/// it is loaded.
pub(crate) fn read(path: &Path) -> Result<TensorFile> {
    let named = |error: anyhow::Error| error.context(path.display().to_string());
    let about = std::fs::metadata(path).map_err(|error| named(usage(error.to_string())))?;
    if about.is_dir() {
        return npy::read_directory(path).map_err(named);
    }
    let read = || {
        let source = FileBytes::open(path)?;
        if let Some(error) = foreign::refuse(path, &source) {
            return Err(error);
        }
        // A name is a guess at best where the content says what it is.
        let head = source.bytes(0, usize::try_from(source.size()).unwrap_or(usize::MAX).min(6))?;
        let named_npy = path.extension().is_some_and(|extension| extension == "npy");
        if head == b"\x93NUMPY" || named_npy {
            npy::read_single(path, &source)
        } else {
            safetensors::parse(&source)
        }
    };
    read().map_err(named)
}

/// Reads several files into one; a tensor that two of them hold is an error.
pub(crate) fn read_all<P: AsRef<Path>>(paths: &[P]) -> Result<TensorFile> {
    let mut merged = TensorFile::default();
    let mut origin: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in paths {
        let path = path.as_ref();
        let file = read(path)?;
        for (name, tensor) in file.tensors {
            if let Some(first) = origin.insert(name.clone(), path.to_owned()) {
                return Err(usage(format!(
                    "tensor `{name}` is in both {} and {}",
                    first.display(),
                    path.display()
                )));
            }
            merged.tensors.insert(name, tensor);
        }
        for (key, text) in file.metadata {
            match merged.metadata.get(&key) {
                Some(other) if key == "foveal" && *other != text => {
                    return Err(usage(format!(
                        "{}: its `foveal` header entry differs from that of an earlier input",
                        path.display()
                    )));
                }
                Some(_) => {}
                None => {
                    merged.metadata.insert(key, text);
                }
            }
        }
    }
    Ok(merged)
}

/// The golden files of a directory in order of name, or the one file.
pub(crate) fn golden_files(path: &Path) -> Result<Vec<PathBuf>> {
    let about = std::fs::metadata(path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = entries_with(path, "safetensors")?;
    files.sort();
    if files.is_empty() {
        return Err(usage(format!("{}: holds no .safetensors file", path.display())));
    }
    Ok(files)
}
