//! States on the way, as the definition comes by them.

use std::collections::VecDeque;

use super::LinearAttention;

/// The states of a sequence and value head that `checkpoint_every` and `state_window` ask for, each `[Dk, Dv]`.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Entries of `states`.
    pub(super) checkpoints: Vec<Vec<f64>>,
    /// Entries of `window_states`.
    pub(super) window: VecDeque<Vec<f64>>,
}

impl Kept {
    /// Before the first token.
    pub(super) fn new(spec: &LinearAttention, first: &[f64]) -> Self {
        let window = spec.state_window.unwrap_or(0);
        Self { checkpoints: Vec::new(), window: std::iter::repeat_n(first.to_vec(), window).collect() }
    }

    /// After a token: `taken` are by now, and the last of them was `hidden` or not.
    pub(super) fn token(&mut self, spec: &LinearAttention, state: &[f64], taken: usize, hidden: bool) {
        if spec.checkpoint_every.is_some_and(|every| taken.is_multiple_of(every)) {
            self.checkpoints.push(state.to_vec());
        }
        if !self.window.is_empty() && !hidden {
            self.window.pop_front();
            self.window.push_back(state.to_vec());
        }
    }

    /// After the last token: entries that are left are the last state.
    pub(super) fn end(&mut self, spec: &LinearAttention, last: &[f64]) {
        self.checkpoints.resize(spec.checkpoints(), last.to_vec());
    }

    /// The entries of an output.
    pub(super) fn entries(&self, name: &str) -> Vec<&[f64]> {
        match name {
            "states" => self.checkpoints.iter().map(Vec::as_slice).collect(),
            "window_states" => self.window.iter().map(Vec::as_slice).collect(),
            _ => Vec::new(),
        }
    }
}
