//! Linear attention problems.

use std::sync::Arc;

use super::{Direction, FeatureMap, Gate, Key, Lengths, LinearShape, Normaliser, Rule, StateLayout};
use crate::{Dtype, Error, Layout, check::InputDistribution};

/// A linear attention problem: shapes in elements, storage and the rule. Tensors are dense, in the order of `layout`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinearAttention {
    /// Batch size B; 1 if sequences are packed.
    pub batch: usize,
    /// Heads H of k, and of q unless it has `query_heads`; at least 1.
    pub heads: usize,
    /// Heads HQ of q and o, if they have their own: a multiple of `value_heads`; head h reads the state of value head
    /// h / (HQ / HV). `None` means that q has `heads` and o has `value_heads`.
    pub query_heads: Option<usize>,
    /// Heads HV of v, gates, beta and states, and of o unless it has `query_heads`; a multiple of `heads`: value head h reads q
    /// and k of head h / (HV / H).
    pub value_heads: usize,
    /// Tokens T, of all sequences together if `sequences` are given; 0 gives an empty result.
    pub len: usize,
    /// Width Dk of q and k as stored: 1 to 256, to 600 if not causal.
    pub head_dim: usize,
    /// Width Dv of v and o, with the same range.
    pub value_dim: usize,
    /// Order of the dimensions of all tensors with tokens.
    pub layout: Layout,
    /// Storage of q, k, v, o, `erase_key`, a and b. Gates and beta are f32, and so is arithmetic; states have `state_dtype`.
    pub dtype: Dtype,
    /// How a token changes the state.
    pub rule: Rule,
    /// The decay of the state before each token.
    pub gate: Gate,
    /// Whether one beta serves all heads: beta is `[B, T, 1]`, or `[B, 1, T]` as the layout is ([`Rule::Delta`]).
    pub shared_beta: bool,
    /// Delta steps a token: k, v, beta and `erase_key` have `T * steps` rows, row `t * steps + j` being step j of token t. The
    /// gate acts before the first, the output is read after the last (Siems et al. 2025, DeltaProduct).
    pub steps: usize,
    /// Whether a token's output reads what came before it and itself, or all of its sequence.
    pub causal: bool,
    /// The order of tokens.
    pub direction: Direction,
    /// The map of rows of q and k.
    pub feature_map: FeatureMap,
    /// The width F of `q_weight` and `k_weight`, if the feature map is learned.
    pub feature_dim: usize,
    /// The denominator of outputs.
    pub normaliser: Normaliser,
    /// Added to the denominators of [`Normaliser::Sum`]; 0 or more.
    pub eps: f64,
    /// Factor of q, after the feature map; `None` means `1 / sqrt(head_dim)`, from the width before a learned feature
    /// map. The denominators of [`Normaliser::Sum`] have it too.
    pub scale: Option<f64>,
    /// The name of a tensor like k, but with HV or H heads as k has, that takes k's place in what [`Rule::Delta`] reads and
    /// erases (Hu et al. 2025, Comba).
    pub erase_key: Option<String>,
    /// The name of a tensor `[HV, Dk]`, with Dk after the feature map (see [`LinearAttention::key_dim`]), by which a
    /// token's own key is multiplied when its output reads it. Outputs then read the state before the gate and the
    /// write: `o = scale * (S_(t-1) + diag(u) k v^T)^T q` (Peng et al. 2024, RWKV-6).
    pub bonus: Option<String>,
    /// The name of a tensor of step sizes, `[B, T, HV]` or `[B, HV, T]` as the layout is, 0 or more: a token's gates and value
    /// are multiplied by its own (Dao and Gu 2024, Mamba-2: g is A, and dt is what its softplus gives).
    pub dt: Option<String>,
    /// The name of a tensor `[HV]`: outputs get this times their token's own value, before step sizes (Mamba-2's D).
    pub skip: Option<String>,
    /// Where keys come from.
    pub key: Key,
    /// Where sequences begin and end among the tokens.
    pub lengths: Lengths,
    /// Whether states begin as `state_in`, and not as zeros.
    pub state_in: bool,
    /// Whether the last states are computed as `state_out`.
    pub state_out: bool,
    /// Whether the sums of keys of [`Normaliser::Sum`] begin as `z_in` `[N, 1, HV, Dk]`, and not as zeros.
    pub z_in: bool,
    /// Whether the last sums of keys are computed as `z_out`.
    pub z_out: bool,
    /// Order of the dimensions of states.
    pub state_layout: StateLayout,
    /// Storage of `state_in`, `state_out`, `states` and `window_states`; f32 if not causal.
    pub state_dtype: Dtype,
    /// C, at least 1: states are computed as `states` `[N, ceil(T / C), HV, Dk, Dv]` too, entry i after the first min((i + 1) C, T)
    /// tokens in the order that they are taken. A packed sequence's own tokens count; its later entries are its last state.
    pub checkpoint_every: Option<usize>,
    /// W, 1 to T: the states after each of a sequence's last W tokens are computed as `window_states` `[N, W, HV, Dk, Dv]` too, so
    /// that tokens can be taken back. Entry i is the state after all but W - 1 - i of the tokens that change it, or the first
    /// state if there are no more.
    pub state_window: Option<usize>,
    /// The distribution of random inputs.
    pub fill: InputDistribution,
    /// Passes are chosen as for this problem: how a small problem gets the shaders of a large one.
    pub(crate) specialized_for: Option<Arc<Self>>,
}

