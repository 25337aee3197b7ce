//! Turns of loops. Some drivers silently end an invocation's loops once these have taken too many together: llvmpipe of
//! Mesa 22.3 after 65,535. Plans count them, and stay below.
//!
//! A loop that makes n turns takes n + 1, every time it is entered. Loops of constant bounds that the specialiser or the driver
//! unrolls take none: counting them all the same does no harm.

use crate::{AdapterProfile, Error, Pass};

/// The argument of errors that say a plan takes too many.
pub(crate) const ARGUMENT: &str = "loop_turns";

/// Turns that a loop takes, whose body takes `inside` in each of its `turns`.
pub(crate) fn of_loop(turns: usize, inside: u64) -> u64 {
    (turns as u64).saturating_mul(inside.saturating_add(1)).saturating_add(1)
}

/// Checks that no pass takes more than the adapter's loops may.
pub(crate) fn check(passes: &[Pass], adapter: &AdapterProfile) -> Result<(), Error> {
    let Some(max) = adapter.loop_turns else { return Ok(()) };
    match passes.iter().find(|pass| pass.loop_turns > max) {
        None => Ok(()),
        Some(pass) => Err(too_many(&pass.label, pass.loop_turns, max)),
    }
}

/// The error that says so.
pub(crate) fn too_many(what: &str, needed: u64, max: u64) -> Error {
    let message = format!(
        "loops of {what} take {needed} turns together, this adapter's driver ends them after {max} without a word"
    );
    Error::limit(ARGUMENT, message)
}

/// Variants that turned out to take too many once their passes were made, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Unfit(Vec<(&'static str, String)>);

impl Unfit {
    /// Why a variant was found unfit, if it was.
    pub(crate) fn reason(&self, variant: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == variant).map(|(_, reason)| reason.as_str())
    }

    /// The passes if they may be dispatched; `None` if the variant is unfit, so that another has to be chosen.
    ///
    /// # Errors
    /// Any other error of `made`.
    pub(crate) fn judge<T>(
        &mut self,
        variant: &'static str,
        made: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match made {
            Ok(made) => Ok(Some(made)),
            // Once is enough: a variant that is chosen again would be for ever.
            Err(error) if error.argument() == ARGUMENT && self.reason(variant).is_none() => {
                self.0.push((variant, error.message().to_owned()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_in_a_loop_is_entered_in_every_turn() {
        assert_eq!(of_loop(0, 7), 1);
        assert_eq!(of_loop(5, 0), 6);
        // 300 turns, each of which takes one and a loop of 300.
        assert_eq!(of_loop(300, of_loop(300, 0)), 300 * 302 + 1);
        assert_eq!(of_loop(usize::MAX, u64::MAX), u64::MAX);
    }
}
