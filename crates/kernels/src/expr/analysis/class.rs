//! Classes of blocks.

/// Visibility of a block under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// No query of the block sees any of its keys.
    None,
    /// Every query of the block sees all of its keys.
    All,
    /// Some may, some may not: to be tested element by element.
    Mixed,
}

impl Class {
    /// The class of a conjunction, from those of its parts.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::All, Self::All) => Self::All,
            _ => Self::Mixed,
        }
    }

    pub(crate) fn not(self) -> Self {
        match self {
            Self::None => Self::All,
            Self::All => Self::None,
            Self::Mixed => Self::Mixed,
        }
    }
}
