//! Linear attention problems.

use std::sync::Arc;

use super::{Direction, FeatureMap, Gate, Key, Lengths, LinearShape, Normaliser, Rule, StateLayout};
use crate::{Dtype, Layout, check::InputDistribution};

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
