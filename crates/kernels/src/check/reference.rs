//! References: results from the definition.

use crate::{
    Error, HostTensor, Name,
    check::{Expected, Rows, Tolerance},
};

/// A problem whose outputs are known from the definition, for any inputs.
pub trait Reference {
    /// Inputs drawn from `seed`, of the storage types of the tensors, in their order.
    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)>;

    /// The outputs, from the definition, in f64.
    ///
    /// # Errors
    /// If `inputs` lack a tensor or one has a wrong shape.
    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error>;

    /// How far an output may be from the reference, and why.
    fn tolerance(&self, output: &str) -> Tolerance;
}
