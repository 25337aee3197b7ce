//! How tensors lie in storage.

use std::{fmt, str::FromStr};

use crate::Error;

/// Order of the dimensions in storage, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[B, H, T, D]`.
    #[default]
    Bhtd,
    /// `[B, T, H, D]`.
    Bthd,
}

impl Layout {
    /// Strides of a dense tensor of so many heads, positions and columns. Those that cannot be counted are refused elsewhere.
    pub(crate) fn strides(self, [heads, len, dim]: [usize; 3]) -> Strides {
        let (row, all) = (heads.saturating_mul(dim), heads.saturating_mul(len.saturating_mul(dim)));
        match self {
            Self::Bhtd => Strides { batch: all, head: len.saturating_mul(dim), position: dim },
            Self::Bthd => Strides { batch: all, head: dim, position: row },
        }
    }

    /// Its sizes in the order of storage, and the axis that counts heads.
    pub(crate) fn shape(self, [batch, heads, len, dim]: [usize; 4]) -> (Vec<usize>, usize) {
        match self {
            Self::Bhtd => (vec![batch, heads, len, dim], 1),
            Self::Bthd => (vec![batch, len, heads, dim], 2),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bhtd => "bhtd",
            Self::Bthd => "bthd",
        })
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "bhtd" => Ok(Self::Bhtd),
            "bthd" => Ok(Self::Bthd),
            other => Err(Error::no_word("layout", &["bhtd", "bthd"], other)),
        }
    }
}

/// Strides of a tensor, in elements. The innermost dimension is always contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Strides {
    /// From one batch entry to the next.
    pub batch: usize,
    /// From one head to the next.
    pub head: usize,
    /// From one position to the next.
    pub position: usize,
}

impl Strides {
    /// Whether no two rows of such a tensor share an element.
    pub(crate) fn writes_once(&self, batch: usize, heads: usize, len: usize, dim: usize) -> bool {
        let mut dims = [(batch, self.batch), (heads, self.head), (len, self.position)];
        dims.sort_by_key(|&(_, stride)| stride);
        let mut reach = dim;
        for (size, stride) in dims.into_iter().filter(|&(size, _)| size > 1) {
            if stride < reach {
                return false;
            }
            reach = stride.saturating_mul(size - 1).saturating_add(reach);
        }
        true
    }

    /// Whether every row starts on a multiple of `unit` elements.
    pub(crate) fn aligned_to(&self, unit: usize) -> bool {
        self.batch.is_multiple_of(unit)
            && self.head.is_multiple_of(unit)
            && self.position.is_multiple_of(unit)
    }
}
