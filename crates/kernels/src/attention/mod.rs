//! Softmax attention.
//!
//! For head `h`, query `i` and the keys `j` that the mask lets it see, with `g = h / (H / G)`:
//!
//! ```text
//! s_ij = scale * q[b,h,i,:] . k[b,g,j,:]
//! o[b,h,i,:] = sum_j exp(s_ij - lse_i) v[b,g,j,:]        lse_i = ln sum_j exp(s_ij)
//! ```
//!
//! A query that sees no key has `o = 0` and `lse = -inf`. Source: Vaswani et al. 2017, equation 1; grouped heads: Ainslie
//! et al. 2023; the order of computation: Dao 2023, algorithm 1.

mod arrangement;
mod broadcast;
mod cases;
mod fill;
mod hooks;
mod layout;
mod lists;
mod mask;
mod operator;
mod options;
mod params;
mod passes;
mod plan;
mod ports;
mod problem;
mod random_case;
mod recipes;
mod reference;
mod spec;
mod split;
mod stand_in;
mod variants;
mod visibility;

pub use layout::{Layout, Strides};
pub use mask::{Fill, Mask, QkNorm, TableInput};
pub use operator::{AttentionOperator, OPERATOR};
pub use spec::Attention;
