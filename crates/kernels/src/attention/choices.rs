//! Choices among ways of saying one thing.

use std::{fmt, sync::Arc};

use super::DeviceBlockMask;
use crate::block_mask::BlockMask;

/// Factor of the scores.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Scale {
    /// `1 / sqrt(Dk)`.
    #[default]
    InverseSqrt,
    /// This number; finite, and 0 or at least 2^-126 and at most 2^127 in size.
    Factor(f64),
    /// The tensor of this name, `[H]` of f32: one factor a head.
    PerHead(String),
}

impl From<f64> for Scale {
    fn from(factor: f64) -> Self {
        Self::Factor(factor)
    }
}

/// The blocks of keys that blocks of queries visit; keys of the others are hidden.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum BlockSparsity {
    /// All.
    #[default]
    Dense,
    /// Lists that the plan holds. The mask's expression says what is visible within those that they call partial.
    Host(Arc<BlockMask>),
    /// Lists on the device, read there by every run. The mask's expression holds within all of them.
    Device(DeviceBlockMask),
}

impl From<BlockMask> for BlockSparsity {
    fn from(blocks: BlockMask) -> Self {
        Self::Host(Arc::new(blocks))
    }
}

impl From<Arc<BlockMask>> for BlockSparsity {
    fn from(blocks: Arc<BlockMask>) -> Self {
        Self::Host(blocks)
    }
}

impl From<DeviceBlockMask> for BlockSparsity {
    fn from(blocks: DeviceBlockMask) -> Self {
        Self::Device(blocks)
    }
}

/// The precision of q, k and v in products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are stored.
    #[default]
    Stored,
    /// Rounded to f16 first, to nearest; what rounds beyond 65,504 is infinite. Sums stay f32, and weights may be f16 too. Relative
    /// to products of f32, scores are off by up to `2^-10 |q| |k|` times the scale, typically by 2^-12 of `|q| |k| / sqrt(Dk)`.
    F16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "stored",
            Self::F16 => "f16",
        })
    }
}
