//! States that are stored: their types, and those on the way that a host can go back to.

use super::{Direction, LinearAttention};
use crate::{Dtype, Error};

impl LinearAttention {
    /// Entries of `states` for each sequence and value head; none unless they are asked for.
    #[must_use]
    pub fn checkpoints(&self) -> usize {
        self.checkpoint_every.map_or(0, |every| self.len.div_ceil(every.max(1)))
    }

    /// States of a sequence and value head that are stored on the way.
    pub(crate) fn kept_states(&self) -> usize {
        self.checkpoints() + self.state_window.unwrap_or(0)
    }

    /// Checks the options that say which states are stored, and how.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the option.
    pub(super) fn validate_states(&self) -> Result<(), Error> {
        if !self.state_dtype.is_float() {
            let message = format!("expected f32, f16 or bf16, got {}", self.state_dtype);
            return Err(Error::invalid("state_dtype", message));
        }
        if !self.causal && self.state_dtype != Dtype::F32 {
            let message = format!(
                "expected f32 if not causal, when outputs read states as stored, got {}",
                self.state_dtype
            );
            return Err(Error::invalid("state_dtype", message));
        }
        if self.direction == Direction::Both && self.state_dtype != Dtype::F32 {
            let message = format!(
                "expected f32 with both directions, which have no states to store, got {}",
                self.state_dtype
            );
            return Err(Error::invalid("state_dtype", message));
        }
        if self.checkpoint_every == Some(0) {
            return Err(Error::invalid("checkpoint_every", "expected at least 1 token, got 0"));
        }
        if let Some(window) = self.state_window.filter(|window| !(1..=self.len).contains(window)) {
            let message = format!("expected 1 to the {} tokens that there are, got {window}", self.len);
            return Err(Error::invalid("state_window", message));
        }
        for (name, asked) in
            [("checkpoint_every", self.checkpoint_every), ("state_window", self.state_window)]
        {
            let Some(asked) = asked else { continue };
            let without = if self.direction == Direction::Both {
                "with both directions, each of which has states of its own: run them one by one"
            } else if !self.causal {
                "if not causal, when no token reads a state on the way"
            } else if self.normalises() {
                "with the normaliser sum, whose sums of keys are stored at the end only"
            } else {
                continue;
            };
            return Err(Error::invalid(name, format!("expected none {without}, got {asked}")));
        }
        Ok(())
    }
}
