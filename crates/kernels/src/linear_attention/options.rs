//! The options of linear attention, as files and command lines carry them.

use serde_json::{Value, json};

use super::{Direction, FeatureMap, Gate, Key, Lengths, LinearAttention, LinearShape, Normaliser, Rule};
use crate::{
    Dtype, Error,
    spec::options::{
        Arguments, Input, OptionRow, Options, flag_row, layout_row, name_row, row, untold, word_row,
    },
};

impl Options for LinearAttention {
    const OPERATOR: &'static str = "linear";

    const OPTIONS: &'static [OptionRow<Self>] = &[
        word_row!(
            "rule",
            rule,
            "add|delta|dplr",
            "how a token changes the state: S = D S + k v^T, the delta rule (tensor beta), or diagonal plus low rank (tensors \
               a, b) (default: add)",
            |spec| Some(spec.rule.to_string())
        ),
        word_row!(
            "gate",
            gate,
            "none|constant|scalar|vector",
            "the decay D = exp(g), g <= 0: g [HV], [B, HV, T] or [B, HV, T, Dk]; in the layout bthd [B, T, HV], [B, T, HV, Dk] \
               (default: none)",
            |spec| (spec.gate != Gate::None).then(|| format!("{} gate", spec.gate))
        ),
        row(
            "query_heads",
            "HQ",
            "heads of q and o, a multiple of HV: several queries read each state, where no tensors are given (default: H and HV)",
            |spec, input| input.count().map(|heads| spec.query_heads = Some(heads)),
            |spec| (spec.heads_of_q() != spec.heads).then(|| json!(spec.heads_of_q())),
            |spec| (spec.heads_of_q() != spec.heads).then(|| format!("{} query heads", spec.heads_of_q())),
        ),
        flag_row!(
            "shared_beta",
            shared_beta,
            false,
            "one beta for all heads: [B, 1, T], in the layout bthd [B, T, 1] (default: if beta is given so)",
            |spec| spec.shared_beta.then(|| "one beta for all heads".to_owned())
        ),
        row(
            "steps",
            "N",
            "delta steps a token: k, v and beta have T * N rows (default: 1)",
            |spec, input| input.count().map(|steps| spec.steps = steps),
            |spec| (spec.steps != 1).then(|| json!(spec.steps)),
            |spec| (spec.steps > 1).then(|| format!("{} steps a token", spec.steps)),
        ),
        flag_row!(
            "causal",
            causal,
            true,
            "a token reads what came before it and itself; false: all of its sequence (default: true)",
            |spec| (!spec.causal).then(|| "not causal".to_owned())
        ),
        word_row!(
            "direction",
            direction,
            "forward|reverse|both",
            "the order of tokens; both: the sum of the two (default: forward)",
            |spec| (spec.direction != Direction::Forward).then(|| spec.direction.to_string())
        ),
        word_row!(
            "feature_map",
            feature_map,
            "identity|relu|elu1|relu2|silu|l2norm|softmax|learned",
            "what becomes of the rows of q and k first (default: identity)",
            |spec| {
                (spec.feature_map != FeatureMap::Identity).then(|| format!("{} of q and k", spec.feature_map))
            }
        ),
        row(
            "feature_dim",
            "F",
            "width of q_weight and k_weight [H, Dk, F] of the learned feature map, where no tensors are given (default: Dk)",
            |spec, input| input.count().map(|dim| spec.feature_dim = dim),
            |spec| {
                let learned = spec.feature_map == FeatureMap::Learned;
                (learned && spec.feature_dim != spec.head_dim).then(|| json!(spec.feature_dim))
            },
            untold,
        ),
        word_row!(
            "normaliser",
            normaliser,
            "none|sum",
            "sum: divide outputs by q^T (sum of keys) + eps (default: none)",
            |spec| spec.normalises().then(|| "normalised".to_owned())
        ),
        row(
            "eps",
            "X",
            "what is added to those denominators (default: 1e-6)",
            |spec, input| input.number().map(|eps| spec.eps = eps),
            |spec| (spec.normalises() && !is_default_eps(spec.eps)).then(|| json!(spec.eps)),
            untold,
        ),
        row(
            "scale",
            "X",
            "factor of q, after the feature map (default: 1/sqrt(Dk))",
            |spec, input| match input.value {
                Value::String(name) => Err(Error::unsupported(
                    "scale",
                    format!(
                        "a scale of its own for each head (tensor `{name}`) is not served; fold it into q"
                    ),
                )),
                _ => input.number().map(|scale| spec.scale = Some(scale)),
            },
            |spec| spec.scale.map(|scale| json!(scale)),
            untold,
        ),
        name_row!(
            "erase_key",
            erase_key,
            "a tensor like k that takes its place in what the delta rule erases",
            "erase key"
        ),
        name_row!(
            "bonus",
            bonus,
            "a tensor [HV, Dk]: outputs read the state before the token's gate and write, and its own key times this",
            "bonus"
        ),
        name_row!(
            "dt",
            dt,
            "a tensor [B, HV, T] ([B, T, HV] in the layout bthd) of step sizes, 0 or more, by which gates and values are \
               multiplied (Mamba-2)",
            "step sizes"
        ),
        name_row!(
            "skip",
            skip,
            "a tensor [HV]: outputs get this times their token's own value (Mamba-2's D)",
            "skip"
        ),
        word_row!(
            "key",
            key,
            "given|decay",
            "decay: k = 1 - exp(g) in place of a tensor k (HGRN2) (default: given)",
            |spec| (spec.key == Key::Decay).then(|| "k = 1 - exp(g)".to_owned())
        ),
        layout_row!("order of the dimensions of q, k, v and o (default: bhtd)"),
        row(
            "kv_len",
            "NAME",
            "a tensor [B] of lengths: tokens from there on change no state",
            parse_lengths,
            |spec| spec.length_tensor().map(|name| json!(name)),
            |spec| spec.length_tensor().map(|_| "padded".to_owned()),
        ),
        row(
            "sequences",
            "N",
            "how many sequences are packed (tensor cu_seqlens [N + 1]), where no tensors are given",
            parse_sequences,
            |spec| spec.packed().map(|count| json!(count)),
            |spec| spec.packed().map(|count| format!("{count} sequences")),
        ),
        word_row!(
            "state_layout",
            state_layout,
            "kv|vk",
            "order of the dimensions of states: [N, HV, Dk, Dv] or [N, HV, Dv, Dk] (default: kv)",
            untold
        ),
        row(
            "state_dtype",
            "f32|f16|bf16",
            "storage of states (default: f32)",
            |spec, input| {
                let dtype = input.text()?.parse().map_err(|_| input.expected("f32, f16 or bf16"))?;
                spec.state_dtype = dtype;
                Ok(())
            },
            |spec| (spec.state_dtype != Dtype::F32).then(|| json!(spec.state_dtype.to_string())),
            |spec| (spec.state_dtype != Dtype::F32).then(|| format!("states in {}", spec.state_dtype)),
        ),
        row(
            "checkpoint_every",
            "C",
            "compute states too, those after every C tokens and the last: [N, ceil(T / C), HV, Dk, Dv] (default: none)",
            |spec, input| input.count().map(|every| spec.checkpoint_every = Some(every)),
            |spec| spec.checkpoint_every.map(|every| json!(every)),
            |spec| spec.checkpoint_every.map(|every| format!("states every {every} tokens")),
        ),
        row(
            "state_window",
            "W",
            "compute window_states too, those after each of the last W tokens: [N, W, HV, Dk, Dv] (default: none)",
            |spec, input| input.count().map(|window| spec.state_window = Some(window)),
            |spec| spec.state_window.map(|window| json!(window)),
            |spec| spec.state_window.map(|window| format!("states of the last {window} tokens")),
        ),
        flag_row!(
            "state_in",
            state_in,
            false,
            "begin from the tensor state_in (default: if it is given)",
            |spec| spec.state_in.then(|| "states in".to_owned())
        ),
        row(
            "state_out",
            "",
            "compute the last states too (default: true, but for both directions)",
            |spec, input| input.flag().map(|state_out| spec.state_out = state_out),
            |spec| {
                let default = spec.direction != Direction::Both;
                (spec.state_out != default).then(|| json!(spec.state_out))
            },
            |spec| spec.state_out.then(|| "states out".to_owned()),
        ),
        flag_row!(
            "z_in",
            z_in,
            false,
            "begin sums of keys from the tensor z_in (default: if it is given)",
            untold
        ),
        word_row!(
            "fill",
            fill,
            "mild|strong|zero|extreme[,integer_beta][,repeated_keys][,nan]",
            "what random gates, betas and keys are like (default: mild)",
            untold
        ),
    ];

    fn dtype_mut(&mut self) -> &mut Dtype {
        &mut self.dtype
    }

    fn stored_as(&self) -> Dtype {
        self.dtype
    }

    fn complete(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
        for (name, begins) in [("state_in", &mut self.state_in), ("z_in", &mut self.z_in)] {
            if given.option(name).is_none() {
                *begins = given.tensor(name).is_some();
            }
        }
        if let Some(beta) = given.tensor("beta").filter(|_| given.option("shared_beta").is_none()) {
            let (_, axis) = self.layout.shape([1, 1, 1, 1]);
            let one = beta.shape().len() == 3 && beta.shape()[axis] == 1;
            self.shared_beta = one && self.rule == Rule::Delta && self.value_heads > 1;
        }
        if given.option("state_out").is_none() {
            self.state_out = self.direction != Direction::Both;
        }
        self.z_out = self.state_out && self.normaliser == Normaliser::Sum;
        Ok(())
    }
}

