//! Options that are one of a few words.

use std::{fmt, str::FromStr};

use crate::Error;

macro_rules! words {
    ($(#[$about:meta])* $name:ident as $argument:literal { $($(#[$doc:meta])* $word:literal => $variant:ident),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// All of them, in the order they are documented.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Error::no_word($argument, &[$($word),+], text)),
                }
            }
        }
    };
}

words! {
    /// How a token changes the state.
    Rule as "rule" {
        /// `S = D S + k v^T`.
        #[default]
        "add" => Add,
        /// `S = D S + k (beta v - (D S)^T beta x)^T` with the erase key `x`, which is `k` unless another is given.
        "delta" => Delta,
        /// Diagonal plus low rank: `S = (D + b a^T) S + k v^T`.
        "dplr" => Dplr,
    }
}

words! {
    /// The decay of the state before each token, `D = diag(exp(g))`; g is a natural logarithm, 0 or less.
    Gate as "gate" {
        /// Nothing: `g = 0`.
        #[default]
        "none" => None,
        /// A constant for each value head: g `[HV]`.
        "constant" => Constant,
        /// A number for each token and value head: g `[B, T, HV]` or `[B, HV, T]`, as the layout is.
        "scalar" => Scalar,
        /// A number for each token, value head and key channel: g `[B, T, HV, Dk]` or `[B, HV, T, Dk]`, with Dk after
        /// the feature map (`2 F` if that is learned).
        "vector" => Vector,
    }
}

words! {
    /// The order in which a sequence's tokens are taken.
    Direction as "direction" {
        /// From the first to the last.
        #[default]
        "forward" => Forward,
        /// From the last to the first.
        "reverse" => Reverse,
        /// One way and the other, each from its own empty state; the outputs are added.
        "both" => Both,
    }
}

words! {
    /// The map of rows of q and k, before anything else.
    FeatureMap as "feature_map" {
        /// Rows as they are.
        #[default]
        "identity" => Identity,
        /// `max(x, 0)`.
        "relu" => Relu,
        /// `elu(x) + 1`: `x + 1` above 0, `exp(x)` below (Katharopoulos et al. 2020).
        "elu1" => Elu1,
        /// `max(x, 0)^2`.
        "relu2" => Relu2,
        /// `x / (1 + exp(-x))`.
        "silu" => Silu,
        /// `x / max(|x|, 1e-12)`, rows of unit length.
        "l2norm" => L2Norm,
        /// Softmax over the row.
        "softmax" => Softmax,
        /// `softmax([x W, -x W])` with tensors `q_weight` and `k_weight` `[H, Dk, F]`; rows become `2 F` wide (Zhang et al.
        /// 2024, Hedgehog).
        "learned" => Learned,
    }
}

words! {
    /// The denominator of outputs.
    Normaliser as "normaliser" {
        /// 1: outputs are not divided.
        #[default]
        "none" => None,
        /// `scale * q^T z + eps`, where z is the sum of the keys, decayed as the state is.
        "sum" => Sum,
    }
}

words! {
    /// Where keys come from.
    Key as "key" {
        /// From the tensor k.
        #[default]
        "given" => Given,
        /// `k = 1 - exp(g)`: a channel is written with what its gate takes from it (Qin et al. 2024, HGRN2, equation 6).
        "decay" => Decay,
    }
}

words! {
    /// Order of the dimensions of states.
    StateLayout as "state_layout" {
        /// `[N, HV, Dk, Dv]`.
        #[default]
        "kv" => Kv,
        /// `[N, HV, Dv, Dk]`.
        "vk" => Vk,
    }
}

/// Where sequences begin and end among the tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lengths {
    /// Every batch entry is one sequence of T tokens.
    #[default]
    Full,
    /// One batch entry of so many sequences: the tensor `cu_seqlens`, `[N + 1]` of i32, says where each begins.
    Packed(usize),
    /// Every batch entry is one sequence of as many tokens as the tensor of this name, `[B]` of i32, says: those from there on
    /// change no state. They still have outputs.
    Padded(String),
}
