//! How precise products have to be.

use super::{Attention, Precision, layout::Tensor};
use crate::{Dtype, Error, spec::storage::storage_module};

impl Attention {
    /// With q, k and v of that precision.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Whether q, k and v are rounded before they are used.
    pub(crate) fn rounds_inputs(&self) -> bool {
        self.precision == Precision::F16 && self.dtype != Dtype::F16
    }

    /// Whether products are of f16, and so a matter for matrix units.
    pub(crate) fn multiplies_f16(&self) -> bool {
        self.quantised.is_none() && (self.dtype == Dtype::F16 || self.rounds_inputs())
    }

    /// The shader module that reads rows of q, and of all that are stored alike.
    pub(crate) fn inputs_module(&self) -> String {
        let stored = storage_module("inputs", self.dtype_of(Tensor::Q), self.aligned());
        if self.rounds_inputs() { format!("{stored}_as_f16") } else { stored }
    }

    pub(super) fn validate_precision(&self) -> Result<(), Error> {
        if self.precision == Precision::F16 && self.quantised.is_some() {
            let message = "f16 is for q, k and v that are stored as floats: keys and values are integers";
            return Err(Error::invalid("precision", message));
        }
        Ok(())
    }
}
