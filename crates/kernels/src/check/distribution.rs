//! Distributions of random inputs.

/// Random values of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TableDistribution {
    /// Normally distributed.
    Normal,
    /// Integers from 0, this one excluded.
    Below(u32),
    /// Integers from the first to the last, both included.
    Between(i32, i32),
    /// About this many runs of equal integers along the innermost dimension, ascending from 0.
    Runs(u32),
    /// Reals, evenly distributed between these.
    Uniform(f32, f32),
}

/// Random gates, betas and keys.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InputDistribution {
    /// The gates.
    pub gates: GateDistribution,
    /// Whether beta is one of 0, 1 and 2, and not uniform in [0, 1].
    pub integer_beta: bool,
    /// Whether every fourth key repeats the one before.
    pub repeated_keys: bool,
    /// Whether NaN lie in padding, and in v at a token that no other reads, or only later ones: they must not reach what
    /// does not read them.
    pub nan: bool,
}

/// Random gates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum GateDistribution {
    /// As trained models have them: logarithms of sigmoids, over 4.
    #[default]
    Mild,
    /// -20 and values from -20 to -3, with zeros between.
    Strong,
    /// All zero.
    Zero,
    /// -1e4 now and then: what came before is forgotten.
    Extreme,
}
