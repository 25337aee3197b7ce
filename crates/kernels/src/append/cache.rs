//! Caches: how they are stored, and where their slots lie.

use std::{fmt, str::FromStr};

use super::Append;
use crate::{Access, Dtype, Error, Strides, TensorSpec, spec::Integers};

/// How a cache's elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheDtype {
    /// As real numbers: f32, f16 or bf16.
    Float(Dtype),
    /// As integers, -127 to 127 or -7 to 7, with a scale a block.
    Integers(Integers),
}

impl CacheDtype {
    /// Signed bytes.
    pub const I8: Self = Self::Integers(Integers::I8);
    /// Two signed integers of four bits a byte.
    pub const I4: Self = Self::Integers(Integers::I4);

    /// Bits of an element of a quantised cache; `None` for real numbers.
    pub(super) fn bits(self) -> Option<usize> {
        match self {
            Self::Float(_) => None,
            Self::Integers(integers) => Some(integers.bits()),
        }
    }

    /// The type of the tensor.
    pub(super) fn stored(self) -> Dtype {
        match self {
            Self::Float(dtype) => dtype,
            Self::Integers(integers) => integers.dtype(),
        }
    }

    /// The cache that a tensor of that type is.
    pub(super) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::I8 => Some(Self::I8),
            Dtype::U8 => Some(Self::I4),
            Dtype::I32 => None,
            dtype => Some(Self::Float(dtype)),
        }
    }
}

impl fmt::Display for CacheDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(dtype) => dtype.fmt(f),
            Self::Integers(integers) => integers.fmt(f),
        }
    }
}

impl FromStr for CacheDtype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let integers = text.parse().map(Self::Integers);
        let any = integers.or_else(|_| text.parse().map(Self::Float));
        any.map_err(|_: Error| Error::no_word("kv_dtype", &["f32", "f16", "bf16", "i8", "i4"], text))
    }
}

impl Append {
    /// How the caches are stored.
    pub(super) fn cached_as(&self) -> CacheDtype {
        self.kv_dtype.unwrap_or(CacheDtype::Float(self.dtype))
    }

    /// Places of an entry in the table.
    pub(super) fn places(&self) -> usize {
        self.capacity.div_ceil(self.page.max(1))
    }

    /// Pages of the pools.
    pub(super) fn pool(&self) -> usize {
        if self.pages == 0 { self.batch.saturating_mul(self.places()) } else { self.pages }
    }

    /// Blocks of an entry and head that have a scale each.
    pub(super) fn blocks(&self) -> usize {
        self.capacity.div_ceil(self.quant_block.max(1))
    }

    /// Sizes of a cache: entries or pages, heads, slots, elements of a row.
    pub(super) fn cache_sizes(&self, width: usize) -> [usize; 4] {
        match self.block_table {
            Some(_) => [self.pool(), self.heads, self.page, width],
            None => [self.batch, self.heads, self.capacity, width],
        }
    }

    /// Strides of a cache, in elements; `batch` is from page to page where there are pages.
    pub(super) fn cache_strides(&self, width: usize) -> Strides {
        let [_, heads, slots, _] = self.cache_sizes(width);
        self.layout.strides([heads, slots, width])
    }

    pub(super) fn cache_tensor(&self, name: &'static str, width: usize) -> TensorSpec {
        let dtype = self.cached_as();
        let [entries, heads, slots, _] = self.cache_sizes(width);
        let stored = if dtype == CacheDtype::I4 { width / 2 } else { width };
        let (shape, axis) = self.layout.shape([entries, heads, slots, stored]);
        TensorSpec::dense(name, Access::Update, dtype.stored(), shape, Some(axis))
    }

    /// The slot of position `p` of an entry of `end` rows, if it has one.
    pub(super) fn slot(&self, p: i64, end: i64) -> Option<usize> {
        let position = usize::try_from(p).ok()?;
        let slots = i64::try_from(self.capacity).unwrap_or(i64::MAX);
        if self.ring {
            return (p >= end - slots).then_some(position % self.capacity);
        }
        (p < slots).then_some(position)
    }

    /// Where the row of a slot begins in a cache of rows of `width` elements; `None` on a page that is none. `table` are the
    /// pages, where there are some.
    pub(super) fn row_of(
        &self,
        [entry, head, slot]: [usize; 3],
        width: usize,
        table: Option<&[i64]>,
    ) -> Option<usize> {
        let Strides { batch, head: of_head, position } = self.cache_strides(width);
        let Some(table) = table else { return Some(entry * batch + head * of_head + slot * position) };
        let page = *table.get(entry * self.places() + slot / self.page)?;
        let page = usize::try_from(page).ok().filter(|&page| page < self.pool())?;
        Some(page * batch + head * of_head + slot % self.page * position)
    }
}
