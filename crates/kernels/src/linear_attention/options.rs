//! The options of linear attention, as files and command lines carry them.

use serde_json::{Value, json};

use super::{Direction, FeatureMap, LinearAttention, Normaliser};
use crate::{
    Dtype, Error,
    options::{Given, Input, OptionRow, Options, name, row, word},
};

impl Options for LinearAttention {
    const OPERATOR: &'static str = "linear";

    const OPTIONS: &'static [OptionRow<Self>] = &[
        row(
            "rule",
            "add|delta|dplr",
            "how a token changes the state: S = D S + k v^T, the delta rule (tensor beta), or diagonal plus low rank (tensors \
               a, b) (default: add)",
            |spec, input| input.word().map(|rule| spec.rule = rule),
            |spec| word(&spec.rule),
        ),
        row(
            "gate",
            "none|constant|scalar|vector",
            "the decay D = exp(g), g <= 0: g [HV], [B, HV, T] or [B, HV, T, Dk]; in the layout bthd [B, T, HV], [B, T, HV, Dk] \
               (default: none)",
            |spec, input| input.word().map(|gate| spec.gate = gate),
            |spec| word(&spec.gate),
        ),
        row(
            "steps",
            "N",
            "delta steps a token: k, v and beta have T * N rows (default: 1)",
            |spec, input| input.count().map(|steps| spec.steps = steps),
            |spec| (spec.steps != 1).then(|| json!(spec.steps)),
        ),
        row(
            "causal",
            "",
            "a token reads what came before it and itself; false: all of its sequence (default: true)",
            |spec, input| input.flag().map(|causal| spec.causal = causal),
            |spec| (!spec.causal).then(|| json!(false)),
        ),
        row(
            "direction",
            "forward|reverse|both",
            "the order of tokens; both: the sum of the two (default: forward)",
            |spec, input| input.word().map(|direction| spec.direction = direction),
            |spec| word(&spec.direction),
        ),
        row(
            "feature_map",
            "identity|relu|elu1|relu2|silu|l2norm|softmax|learned",
            "what becomes of the rows of q and k first (default: identity)",
            |spec, input| input.word().map(|feature_map| spec.feature_map = feature_map),
            |spec| word(&spec.feature_map),
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
        ),
        row(
            "normaliser",
            "none|sum",
            "sum: divide outputs by q^T (sum of keys) + eps (default: none)",
            |spec, input| input.word().map(|normaliser| spec.normaliser = normaliser),
            |spec| word(&spec.normaliser),
        ),
        row(
            "eps",
            "X",
            "what is added to those denominators (default: 1e-6)",
            |spec, input| input.number().map(|eps| spec.eps = eps),
            |spec| (spec.normalises() && !is_default_eps(spec.eps)).then(|| json!(spec.eps)),
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
        ),
        row(
            "erase_key",
            "NAME",
            "a tensor like k that takes its place in what the delta rule erases",
            |spec, input| input.name().map(|name| spec.erase_key = name),
            |spec| name(spec.erase_key.as_ref()),
        ),
        row(
            "bonus",
            "NAME",
            "a tensor [HV, Dk]: outputs read the state before the token's gate and write, and its own key times this",
            |spec, input| input.name().map(|name| spec.bonus = name),
            |spec| name(spec.bonus.as_ref()),
        ),
        row(
            "dt",
            "NAME",
            "a tensor [B, HV, T] ([B, T, HV] in the layout bthd) of step sizes, 0 or more, by which gates and values are \
               multiplied (Mamba-2)",
            |spec, input| input.name().map(|name| spec.dt = name),
            |spec| name(spec.dt.as_ref()),
        ),
        row(
            "skip",
            "NAME",
            "a tensor [HV]: outputs get this times their token's own value (Mamba-2's D)",
            |spec, input| input.name().map(|name| spec.skip = name),
            |spec| name(spec.skip.as_ref()),
        ),
        row(
            "key",
            "given|decay",
            "decay: k = 1 - exp(g) in place of a tensor k (HGRN2) (default: given)",
            |spec, input| input.word().map(|key| spec.key = key),
            |spec| word(&spec.key),
        ),
        row(
            "layout",
            "bhtd|bthd",
            "order of the dimensions of q, k, v and o (default: bhtd)",
            |spec, input| input.word().map(|layout| spec.layout = layout),
            |spec| Some(json!(spec.layout.to_string())),
        ),
        row(
            "kv_len",
            "NAME",
            "a tensor [B] of lengths: tokens from there on change no state",
            |spec, input| input.name().map(|name| spec.kv_len = name),
            |spec| name(spec.kv_len.as_ref()),
        ),
        row(
            "sequences",
            "N",
            "how many sequences are packed (tensor cu_seqlens [N + 1]), where no tensors are given",
            parse_sequences,
            |spec| spec.sequences.map(|count| json!(count)),
        ),
        row(
            "state_layout",
            "kv|vk",
            "order of the dimensions of states: [N, HV, Dk, Dv] or [N, HV, Dv, Dk] (default: kv)",
            |spec, input| input.word().map(|state_layout| spec.state_layout = state_layout),
            |spec| word(&spec.state_layout),
        ),
        row(
            "state_in",
            "",
            "begin from the tensor state_in (default: if it is given)",
            |spec, input| input.flag().map(|state_in| spec.state_in = state_in),
            |spec| spec.state_in.then(|| json!(true)),
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
        ),
        row(
            "z_in",
            "",
            "begin sums of keys from the tensor z_in (default: if it is given)",
            |spec, input| input.flag().map(|z_in| spec.z_in = z_in),
            |spec| spec.z_in.then(|| json!(true)),
        ),
        row(
            "fill",
            "mild|strong|zero|extreme[,integer_beta][,repeated_keys][,nan]",
            "what random gates, betas and keys are like (default: mild)",
            |spec, input| input.word().map(|fill| spec.fill = fill),
            |spec| word(&spec.fill),
        ),
    ];

    fn dtype_mut(&mut self) -> &mut Dtype {
        &mut self.dtype
    }

    fn complete(&mut self, given: &Given<'_>) -> Result<(), Error> {
        for (name, begins) in [("state_in", &mut self.state_in), ("z_in", &mut self.z_in)] {
            if given.option(name).is_none() {
                *begins = given.tensor(name).is_some();
            }
        }
        if given.option("state_out").is_none() {
            self.state_out = self.direction != Direction::Both;
        }
        self.z_out = self.state_out && self.normaliser == Normaliser::Sum;
        Ok(())
    }
}

/// As many as the tensor cu_seqlens says, if there is one.
fn parse_sequences(spec: &mut LinearAttention, input: &Input<'_>) -> Result<(), Error> {
    let asked = input.count()?;
    match spec.sequences {
        Some(held) if held != asked => {
            let message = format!("expected {held}, as many as cu_seqlens has, got {asked}");
            Err(Error::invalid("sequences", message))
        }
        _ => {
            spec.sequences = Some(asked);
            Ok(())
        }
    }
}

#[expect(clippy::float_cmp, reason = "exactly the default")]
fn is_default_eps(eps: f64) -> bool {
    eps == LinearAttention::new([1; 4], 1, 1).eps
}
