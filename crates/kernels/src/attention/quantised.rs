//! Keys and values that are integers with scales.

use crate::{Dtype, Error};

/// Keys and values stored as integers, with a scale for each block of keys: a value is `scale * integer`.
///
/// Scales are tensors `[B, G, blocks]` of f32; blocks are counted by the keys' positions, in pages too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantised {
    /// The name of the scales of k.
    pub k_scale: String,
    /// The name of the scales of v.
    pub v_scale: String,
    /// Keys that share a scale; at least 1.
    pub block: usize,
    /// Scales of a head, where they are fewer than `ceil(Tk / block)`: no entry may then have more keys.
    pub blocks: Option<usize>,
    /// How the integers are stored.
    pub integers: Integers,
}

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

impl std::fmt::Display for Integers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::I8 => "i8",
            Self::I4 => "i4",
        })
    }
}

impl std::str::FromStr for Integers {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "i8" => Ok(Self::I8),
            "i4" => Ok(Self::I4),
            other => Err(Error::no_word("kv_dtype", &["i8", "i4"], other)),
        }
    }
}

impl Quantised {
    /// Integers of a byte with these scales, one for each 64 keys.
    #[must_use]
    pub fn new(k_scale: impl Into<String>, v_scale: impl Into<String>) -> Self {
        Self {
            k_scale: k_scale.into(),
            v_scale: v_scale.into(),
            block: 64,
            blocks: None,
            integers: Integers::I8,
        }
    }

    /// With a scale for each `block` keys.
    #[must_use]
    pub fn block(mut self, block: usize) -> Self {
        self.block = block;
        self
    }

    /// With integers of that type.
    #[must_use]
    pub fn integers(mut self, integers: Integers) -> Self {
        self.integers = integers;
        self
    }
}
