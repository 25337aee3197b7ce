//! Linear attention problems, option by option.

use super::{Direction, FeatureMap, Gate, Key, Lengths, LinearAttention, Normaliser, Rule, StateLayout};
use crate::{Dtype, Layout};

impl LinearAttention {
    /// With this rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// With this gate.
    #[must_use]
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// With one beta for all heads.
    #[must_use]
    pub fn shared_beta(mut self) -> Self {
        self.shared_beta = true;
        self
    }

    /// With states in and out.
    #[must_use]
    pub fn with_states(mut self) -> Self {
        (self.state_in, self.state_out) = (true, true);
        self
    }

    /// Packed from `count` sequences.
    #[must_use]
    pub fn sequences(mut self, count: usize) -> Self {
        self.lengths = Lengths::Packed(count);
        self
    }

    /// With this factor of q, after the feature map.
    #[must_use]
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = Some(scale);
        self
    }

    /// Stored as `dtype`.
    #[must_use]
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Stored in this order.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Every token reads all of its sequence.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.causal = false;
        self
    }

    /// With this order of tokens.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// With this map of q and k.
    #[must_use]
    pub fn feature_map(mut self, map: FeatureMap) -> Self {
        self.feature_map = map;
        self
    }

    /// With `features` (F) columns of a learned map's weights.
    #[must_use]
    pub fn feature_dim(mut self, features: usize) -> Self {
        self.feature_dim = features;
        self
    }

    /// With outputs divided by this.
    #[must_use]
    pub fn normaliser(mut self, normaliser: Normaliser) -> Self {
        self.normaliser = normaliser;
        self
    }

    /// With this added to denominators.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// With `steps` rows of k, v and beta for each token.
    #[must_use]
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// With keys that are tensors, or the complements of decays.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    /// With the tensor `name`, like k, in place of k in what the delta rule erases.
    #[must_use]
    pub fn erase_key(mut self, name: impl Into<String>) -> Self {
        self.erase_key = Some(name.into());
        self
    }

    /// With the tensor `name` `[HV, key_dim]`, by which a token's own key is multiplied where outputs read the state before it.
    #[must_use]
    pub fn bonus(mut self, name: impl Into<String>) -> Self {
        self.bonus = Some(name.into());
        self
    }

    /// With the tensor `name` `[B, HV, T]` of step sizes, 0 or more, by which gates and values are multiplied.
    #[must_use]
    pub fn step_sizes(mut self, name: impl Into<String>) -> Self {
        self.dt = Some(name.into());
        self
    }

    /// With the tensor `name` `[HV]`, by which a token's values are multiplied and added to its outputs.
    #[must_use]
    pub fn skip(mut self, name: impl Into<String>) -> Self {
        self.skip = Some(name.into());
        self
    }

    /// With as many tokens in each batch entry as the tensor `name` `[B]` of i32 says, read on the device.
    #[must_use]
    pub fn lengths(mut self, name: impl Into<String>) -> Self {
        self.lengths = Lengths::Padded(name.into());
        self
    }

    /// With states stored in this order.
    #[must_use]
    pub fn state_layout(mut self, layout: StateLayout) -> Self {
        self.state_layout = layout;
        self
    }

    /// With states stored as `dtype`.
    #[must_use]
    pub fn state_dtype(mut self, dtype: Dtype) -> Self {
        self.state_dtype = dtype;
        self
    }

    /// Computing the states after every `tokens` tokens and the last too, as `states`.
    #[must_use]
    pub fn checkpoint_every(mut self, tokens: usize) -> Self {
        self.checkpoint_every = Some(tokens);
        self
    }

    /// Computing the states after each of the last `tokens` tokens too, as `window_states`.
    #[must_use]
    pub fn state_window(mut self, tokens: usize) -> Self {
        self.state_window = Some(tokens);
        self
    }

    /// Beginning with states that the tensor `state_in` holds.
    #[must_use]
    pub fn with_initial_state(mut self) -> Self {
        self.state_in = true;
        self
    }

    /// Computing the last states too, as `state_out`.
    #[must_use]
    pub fn with_final_state(mut self) -> Self {
        self.state_out = true;
        self
    }

    /// Beginning with sums of keys that the tensor `z_in` holds, and computing the last ones as `z_out`; for
    /// [`Normaliser::Sum`].
    #[must_use]
    pub fn with_sums(mut self) -> Self {
        (self.z_in, self.z_out) = (true, true);
        self
    }
}
