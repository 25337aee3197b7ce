//! Checks of a problem: ranges of its options, and options that exclude each other.

use super::{
    Direction, FeatureMap, Gate, Key, LinearAttention, Rule,
    spec::{MAX_DIM, MAX_WHOLE_DIM},
};
use crate::Error;

impl LinearAttention {
    /// Checks that the problem makes sense.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`], naming the option or dimension, what was expected and what came.
    pub fn validate(&self) -> Result<(), Error> {
        for (name, size) in [("batch", self.batch), ("heads", self.heads), ("steps", self.steps)] {
            if size == 0 {
                return Err(Error::invalid(name, "expected at least 1, got 0"));
            }
        }
        if self.value_heads == 0 || !self.value_heads.is_multiple_of(self.heads) {
            return Err(Error::invalid(
                "v",
                format!(
                    "expected a multiple of the {} heads of {}, got {} heads",
                    self.heads,
                    if self.heads_of_q() == self.heads { "q and k" } else { "k" },
                    self.value_heads
                ),
            ));
        }
        let queries = self.heads_of_q();
        if queries != self.heads && (queries == 0 || !queries.is_multiple_of(self.value_heads)) {
            return Err(Error::invalid(
                "q",
                format!(
                    "expected {} heads, as many as k has, or a multiple of the {} heads of v, got {queries} heads",
                    self.heads, self.value_heads
                ),
            ));
        }
        let widest = if self.causal { MAX_DIM } else { MAX_WHOLE_DIM };
        let widths =
            [("head_dim", self.head_dim), ("value_dim", self.value_dim), ("key_dim", self.key_dim())];
        for (name, dim) in widths {
            if !(1..=widest).contains(&dim) {
                let when = if self.causal { "" } else { " (not causal)" };
                return Err(Error::invalid(name, format!("expected 1 to {widest}{when}, got {dim}")));
            }
        }
        if !self.dtype.is_float() {
            return Err(Error::invalid("dtype", format!("expected f32, f16 or bf16, got {}", self.dtype)));
        }
        if !self.resolved_scale().is_finite() {
            return Err(Error::invalid(
                "scale",
                format!("expected a finite number, got {}", self.resolved_scale()),
            ));
        }
        if !self.eps.is_finite() || self.eps < 0.0 {
            return Err(Error::invalid(
                "eps",
                format!("expected a finite number of 0 or more, got {}", self.eps),
            ));
        }
        crate::spec::read::fits_f32("eps", self.eps)?;
        crate::spec::read::fits_f32("scale", self.resolved_scale())?;
        if self.packed().is_some() && self.batch != 1 {
            return Err(Error::invalid(
                "cu_seqlens",
                format!("expected packed sequences in one batch entry, got a batch of {}", self.batch),
            ));
        }
        if self.packed() == Some(0) {
            return Err(Error::invalid(
                "cu_seqlens",
                "expected at least two elements, 0 and the number of tokens, got one",
            ));
        }
        self.validate_rules()?;
        self.validate_states()?;
        let elements =
            [self.len, self.steps, self.heads_of_o(), self.batch, self.key_dim().max(self.value_dim)];
        let count = elements.into_iter().try_fold(1usize, usize::checked_mul);
        let kept = self.checkpoints().max(self.state_window.unwrap_or(0)).max(1);
        let states = [self.states(), kept, self.value_heads, self.key_dim(), self.value_dim];
        let states = states.into_iter().try_fold(1usize, usize::checked_mul);
        if [count, states].into_iter().any(|n| n.is_none_or(|n| n > isize::MAX as usize / 8)) {
            return Err(Error::invalid("q", "has more elements than can be addressed"));
        }
        Ok(())
    }

