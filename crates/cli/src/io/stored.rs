//! Tensors as files hold them: what is known of them before their elements are read, and reading these.

use std::sync::Arc;

use anyhow::Result;
use foveal_kernels::{Dtype, HostTensor, TensorData};
use half::{bf16, f16, vec::HalfBitsVecExt};

use super::source::{FileBytes, does_not_fit};
use crate::failure::{NoJob, usage};

/// Bytes that are read at a time: whole elements of every type.
const CHUNK: usize = 1 << 20;

/// Element types that files may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    I32,
    I64,
    U8,
    I8,
    Bool,
}

impl Element {
    pub(super) const fn size_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    pub(crate) const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// The storage type that it is already.
    const fn dtype(self) -> Option<Dtype> {
        match self {
            Self::F16 => Some(Dtype::F16),
            Self::Bf16 => Some(Dtype::Bf16),
            Self::F32 => Some(Dtype::F32),
            Self::I32 => Some(Dtype::I32),
            Self::U8 | Self::Bool => Some(Dtype::U8),
            Self::I8 => Some(Dtype::I8),
            Self::F64 | Self::I64 => None,
        }
    }
}

/// The element type of a tensor, or why it cannot be read.
pub(crate) type Kind = std::result::Result<Element, String>;

/// A tensor of a file. Nothing but its header was read.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(super) source: Arc<FileBytes>,
    /// Where its first byte is.
    pub(super) at: u64,
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
    /// The first index runs fastest, not the last.
    pub(super) fortran: bool,
}

impl Stored {
    /// Sizes, outermost first.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of the elements, if it can be read.
    pub(crate) fn element(&self) -> Option<Element> {
        self.kind.as_ref().ok().copied()
    }

