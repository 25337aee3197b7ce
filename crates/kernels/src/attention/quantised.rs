//! Keys and values, and queries, that are integers with scales.

use crate::spec::Integers;

/// Keys and values stored as integers, with a scale for each block of keys: a value is `scale * integer`.
///
/// Scales are tensors `[B, G, blocks]` of f32; blocks are counted by the keys' positions, in pages too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantised {
    /// The name of the scales of k.
    pub k_scale: String,
    /// The name of the scales of v.
    pub v_scale: String,
    /// The name of the scales of q `[B, H, ceil(Tq / block)]`, where q holds i8 too; blocks are counted by the queries' numbers in
    /// their entry.
    pub q_scale: Option<String>,
    /// Keys, or queries, that share a scale; at least 1.
    pub block: usize,
    /// Scales of a head, where they are fewer than `ceil(Tk / block)`: no entry may then have more keys.
    pub blocks: Option<usize>,
    /// How the integers are stored.
    pub integers: Integers,
}

impl Quantised {
    /// Integers of a byte with these scales, one for each 64 keys.
    #[must_use]
    pub fn new(k_scale: impl Into<String>, v_scale: impl Into<String>) -> Self {
        Self {
            k_scale: k_scale.into(),
            v_scale: v_scale.into(),
            q_scale: None,
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

    /// With queries that are i8, and scales of that name.
    #[must_use]
    pub fn queries(mut self, q_scale: impl Into<String>) -> Self {
        self.q_scale = Some(q_scale.into());
        self
    }

    /// With integers of that type in k and v.
    #[must_use]
    pub fn integers(mut self, integers: Integers) -> Self {
        self.integers = integers;
        self
    }
}
