//! Identities of linear attention, for any implementation. Each function takes an implementation and a problem, and
//! returns how far the two sides of an identity are apart, relative to the second.

mod forms;
mod sequences;

use anyhow::{Context, Result};

use super::{Tensor, Tensors};
pub use forms::{
    decayed_keys, discretised, dplr_as_delta, gates, grouped, idle_steps, layouts, nothing_written, queries,
};
pub use sequences::{
    affine, both, kept_states, packed, reverse, segments, split, whole_reads_the_last_state,
};

fn named<'t>(tensors: &'t Tensors, name: &str) -> Result<&'t Tensor> {
    tensors.get(name).with_context(|| format!("there is no output `{name}`"))
}
