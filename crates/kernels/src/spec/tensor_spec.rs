//! The tensors that problems bind, as they are described.

use std::borrow::Cow;

use crate::Dtype;

/// The name of a tensor: an operator's own, or one that the caller gave it.
pub type Name = Cow<'static, str>;

/// A tensor that the caller binds.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// The name by which it is bound.
    pub name: Name,
    /// Whether the plan reads or writes it.
    pub access: Access,
    /// Storage type.
    pub dtype: Dtype,
    /// Sizes in the order of storage, outermost first.
    pub shape: Vec<usize>,
    /// Elements from the first that is touched to the last, inclusive: the least a bound buffer must hold.
    pub span: usize,
    /// The axis of `shape` that counts heads, where there is one: errors are also reported per head.
    pub head_axis: Option<usize>,
}

impl TensorSpec {
    /// A tensor without gaps.
    pub(crate) fn dense(
        name: impl Into<Name>,
        access: Access,
        dtype: Dtype,
        shape: Vec<usize>,
        head_axis: Option<usize>,
    ) -> Self {
        // Sizes that cannot be counted are refused elsewhere.
        let span = shape.iter().fold(1, |n: usize, &size| n.saturating_mul(size));
        Self { name: name.into(), access, dtype, shape, span, head_axis }
    }

    /// Bytes of the least buffer that can be bound, padded to whole `u32`s.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        // Where addresses have 32 bits, a tensor that can be described may have more bytes than those count.
        (self.span as u64 * self.dtype.size_bytes() as u64).next_multiple_of(4)
    }
}

/// Whether a tensor is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only: an input.
    Read,
    /// Written whole, whatever it held before: an output.
    Write,
    /// Changed in place: an input and an output in one. Elements that the problem does not name stay as they were.
    Update,
}

impl Access {
    /// Whether what the tensor holds before a run matters.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Update)
    }

    /// Whether a run changes the tensor.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Update)
    }

    /// `in`, `out` or `in-out`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "in",
            Self::Write => "out",
            Self::Update => "in-out",
        }
    }
}
