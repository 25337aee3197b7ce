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

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use foveal_kernels::{HostTensor, TensorData};
use half::{bf16, f16};
use serde_json::{Map, Value};

use crate::failure::usage;
pub(crate) use output::Output;
pub(crate) use place::Place;
use source::Source;
pub(crate) use stored::{Element, Stored};

/// Holds the options of a run beside a directory's `.npy` files.
const OPTIONS_FILE: &str = "foveal.json";
/// The entry about the directory itself, which is no option: the names of the tensors that a run wrote there.
const WROTE: &str = "wrote";

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
    pub(crate) fn options(&self) -> Result<Option<Map<String, Value>>> {
        let Some(text) = self.metadata.get("foveal") else { return Ok(None) };
        match serde_json::from_str(text) {
            Ok(Value::Object(mut options)) => {
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

/// The tensors of a `.safetensors` file that is part of the program.
pub(crate) fn parse(bytes: &'static [u8]) -> Result<TensorFile> {
    safetensors::parse(&Source::held(bytes))
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
        let source = Source::open(path)?;
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

/// Writes elements in their own type, little endian.
fn write_elements(out: &mut dyn Write, tensor: &HostTensor) -> std::io::Result<()> {
    match tensor.data() {
        TensorData::F16(values) => write_all(out, values, f16::to_le_bytes),
        TensorData::Bf16(values) => write_all(out, values, bf16::to_le_bytes),
        TensorData::F32(values) => write_all(out, values, f32::to_le_bytes),
        TensorData::F64(values) => write_all(out, values, f64::to_le_bytes),
        TensorData::I32(values) => write_all(out, values, i32::to_le_bytes),
        TensorData::I64(values) => write_all(out, values, i64::to_le_bytes),
        TensorData::U8(values) => out.write_all(values),
    }
}

/// Writes values piece by piece: outputs may be as large as memory allows, and a copy of them would not fit.
fn write_all<T: Copy, const N: usize>(
    out: &mut dyn Write,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(N << 14);
    for some in values.chunks(1 << 14) {
        buffer.clear();
        buffer.extend(some.iter().flat_map(|&value| bytes(value)));
        out.write_all(&buffer)?;
    }
    Ok(())
}
