//! Tensors in files. Nothing is trusted: sizes are checked against the file before memory is asked for.

mod bytes;
#[cfg(test)]
mod hostile;
mod npy;
mod output;
mod safetensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use foveal_kernels::HostTensor;
use serde_json::{Map, Value};

use crate::failure::usage;
pub(crate) use output::{Output, beside};

/// Tensors by name, and what a file says about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TensorFile {
    /// The tensors, by name.
    pub(crate) tensors: BTreeMap<String, HostTensor>,
    /// The header's strings.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// The `foveal` header entry: the options of a run.
    pub(crate) fn options(&self) -> Result<Option<Map<String, Value>>> {
        let Some(text) = self.metadata.get("foveal") else { return Ok(None) };
        match serde_json::from_str(text) {
            Ok(Value::Object(options)) => Ok(Some(options)),
            Ok(other) => {
                Err(usage(format!("the `foveal` header entry is {}, expected a JSON object", kind(&other))))
            }
            Err(error) => Err(usage(format!("the `foveal` header entry is not JSON: {error}"))),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The tensors of a `.safetensors` file's bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<TensorFile> {
    safetensors::parse(bytes)
}

/// Reads a `.safetensors` file or a directory of `.npy` files.
pub(crate) fn read(path: &Path) -> Result<TensorFile> {
    let named = |error: anyhow::Error| error.context(path.display().to_string());
    let about = std::fs::metadata(path).map_err(|error| named(usage(error.to_string())))?;
    if about.is_dir() {
        return npy::read_directory(path).map_err(named);
    }
    // Opening a pipe would wait for a writer for ever, and a device has no size.
    if !about.is_file() {
        return Err(named(usage("expected a .safetensors file or a directory of .npy files, got neither")));
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => npy::read_single(path),
        _ => safetensors::parse(&bytes::read_file(path, about.len()).map_err(named)?),
    }
    .map_err(named)
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

/// The regular files of a directory that have this extension.
fn entries_with(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| usage(error.to_string()))? {
        let path = entry.map_err(|error| usage(error.to_string()))?.path();
        if path.extension().is_some_and(|e| e == extension) && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}
