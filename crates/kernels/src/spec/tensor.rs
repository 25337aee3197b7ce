//! Tensors on the host: what files hold, what the reference reads, what is uploaded.

use half::{bf16, f16};

use crate::{Dtype, Error, TensorSpec};

/// A dense row-major tensor in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    shape: Vec<usize>,
    data: TensorData,
}

/// A tensor's elements. The first three are [`Dtype`]s; the rest carry indices, lengths and masks.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is its element type")]
pub enum TensorData {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    I8(Vec<i8>),
}

impl TensorData {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F16(x) => x.len(),
            Self::Bf16(x) => x.len(),
            Self::F64(x) => x.len(),
            Self::I32(x) => x.len(),
            Self::I64(x) => x.len(),
            Self::U8(x) => x.len(),
            Self::I8(x) => x.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl HostTensor {
    /// A tensor of `shape` holding `data` in row-major order.
    ///
    /// # Errors
    /// If the number of elements is not the product of the shape, or that product overflows.
    pub fn new(shape: Vec<usize>, data: TensorData) -> Result<Self, Error> {
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if count != Some(data.len()) {
            return Err(Error::invalid(
                "shape",
                format!("{shape:?} does not describe {} elements", data.len()),
            ));
        }
        Ok(Self { shape, data })
    }

    /// A tensor stored as `dtype`, each value rounded to it.
    ///
    /// # Errors
    /// As [`HostTensor::new`], and for integer types if they do not hold a value: one that is out of range, or no whole number.
    pub fn from_f32(shape: Vec<usize>, values: &[f32], dtype: Dtype) -> Result<Self, Error> {
        let integers = || values.iter().copied();
        let integer = |&value: &f32| integer(f64::from(value));
        let data = match dtype {
            Dtype::F32 => TensorData::F32(values.to_vec()),
            Dtype::F16 => TensorData::F16(values.iter().map(|&x| f16::from_f32(x)).collect()),
            Dtype::Bf16 => TensorData::Bf16(values.iter().map(|&x| bf16::from_f32(x)).collect()),
            Dtype::I32 => TensorData::I32(stored("values", integers(), integer, dtype)?),
            Dtype::U8 => TensorData::U8(stored("values", integers(), integer, dtype)?),
            Dtype::I8 => TensorData::I8(stored("values", integers(), integer, dtype)?),
        };
        Self::new(shape, data)
    }

    /// A tensor whose storage of type `dtype` is `bytes` (little endian, as in GPU memory). Trailing bytes are ignored.
    ///
    /// # Errors
    /// If `bytes` is too short for `shape`, or the number of bytes that `shape` describes overflows.
    pub fn from_bytes(shape: Vec<usize>, bytes: &[u8], dtype: Dtype) -> Result<Self, Error> {
        let need = shape.iter().try_fold(dtype.size_bytes(), |n, &size| n.checked_mul(size));
        let need =
            need.ok_or_else(|| Error::invalid("shape", format!("{shape:?} of {dtype} overflows its bytes")))?;
        let bytes = bytes.get(..need).ok_or_else(|| {
            Error::invalid("bytes", format!("{shape:?} of {dtype} needs {need} bytes, got {}", bytes.len()))
        })?;
        let halves = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        let data = match dtype {
            Dtype::F32 => TensorData::F32(
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            ),
            Dtype::F16 => TensorData::F16(halves().map(f16::from_le_bytes).collect()),
            Dtype::Bf16 => TensorData::Bf16(halves().map(bf16::from_le_bytes).collect()),
            Dtype::I32 => TensorData::I32(
                bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            ),
            Dtype::U8 => TensorData::U8(bytes.to_vec()),
            Dtype::I8 => TensorData::I8(bytes.iter().map(|byte| byte.cast_signed()).collect()),
        };
        Self::new(shape, data)
    }

    /// Sizes, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major.
    #[must_use]
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// The storage type, or `None` for a tensor of a type that devices do not hold: doubles and 64-bit integers.
    #[must_use]
    pub fn dtype(&self) -> Option<Dtype> {
        match self.data {
            TensorData::F32(_) => Some(Dtype::F32),
            TensorData::F16(_) => Some(Dtype::F16),
            TensorData::Bf16(_) => Some(Dtype::Bf16),
            TensorData::I32(_) => Some(Dtype::I32),
            TensorData::U8(_) => Some(Dtype::U8),
            TensorData::I8(_) => Some(Dtype::I8),
            TensorData::F64(_) | TensorData::I64(_) => None,
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether the tensor has no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements as f64.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            TensorData::F32(x) => x.iter().map(|&x| f64::from(x)).collect(),
            TensorData::F16(x) => x.iter().map(|x| x.to_f64()).collect(),
            TensorData::Bf16(x) => x.iter().map(|x| x.to_f64()).collect(),
            TensorData::F64(x) => x.clone(),
            TensorData::I32(x) => x.iter().map(|&x| f64::from(x)).collect(),
            #[expect(clippy::cast_precision_loss, reason = "indices are far below 2^53")]
            TensorData::I64(x) => x.iter().map(|&x| x as f64).collect(),
            TensorData::U8(x) => x.iter().map(|&x| f64::from(x)).collect(),
            TensorData::I8(x) => x.iter().map(|&x| f64::from(x)).collect(),
        }
    }

    /// The elements stored as `dtype` (floats rounded where it is narrower), little endian, padded with zeros to whole `u32`s:
    /// what a storage buffer is filled with. `name` is what an error calls the tensor.
    ///
    /// # Errors
    /// If `dtype` is an integer type and does not hold an element: one that is out of its range, or no whole number.
    pub fn checked_bytes(&self, name: &str, dtype: Dtype) -> Result<Vec<u8>, Error> {
        if dtype.is_float() || self.dtype() == Some(dtype) {
            return Ok(self.to_bytes(dtype));
        }
        let mut bytes = Vec::with_capacity((self.len() * dtype.size_bytes()).next_multiple_of(4));
        match dtype {
            Dtype::U8 => bytes.extend(self.whole::<u8>(name, dtype)?),
            Dtype::I8 => bytes.extend(self.whole::<i8>(name, dtype)?.into_iter().map(i8::cast_unsigned)),
            _ => bytes.extend(self.whole::<i32>(name, dtype)?.into_iter().flat_map(i32::to_le_bytes)),
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Ok(bytes)
    }

    /// The elements stored as `dtype`, rounded where it is narrower (integers drop the fraction and saturate: for input
    /// there is [`HostTensor::checked_bytes`]), little endian, padded with zeros to whole `u32`s.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounding to the storage type is the purpose"
    )]
    pub fn to_bytes(&self, dtype: Dtype) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((self.len() * dtype.size_bytes()).next_multiple_of(4));
        match (&self.data, dtype) {
            (TensorData::F32(x), Dtype::F32) => bytes.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            (TensorData::F16(x), Dtype::F16) => bytes.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            (TensorData::Bf16(x), Dtype::Bf16) => bytes.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            (TensorData::I32(x), Dtype::I32) => bytes.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            (TensorData::U8(x), Dtype::U8) => bytes.extend(x),
            (TensorData::I8(x), Dtype::I8) => bytes.extend(x.iter().map(|x| x.cast_unsigned())),
            _ => {
                for x in self.to_f64() {
                    match dtype {
                        Dtype::F32 => bytes.extend((x as f32).to_le_bytes()),
                        Dtype::F16 => bytes.extend(f16::from_f64(x).to_le_bytes()),
                        Dtype::Bf16 => bytes.extend(bf16::from_f64(x).to_le_bytes()),
                        Dtype::I32 => bytes.extend((x as i32).to_le_bytes()),
                        Dtype::U8 => bytes.push(x as u8),
                        Dtype::I8 => bytes.push((x as i8).cast_unsigned()),
                    }
                }
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The elements as integers of the storage type `dtype`.
    fn whole<T: TryFrom<i64>>(&self, name: &str, dtype: Dtype) -> Result<Vec<T>, Error> {
        match &self.data {
            TensorData::I64(x) => stored(name, x.iter().copied(), |&x| Some(x), dtype),
            TensorData::I32(x) => stored(name, x.iter().copied(), |&x| Some(i64::from(x)), dtype),
            TensorData::U8(x) => stored(name, x.iter().copied(), |&x| Some(i64::from(x)), dtype),
            TensorData::I8(x) => stored(name, x.iter().copied(), |&x| Some(i64::from(x)), dtype),
            _ => stored(name, self.to_f64().into_iter(), |&x| integer(x), dtype),
        }
    }
}

/// Checks that inputs which the device holds as integers are integers.
pub(crate) fn check_integers(
    tensor_specs: &[TensorSpec],
    inputs: &[(&str, &HostTensor)],
) -> Result<(), Error> {
    for (name, tensor) in inputs {
        let tensor_spec =
            tensor_specs.iter().find(|tensor_spec| tensor_spec.name == *name && tensor_spec.access.reads());
        let Some(dtype) = tensor_spec.map(|tensor_spec| tensor_spec.dtype).filter(|dtype| !dtype.is_float())
        else {
            continue;
        };
        match dtype {
            _ if tensor.dtype() == Some(dtype) => {}
            Dtype::U8 => drop(tensor.whole::<u8>(name, dtype)?),
            Dtype::I8 => drop(tensor.whole::<i8>(name, dtype)?),
            _ => drop(tensor.whole::<i32>(name, dtype)?),
        }
    }
    Ok(())
}

/// The integer that a float is, if it is one that i64 holds.
pub(crate) fn integer(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    (value.fract() == 0.0 && value.abs() < 9e18).then_some(value as i64)
}

/// The values as integers of the storage type `dtype`.
fn stored<V: std::fmt::Display, T: TryFrom<i64>>(
    name: &str,
    values: impl Iterator<Item = V>,
    integer: impl Fn(&V) -> Option<i64>,
    dtype: Dtype,
) -> Result<Vec<T>, Error> {
    let one = |(at, value): (usize, V)| {
        integer(&value).and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
            let (min, max) = match dtype {
                Dtype::U8 => (0, 255),
                Dtype::I8 => (-128, 127),
                _ => (i32::MIN, i32::MAX),
            };
            let message = format!("element {at} is {value}; {dtype} holds whole numbers from {min} to {max}");
            Error::invalid(name, message)
        })
    };
    values.enumerate().map(one).collect()
}

/// The input of that name.
///
/// # Errors
/// If it is missing.
pub(crate) fn tensor_named<'a>(
    inputs: &[(&str, &'a HostTensor)],
    name: &str,
) -> Result<&'a HostTensor, Error> {
    let found = inputs.iter().find_map(|(given, tensor)| (*given == name).then_some(*tensor));
    found.ok_or_else(|| Error::invalid(name, "the tensor is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_overflow_are_refused() {
        for shape in
            [vec![usize::MAX, 2], vec![usize::MAX / 2], vec![1 << 32, 1 << 32], vec![0, usize::MAX, 2]]
        {
            for dtype in [Dtype::F32, Dtype::F16, Dtype::I32] {
                let error = HostTensor::from_bytes(shape.clone(), &[0; 16], dtype);
                if shape[0] == 0 {
                    assert!(error.is_ok_and(|tensor| tensor.is_empty()), "{shape:?}");
                } else {
                    assert!(error.is_err(), "{shape:?} {dtype}");
                }
            }
        }
        let long = HostTensor::from_bytes(vec![5], &[0; 16], Dtype::F32).unwrap_err().to_string();
        assert!(long.contains("needs 20 bytes, got 16"), "{long}");
    }
}
