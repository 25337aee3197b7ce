//! Small integers that have scales.

use std::{fmt, str::FromStr};

use crate::{Dtype, Error};

/// How integers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Integers {
    /// -128 to 127, a byte each.
    #[default]
    I8,
    /// -8 to 7, in two's complement, two a byte: of a row's elements 2 i and 2 i + 1 the first lies in the low half. The tensors
    /// are bytes ([`Dtype::U8`]), half as wide as their rows.
    I4,
}

impl Integers {
    /// Bits of an element.
    pub(crate) fn bits(self) -> usize {
        8 / self.in_a_byte()
    }

    /// The integers of stored elements.
    pub(crate) fn unpacked(self, stored: Vec<f64>) -> Vec<f64> {
        let signed = |half: f64| if half >= 8.0 { half - 16.0 } else { half };
        match self {
            Self::I8 => stored,
            Self::I4 => {
                stored.iter().flat_map(|byte| [signed(byte % 16.0), signed((byte / 16.0).floor())]).collect()
            }
        }
    }

    /// Elements in a byte.
    pub(crate) fn in_a_byte(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::I4 => 2,
        }
    }

    /// The type of the tensors.
    #[must_use]
    pub fn dtype(self) -> Dtype {
        match self {
            Self::I8 => Dtype::I8,
            Self::I4 => Dtype::U8,
        }
    }
}

impl fmt::Display for Integers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I8 => "i8",
            Self::I4 => "i4",
        })
    }
}

impl FromStr for Integers {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "i8" => Ok(Self::I8),
            "i4" => Ok(Self::I4),
            other => Err(Error::no_word("kv_dtype", &["i8", "i4"], other)),
        }
    }
}
