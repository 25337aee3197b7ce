//! Bytes of files and elements of tensors.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Result;
use foveal_kernels::{HostTensor, TensorData};
use half::{bf16, f16};

use crate::failure::usage;

/// The whole file. `size` is what the file system says, so memory is asked for by what is there, not by a claim.
pub(super) fn read_file(path: &Path, size: u64) -> Result<Vec<u8>> {
    let too_large = || usage(format!("its {size} bytes do not fit into memory"));
    let count = usize::try_from(size).map_err(|_| too_large())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count).map_err(|_| too_large())?;
    let file = File::open(path).map_err(|error| usage(error.to_string()))?;
    // A file that grows while it is read must not be followed for ever.
    file.take(size).read_to_end(&mut bytes).map_err(|error| usage(error.to_string()))?;
    Ok(bytes)
}

/// Element types that files may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    I32,
    I64,
    U8,
    Bool,
}

impl Element {
    pub(super) const fn size_bytes(self) -> usize {
        match self {
            Self::U8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// A tensor of little-endian, row-major `bytes`.
pub(super) fn tensor(shape: Vec<usize>, element: Element, bytes: &[u8]) -> Result<HostTensor> {
    let data = match element {
        Element::F16 => TensorData::F16(parse(bytes, f16::from_le_bytes)),
        Element::Bf16 => TensorData::Bf16(parse(bytes, bf16::from_le_bytes)),
        Element::F32 => TensorData::F32(parse(bytes, f32::from_le_bytes)),
        Element::F64 => TensorData::F64(parse(bytes, f64::from_le_bytes)),
        Element::I32 => TensorData::I32(parse(bytes, i32::from_le_bytes)),
        Element::I64 => TensorData::I64(parse(bytes, i64::from_le_bytes)),
        Element::U8 => TensorData::U8(bytes.to_vec()),
        Element::Bool => TensorData::U8(bytes.iter().map(|&b| u8::from(b != 0)).collect()),
    };
    HostTensor::new(shape, data).map_err(|error| usage(error.to_string()))
}

fn parse<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| from(chunk)).collect()
}

/// The elements of a tensor in its own type, little endian, without padding.
pub(super) fn to_bytes(tensor: &HostTensor) -> Vec<u8> {
    match tensor.data() {
        TensorData::F16(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::Bf16(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::F32(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::F64(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::I32(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::I64(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::U8(x) => x.clone(),
    }
}