/// The widest causal head that is served.
pub(crate) const MAX_DIM: usize = 256;

/// The widest head that is served if not causal.
pub(crate) const MAX_WHOLE_DIM: usize = 600;

impl LinearAttention {
    /// Plain causal linear attention of tensors of that shape: f32, no gate, from an empty state.
    #[must_use]
    pub fn new(shape: LinearShape) -> Self {
        let LinearShape { batch, heads, query_heads, value_heads, len, head_dim, value_dim } = shape;
        Self {
            batch,
            heads,
            query_heads,
            value_heads,
            len,
            head_dim,
            value_dim,
            layout: Layout::Bhtd,
            dtype: Dtype::F32,
            rule: Rule::Add,
            gate: Gate::None,
            shared_beta: false,
            steps: 1,
            causal: true,
            direction: Direction::Forward,
            feature_map: FeatureMap::Identity,
            feature_dim: head_dim,
            normaliser: Normaliser::None,
            eps: 1e-6,
            scale: None,
            erase_key: None,
            bonus: None,
            dt: None,
            skip: None,
            key: Key::Given,
            lengths: Lengths::Full,
            state_in: false,
            state_out: false,
            z_in: false,
            z_out: false,
            state_layout: StateLayout::Kv,
            state_dtype: Dtype::F32,
            checkpoint_every: None,
            state_window: None,
            fill: InputDistribution::default(),
            specialized_for: None,
        }
    }

    /// Width of q and k once they are mapped: the height of states.
    #[must_use]
    pub fn key_dim(&self) -> usize {
        if self.feature_map == FeatureMap::Learned { 2 * self.feature_dim } else { self.head_dim }
    }

    /// Heads of q.
    #[must_use]
    pub fn heads_of_q(&self) -> usize {
        self.query_heads.unwrap_or(self.heads)
    }

    /// Heads of o: the more of those of q and of v.
    #[must_use]
    pub fn heads_of_o(&self) -> usize {
        self.heads_of_q().max(self.value_heads)
    }

    /// Queries of a token that read the state of one value head.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.heads_of_o() / self.value_heads.max(1)
    }

    /// Whether value heads that share a key have queries of their own.
    pub(crate) fn own_queries(&self) -> bool {
        self.heads_of_q() != self.heads && self.group() > 1
    }

    /// Value heads that share a head of k, and of q unless it has `query_heads`.
    #[must_use]
    pub fn group(&self) -> usize {
        self.value_heads / self.heads.max(1)
    }

    /// How many sequences are packed, if any are.
    pub(crate) fn packed(&self) -> Option<usize> {
        if let Lengths::Packed(count) = self.lengths { Some(count) } else { None }
    }

    /// The tensor of batch entries' lengths.
    pub(crate) fn length_tensor(&self) -> Option<&String> {
        if let Lengths::Padded(name) = &self.lengths { Some(name) } else { None }
    }

    /// Sequences, each with states of its own: N, or B.
    #[must_use]
    pub fn states(&self) -> usize {
        self.packed().unwrap_or(self.batch)
    }

    /// The factor of q.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "widths are at most a few hundred")]
    pub fn resolved_scale(&self) -> f64 {
        self.scale.unwrap_or_else(|| 1.0 / (self.head_dim as f64).sqrt())
    }

    /// The problem that passes are chosen for: this one, unless it stands in for another.
    pub(crate) fn specialized(&self) -> &Self {
        self.specialized_for.as_deref().unwrap_or(self)
    }

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

    /// The options that name tensors, and their names.
    pub(super) fn named_tensors(&self) -> [(&'static str, Option<&String>); 5] {
        [
            ("erase_key", self.erase_key.as_ref()),
            ("bonus", self.bonus.as_ref()),
            ("kv_len", self.length_tensor()),
            ("dt", self.dt.as_ref()),
            ("skip", self.skip.as_ref()),
        ]
    }

    pub(crate) fn normalises(&self) -> bool {
        self.normaliser == Normaliser::Sum
    }
}
