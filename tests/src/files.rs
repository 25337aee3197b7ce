//! Tensors in `.safetensors` files, with the header entry that says what they are for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use foveal_kernels::{Dtype, HostTensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype as Stored, SafeTensors};
use serde_json::{Map, Value};

/// A file's tensors by name, and its `foveal` entry if it has one.
#[derive(Debug)]
pub struct File {
    /// The tensors.
    pub tensors: Vec<(String, HostTensor)>,
    /// The options of a run.
    pub options: Option<Map<String, Value>>,
}

/// Reads a file.
///
/// # Errors
/// If it cannot be read or is not what it should be.
pub fn read(path: &Path) -> Result<File> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let entry = header.metadata().as_ref().and_then(|metadata| metadata.get("foveal"));
    let options = match entry.map(|text| serde_json::from_str(text)).transpose()? {
        None => None,
        Some(Value::Object(options)) => Some(options),
        Some(other) => bail!("the `foveal` entry is {other}, not an object"),
    };
    let file = SafeTensors::deserialize(&bytes)?;
    let tensors = file.tensors().into_iter().map(|(name, view)| Ok((name, tensor(&view)?)));
    Ok(File { tensors: tensors.collect::<Result<_>>()?, options })
}

impl File {
    /// The tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor)
    }
}

fn tensor(view: &TensorView<'_>) -> Result<HostTensor> {
    let shape = view.shape().to_vec();
    let bytes = view.data();
    Ok(match view.dtype() {
        Stored::F32 => HostTensor::from_bytes(shape, bytes, Dtype::F32)?,
        Stored::F16 => HostTensor::from_bytes(shape, bytes, Dtype::F16)?,
        Stored::BF16 => HostTensor::from_bytes(shape, bytes, Dtype::Bf16)?,
        Stored::F64 => HostTensor::new(shape, TensorData::F64(words(bytes, f64::from_le_bytes)))?,
        Stored::I32 => HostTensor::new(shape, TensorData::I32(words(bytes, i32::from_le_bytes)))?,
        Stored::I64 => HostTensor::new(shape, TensorData::I64(words(bytes, i64::from_le_bytes)))?,
        Stored::I8 => HostTensor::from_bytes(shape, bytes, Dtype::I8)?,
        Stored::U8 | Stored::BOOL => HostTensor::new(shape, TensorData::U8(bytes.to_vec()))?,
        other => bail!("tensors of type {other:?} are not read"),
    })
}

fn words<const N: usize, T>(bytes: &[u8], word: fn([u8; N]) -> T) -> Vec<T> {
    let (words, _) = bytes.as_chunks::<N>();
    words.iter().copied().map(word).collect()
}

/// Writes tensors where a failing test can leave them: what `foveal check --golden` reads, so that the failure can be
/// looked at again. Returns the path.
///
/// # Errors
/// If the file cannot be written.
pub fn write(
    folder: &Path,
    name: &str,
    options: &Map<String, Value>,
    tensors: &[(String, &HostTensor)],
) -> Result<PathBuf> {
    let stored: Vec<(&str, Stored, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let (dtype, bytes) = match (tensor.data(), tensor.dtype()) {
                (_, Some(dtype)) => {
                    let stored = match dtype {
                        Dtype::F16 => Stored::F16,
                        Dtype::Bf16 => Stored::BF16,
                        Dtype::F32 => Stored::F32,
                        Dtype::I32 => Stored::I32,
                        Dtype::U8 => Stored::U8,
                        Dtype::I8 => Stored::I8,
                    };
                    let mut bytes = tensor.to_bytes(dtype);
                    bytes.truncate(tensor.len() * dtype.size_bytes());
                    (stored, bytes)
                }
                _ => (Stored::F64, tensor.to_f64().iter().flat_map(|x| x.to_le_bytes()).collect()),
            };
            (name.as_str(), dtype, tensor.shape(), bytes)
        })
        .collect();
    let views: Vec<(&str, TensorView<'_>)> = stored
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.to_vec(), bytes)?)))
        .collect::<Result<_>>()?;
    let metadata = HashMap::from([("foveal".to_owned(), Value::Object(options.clone()).to_string())]);
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{safe}.safetensors"));
    std::fs::write(&path, safetensors::serialize(views, Some(metadata))?)?;
    Ok(path)
}
