//! Storage types. Arithmetic is always f32 on the device and f64 in references.

use std::{fmt, str::FromStr};

use crate::Error;

/// How a tensor's elements are stored in GPU memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// IEEE 754 single precision, four bytes.
    #[default]
    F32,
    /// IEEE 754 half precision, two bytes.
    F16,
    /// The upper half of a single, two bytes.
    Bf16,
    /// Signed integers, four bytes: tables that expressions read, lists, lengths.
    I32,
    /// Bytes, 0 to 255: tables that expressions read, and pairs of 4-bit integers.
    U8,
    /// Signed bytes, -128 to 127: keys and values as integers that have scales.
    I8,
}

impl Dtype {
    /// The types that operators compute with, in the order they are documented.
    pub const FLOATS: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Bytes of one element.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::U8 | Self::I8 => 1,
        }
    }

    /// Whether it holds real numbers.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// `value` as this type would store it: integers drop the fraction and saturate.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating is the purpose")]
    #[expect(clippy::cast_precision_loss, reason = "an i32 that f32 cannot hold is rounded")]
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => half::f16::from_f32(value).to_f32(),
            Self::Bf16 => half::bf16::from_f32(value).to_f32(),
            Self::I32 => (value as i32) as f32,
            Self::U8 => f32::from(value as u8),
            Self::I8 => f32::from(value as i8),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::I8 => "i8",
        })
    }
}

/// The floats: what an option can ask for.
impl FromStr for Dtype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::FLOATS
            .into_iter()
            .find(|dtype| dtype.to_string() == text)
            .ok_or_else(|| Error::invalid("dtype", format!("expected f32, f16 or bf16, got `{text}`")))
    }
}
