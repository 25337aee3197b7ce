//! Rows of q and k that are turned by their positions, as a caller asks for them.

use crate::rope::{BASE, Pairing};

/// Rotary positions: rows of q and k are turned before they meet, as [`crate::specs::Append`] turns rows of caches.
///
/// Key j of an entry is at position j, and query i of one with nq queries and nk keys at i + nk - nq: the last query where the last
/// key is. Tensors may say other positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Which elements of a row are turned together.
    pub pairing: Pairing,
    /// Base of the frequencies, from 1 to 1e30.
    pub base: f64,
    /// Elements of a row that take part, from the first on; an even number, or 0 for all.
    pub dim: usize,
    /// Whether k is turned, beside q. Keys in pages never are: they were turned as they were appended.
    pub keys: bool,
    /// The name of a tensor i32 of the positions of queries, `[B, Tq]`; `[1, Tq]` of packed sequences.
    pub positions: Option<String>,
    /// The same of keys, `[B, Tk]` or `[1, Tk]`.
    pub key_positions: Option<String>,
}

impl Default for Rotary {
    fn default() -> Self {
        Self::new(Pairing::None)
    }
}

impl Rotary {
    /// All elements of q and k, turned in these pairs with the base 10000.
    #[must_use]
    pub fn new(pairing: Pairing) -> Self {
        Self { pairing, base: BASE, dim: 0, keys: true, positions: None, key_positions: None }
    }

    /// With frequencies of that base.
    #[must_use]
    pub fn base(mut self, base: f64) -> Self {
        self.base = base;
        self
    }

    /// With so many elements of a row that take part.
    #[must_use]
    pub fn dim(mut self, dim: usize) -> Self {
        self.dim = dim;
        self
    }

    /// Of q alone: keys are turned already.
    #[must_use]
    pub fn queries_only(mut self) -> Self {
        self.keys = false;
        self
    }

    /// With the tensor of that name as positions of queries.
    #[must_use]
    pub fn positions(mut self, name: impl Into<String>) -> Self {
        self.positions = Some(name.into());
        self
    }

    /// With the tensor of that name as positions of keys.
    #[must_use]
    pub fn key_positions(mut self, name: impl Into<String>) -> Self {
        self.key_positions = Some(name.into());
        self
    }
}