    /// Number of elements. Readers have checked that it can be multiplied.
    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes in the file, if the type can be read.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.element().map_or(0, |element| self.count() as u64 * element.size_bytes() as u64)
    }

    /// The type, if it can be read: an error says what can.
    pub(crate) fn readable(&self) -> Result<Element> {
        self.kind.clone().map_err(|reason| NoJob(reason).into())
    }

    /// Reads it: floating-point elements as `dtype` if there is one, each rounded once.
    pub(crate) fn load(&self, dtype: Option<Dtype>) -> Result<HostTensor> {
        let element = self.readable()?;
        let data = match dtype.filter(|&dtype| element.is_float() && element.dtype() != Some(dtype)) {
            Some(dtype) => self.converted(element, dtype)?,
            None => self.native(element)?,
        };
        HostTensor::new(self.shape.clone(), data).map_err(|error| usage(error.to_string()))
    }

    fn native(&self, element: Element) -> Result<TensorData> {
        Ok(match element {
            Element::F16 => TensorData::F16(self.read(f16::from_le_bytes)?),
            Element::Bf16 => TensorData::Bf16(self.read(bf16::from_le_bytes)?),
            Element::F32 => TensorData::F32(self.read(f32::from_le_bytes)?),
            Element::F64 => TensorData::F64(self.read(f64::from_le_bytes)?),
            Element::I32 => TensorData::I32(self.read(i32::from_le_bytes)?),
            Element::I64 => TensorData::I64(self.read(i64::from_le_bytes)?),
            Element::U8 => TensorData::U8(self.read(u8::from_le_bytes)?),
            Element::I8 => TensorData::I8(self.read(i8::from_le_bytes)?),
            Element::Bool => TensorData::U8(self.read(|[byte]| u8::from(byte != 0))?),
        })
    }

    fn converted(&self, element: Element, dtype: Dtype) -> Result<TensorData> {
        match element {
            Element::F16 => self.rounded(dtype, |bytes| f16::from_le_bytes(bytes).to_f64()),
            Element::Bf16 => self.rounded(dtype, |bytes| bf16::from_le_bytes(bytes).to_f64()),
            Element::F32 => self.rounded(dtype, |bytes| f64::from(f32::from_le_bytes(bytes))),
            Element::F64 => self.rounded(dtype, f64::from_le_bytes),
            other => self.native(other),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounding to the storage type is the purpose")]
    fn rounded<const N: usize>(&self, dtype: Dtype, from: impl Fn([u8; N]) -> f64) -> Result<TensorData> {
        Ok(match dtype {
            Dtype::F16 => TensorData::F16(self.read(|bytes| f16::from_f64(from(bytes)))?),
            Dtype::Bf16 => TensorData::Bf16(self.read(|bytes| bf16::from_f64(from(bytes)))?),
            Dtype::F32 => TensorData::F32(self.read(|bytes| from(bytes) as f32)?),
            Dtype::I32 | Dtype::U8 | Dtype::I8 => {
                return Err(usage(format!("{dtype} is no type of real numbers")));
            }
        })
    }

    /// The elements in row-major order, piece by piece: of the tensor there is one copy only.
    fn read<const N: usize, T: Copy + Zero>(&self, from: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let count = self.count();
        let mut elements = zeros::<T>(count)?;
        let mut place = RowMajor::new(&self.shape);
        let mut buffer = vec![0; CHUNK.min(count * N)];
        let mut done = 0;
        while done < count {
            let some = (CHUNK / N).min(count - done);
            let Some(bytes) = buffer.get_mut(..some * N) else { break };
            self.source.read(self.at + (done * N) as u64, bytes)?;
            let (pieces, _) = bytes.as_chunks_mut::<N>();
            if self.big_endian {
                pieces.iter_mut().for_each(|piece| piece.reverse());
            }
            if self.fortran {
                for &mut piece in pieces {
                    if let Some(element) = elements.get_mut(place.next()) {
                        *element = from(piece);
                    }
                }
            } else {
                let into = elements.iter_mut().skip(done);
                into.zip(pieces).for_each(|(element, &mut piece)| *element = from(piece));
            }
            done += some;
        }
        Ok(elements)
    }

    /// A tensor of the same sizes and type, or of `dtype` if its elements are floating-point numbers, that holds zeros.
    /// It takes hardly any memory as long as it is not written to.
    pub(crate) fn stand_in(&self, dtype: Option<Dtype>) -> Result<HostTensor> {
        let count = self.count();
        let element = self.element().unwrap_or(Element::U8);
        let data = match (element, dtype.filter(|_| element.is_float())) {
            (_, Some(Dtype::F32)) | (Element::F32, None) => TensorData::F32(zeros(count)?),
            (_, Some(Dtype::F16)) | (Element::F16, None) => TensorData::F16(zeros(count)?),
            (_, Some(Dtype::Bf16)) | (Element::Bf16, None) => TensorData::Bf16(zeros(count)?),
            (Element::F64, _) => TensorData::F64(zeros(count)?),
            (Element::I32, _) => TensorData::I32(zeros(count)?),
            (Element::I64, _) => TensorData::I64(zeros(count)?),
            (Element::I8, _) => TensorData::I8(zeros(count)?),
            _ => TensorData::U8(zeros(count)?),
        };
        HostTensor::new(self.shape.clone(), data).map_err(|error| usage(error.to_string()))
    }

    /// A tensor of so many dimensions without elements.
    pub(crate) fn shrunk(&self) -> Result<HostTensor> {
        let shape = vec![1; self.shape.len()];
        Self { shape, ..self.clone() }.stand_in(None)
    }
}

/// `count` zeros, if there is memory for them: the allocator's own zeros, which take no writing.
fn zeros<T: Zero>(count: usize) -> Result<Vec<T>> {
    // Making them would end the process where there is no memory.
    let room = Vec::<T>::new().try_reserve_exact(count);
    room.map_err(|_| does_not_fit((count as u64).saturating_mul(size_of::<T>() as u64)))?;
    Ok(T::zeros(count))
}

/// Element types of a tensor.
trait Zero: Sized {
    fn zeros(count: usize) -> Vec<Self>;
}

macro_rules! zero {
    ($($t:ty = $zeros:expr),*) => {
        $(impl Zero for $t {
            fn zeros(count: usize) -> Vec<Self> {
                $zeros(count)
            }
        })*
    };
}
zero!(
    i8 = |count| vec![0; count],
    u8 = |count| vec![0; count],
    i32 = |count| vec![0; count],
    i64 = |count| vec![0; count],
    f32 = |count| vec![0.0; count],
    f64 = |count| vec![0.0; count],
    f16 = |count| vec![0u16; count].reinterpret_into(),
    bf16 = |count| vec![0u16; count].reinterpret_into()
);

/// Where elements belong whose first index runs fastest, one after the other.
struct RowMajor<'s> {
    shape: &'s [usize],
    strides: Vec<usize>,
    index: Vec<usize>,
    at: usize,
}

impl<'s> RowMajor<'s> {
    fn new(shape: &'s [usize]) -> Self {
        let mut strides = vec![1usize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
        }
        Self { shape, strides, index: vec![0; shape.len()], at: 0 }
    }

    fn next(&mut self) -> usize {
        let here = self.at;
        for ((&size, &stride), index) in self.shape.iter().zip(&self.strides).zip(&mut self.index) {
            *index += 1;
            self.at += stride;
            if *index < size {
                break;
            }
            self.at -= stride * size;
            *index = 0;
        }
        here
    }
}
