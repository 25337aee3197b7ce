//! The tensors of attention that have rows.

/// The tensors with a batch, heads, positions and a width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tensor {
    Q,
    K,
    V,
    O,
}

impl Tensor {
    pub(crate) const ALL: [Self; 4] = [Self::Q, Self::K, Self::V, Self::O];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
        }
    }
}