fn lengths_of_packed(name: &str) -> Error {
    let message = format!("expected none with packed sequences, which have lengths, got `{name}`");
    Error::invalid("kv_len", message)
}

/// Lengths of padded sequences, which packed ones have already.
fn parse_lengths(spec: &mut LinearAttention, input: &Input<'_>) -> Result<(), Error> {
    let name = input.text()?;
    if spec.packed().is_some() {
        return Err(lengths_of_packed(name));
    }
    spec.lengths = Lengths::Padded(name.to_owned());
    Ok(())
}

/// As many as the tensor cu_seqlens says, if there is one.
fn parse_sequences(spec: &mut LinearAttention, input: &Input<'_>) -> Result<(), Error> {
    let asked = input.count()?;
    if let Some(name) = spec.length_tensor() {
        return Err(lengths_of_packed(name));
    }
    match spec.packed() {
        Some(held) if held != asked => {
            let message = format!("expected {held}, as many as cu_seqlens has, got {asked}");
            Err(Error::invalid("sequences", message))
        }
        _ => {
            spec.lengths = Lengths::Packed(asked);
            Ok(())
        }
    }
}

#[expect(clippy::float_cmp, reason = "exactly the default")]
fn is_default_eps(eps: f64) -> bool {
    eps == LinearAttention::new(LinearShape::bhtd(1, 1, 1, 1)).eps
}
