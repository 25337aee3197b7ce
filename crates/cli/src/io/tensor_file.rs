//! A file's tensors by name, and its header.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use foveal_kernels::{OptionMap, OptionValue};

use super::stored::Stored;
use crate::failure::usage;

/// Holds the options of a run beside a directory's `.npy` files.
pub(super) const OPTIONS_FILE: &str = "foveal.json";
/// The entry about the directory itself, which is no option: the names of the tensors that a run wrote there.
pub(super) const WROTE: &str = "wrote";

/// Tensors by name, and what a file says about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TensorFile {
    /// The tensors, by name. Their elements are not read yet.
    pub(crate) tensors: BTreeMap<String, Stored>,
    /// The header's strings.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// The `foveal` header entry: the options of a run.
    pub(crate) fn options(&self) -> Result<Option<OptionMap>> {
        let Some(text) = self.metadata.get("foveal") else { return Ok(None) };
        match serde_json::from_str(text) {
            Ok(OptionValue::Fields(mut options)) => {
                options.remove(WROTE);
                Ok(Some(options))
            }
            Ok(other) => {
                Err(usage(format!("the `foveal` header entry is {}, expected a JSON object", kind(&other))))
            }
            Err(error) => Err(usage(format!("the `foveal` header entry is not JSON: {error}"))),
        }
    }
}

fn kind(value: &OptionValue) -> &'static str {
    match value {
        OptionValue::Null => "null",
        OptionValue::Bool(_) => "a boolean",
        OptionValue::Integer(_) | OptionValue::Number(_) => "a number",
        OptionValue::Text(_) => "a string",
        OptionValue::List(_) => "an array",
        OptionValue::Fields(_) => "an object",
    }
}

/// The regular files of a directory that have this extension.
pub(super) fn entries_with(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| usage(error.to_string()))? {
        let path = entry.map_err(|error| usage(error.to_string()))?.path();
        if path.extension().is_some_and(|e| e == extension) && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}
