//! Softmax attention.
//!
//! For head `h`, query `i` and the keys `j` that the mask lets it see, with `g = h / (H / G)`:
//!
//! ```text
//! s_ij = score(scale * q[b,h,i,:] . k[b,g,j,:])
//! o[b,h,i,:] = sum_j exp(s_ij - lse_i) v[b,g,j,:]        lse_i = ln (sum_j exp(s_ij) + exp(sink_h))
//! ```
//!
//! Mask and score are expressions ([`crate::expr::Expr`]); the sink is there on request. A query that sees no key has `o = 0`
//! and, without a sink, `lse = -inf`. Source: Vaswani et al. 2017, equation 1; grouped heads: Ainslie et al. 2023; the order of
//! computation: Dao 2023, algorithm 1; masks and scores as functions of indices: He et al. 2024, FlexAttention.
//!
//! ```
//! use foveal_kernels::{AdapterProfile, Constraints, Problem, attention::{Attention, Mask, Shape}};
//!
//! let spec = Attention::new(Shape::bhtd(1, 8, 4096, 64)).mask(Mask::parse("causal & (window(255, 0) | sinks(4))")?);
//! let plan = spec.plan(&AdapterProfile::webgpu_floor(), &Constraints::default())?;
//! // Blocks of keys that the mask hides are in no list.
//! println!("{plan}");
//! # Ok::<(), foveal_kernels::Error>(())
//! ```

mod block_option;
mod builder;
mod choices;
mod device_block_mask;
mod device_inputs;
mod given;
mod inputs;
mod layout;
mod mask;
mod operator;
mod option_values;
mod options;
mod pages;
mod placement;
mod plan;
mod precision;
mod programs;
mod quantisation;
mod quantised;
mod reference;
mod reference_inputs;
mod rotary;
mod rotation;
mod rounding;
mod rows_without_keys;
mod shape;
mod shared_prefix;
mod spec;
mod stored;
mod tensors;
mod testing;

pub use crate::spec::{Integers, Layout, Strides};
pub use choices::{BlockSparsity, Precision, Scale};
pub use device_block_mask::DeviceBlockMask;
pub use mask::{Mask, QkNorm, TableInput};
pub(crate) use operator::OPERATOR;
pub use pages::Pages;
pub use quantised::Quantised;
pub use rotary::Rotary;
pub use shape::Shape;
pub use spec::Attention;