    /// Options that exclude each other.
    fn validate_rules(&self) -> Result<(), Error> {
        let (add, delta) = (self.rule == Rule::Add, self.rule == Rule::Delta);
        let both = self.direction == Direction::Both;
        let rule = self.rule;
        let named = |name: &Option<String>| name.clone().unwrap_or_default();
        let alone = "each has its own, so run them one by one";
        let refused = [
            (
                "steps",
                self.steps > 1 && !delta,
                format!("expected 1 with the rule {rule}, got {}", self.steps),
            ),
            (
                "shared_beta",
                self.shared_beta && !delta,
                format!("expected false with the rule {rule}, which has no beta, got true"),
            ),
            (
                "erase_key",
                self.erase_key.is_some() && !delta,
                format!(
                    "expected none with the rule {rule}, got `{}`: it needs the rule delta",
                    named(&self.erase_key)
                ),
            ),
            (
                "feature_map",
                self.feature_map == FeatureMap::Learned && self.erases_by_another(),
                "expected another, got learned: it makes keys wider than what they are erased with"
                    .to_owned(),
            ),
            (
                "bonus",
                self.bonus.is_some() && !add,
                format!(
                    "expected none with the rule {rule}, got `{}`: it needs the rule add",
                    named(&self.bonus)
                ),
            ),
            (
                "bonus",
                self.bonus.is_some() && !self.causal,
                format!("expected none if not causal, got `{}`", named(&self.bonus)),
            ),
            ("normaliser", self.normalises() && !add, format!("expected none with the rule {rule}, got sum")),
            (
                "normaliser",
                self.normalises() && self.bonus.is_some(),
                format!("expected none with a bonus, got sum (bonus `{}`)", named(&self.bonus)),
            ),
            ("causal", !self.causal && !add, format!("expected true with the rule {rule}, got false")),
            (
                "gate",
                !self.causal && self.gate != Gate::None,
                format!("expected none if not causal, got {}", self.gate),
            ),
            (
                "direction",
                !self.causal && self.direction != Direction::Forward,
                format!(
                    "expected forward if not causal, when all tokens are read at once, got {}",
                    self.direction
                ),
            ),
            (
                "state_in",
                both && (self.state_in || self.z_in),
                format!("expected none with both directions, got one: {alone} to give them"),
            ),
            (
                "state_out",
                both && (self.state_out || self.z_out),
                format!("expected none with both directions, got one: {alone} to get them"),
            ),
            (
                "z_in",
                (self.z_in || self.z_out) && !self.normalises(),
                "expected none, got sums of keys: they need the normaliser sum".to_owned(),
            ),
            (
                "dt",
                self.dt.is_some() && !add,
                format!("expected none with the rule {rule}, which has beta, got `{}`", named(&self.dt)),
            ),
            (
                "dt",
                self.dt.is_some() && (self.normalises() || self.key == Key::Decay),
                format!("expected none with the normaliser sum or the key decay, got `{}`", named(&self.dt)),
            ),
            (
                "skip",
                self.skip.is_some() && (!self.causal || self.steps > 1),
                format!("expected none if not causal or with steps, got `{}`", named(&self.skip)),
            ),
            (
                "key",
                self.key == Key::Decay && (self.gate != Gate::Vector || self.heads != self.value_heads),
                format!(
                    "expected given without a vector gate for each head of q, got decay with gate {}, {} heads of q and {} \
                     of v",
                    self.gate, self.heads, self.value_heads
                ),
            ),
            (
                "key",
                self.key == Key::Decay
                    && (rule == Rule::Dplr || self.steps > 1 || self.feature_map != FeatureMap::Identity),
                "expected given with the rule dplr, with steps or with a feature map, got decay".to_owned(),
            ),
        ];
        for (name, wrong, message) in refused {
            if wrong {
                return Err(Error::invalid(name, message));
            }
        }
        let mut names: Vec<&str> = vec!["q", "k", "v", "o", "g", "beta", "a", "b", "cu_seqlens"];
        names.extend(["state_in", "state_out", "z_in", "z_out", "q_weight", "k_weight"]);
        names.extend(["states", "window_states"]);
        for (option, name) in self.named_tensors() {
            let Some(name) = name else { continue };
            if names.contains(&name.as_str()) {
                let message = format!("expected a name of its own, got `{name}`, which is another tensor");
                return Err(Error::invalid(option, message));
            }
            names.push(name);
        }
        Ok(())
    }
}
