//! Linear attention: one recurrence, by token or by chunk.
//!
//! For each sequence and value head a state S `[Dk, Dv]` goes from token to token, with `D_t = diag(exp(g_t))`:
//!
//! ```text
//! add     S_t = D_t S_(t-1) + k_t v_t^T
//! delta   S_t = D_t S_(t-1) + k_t (beta_t (v_t - x_t^T D_t S_(t-1)))^T        x is k, or a key of its own
//! dplr    S_t = (D_t + b_t a_t^T) S_(t-1) + k_t v_t^T
//!
//! o_t = scale * S_t^T q_t
//! ```
//!
//! Linear attention (Katharopoulos et al. 2020), RetNet, Lightning, simple GLA and Mamba-2's SSD, GLA, HGRN-2, DeltaNet, Gated
//! DeltaNet, KDA, Comba, RWKV-6 and RWKV-7 are cases of it: `foveal list` names them. Value head h reads q and k of head
//! `h / (HV / H)`.
//!
//! ```
//! use foveal_kernels::{AdapterProfile, Constraints, Problem, linear_attention::{Gate, LinearAttention, LinearShape, Rule}};
//!
//! // Gated DeltaNet: 4 heads of q and k, 8 of v, from a state to a state.
//! let spec = LinearAttention::new(LinearShape::bhtd(1, 4, 4096, 64).value_heads(8)).rule(Rule::Delta).gate(Gate::Scalar).with_states();
//! let plan = spec.plan(&AdapterProfile::webgpu_floor(), &Constraints::default())?;
//! println!("{plan}");
//! # Ok::<(), foveal_kernels::Error>(())
//! ```

mod builder;
mod feature_maps;
mod kept;
mod kinds;
mod models;
mod operator;
mod options;
mod plan;
mod products;
mod reference;
mod reference_inputs;
mod rounding;
mod shape;
mod spec;
mod states;
mod tensors;
mod testing;
mod validate;

pub use kinds::{Direction, FeatureMap, Gate, Key, Lengths, Normaliser, Rule, StateLayout};
pub(crate) use operator::OPERATOR;
pub use shape::LinearShape;
pub use spec::LinearAttention;
