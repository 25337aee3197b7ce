//! The options of linear attention, as files and command lines carry them.

use serde_json::{Map, Value, json};

use super::{FeatureMap, LinearAttention, LinearShape, Normaliser};
use crate::{Dtype, Error, OptionSpec, read::text};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "rule",
        value: "add|delta|dplr",
        help: "how a token changes the state: S = D S + k v^T, the delta rule (tensor beta), or diagonal plus low rank (tensors \
               a, b) (default: add)",
    },
    OptionSpec {
        name: "gate",
        value: "none|constant|scalar|vector",
        help: "the decay D = exp(g), g <= 0: g [HV], [B, HV, T] or [B, HV, T, Dk]; in the layout bthd [B, T, HV], [B, T, HV, Dk] \
               (default: none)",
    },
    OptionSpec {
        name: "steps",
        value: "N",
        help: "delta steps a token: k, v and beta have T * N rows (default: 1)",
    },
    OptionSpec {
        name: "causal",
        value: "",
        help: "a token reads what came before it and itself; false: all of its sequence (default: true)",
    },
    OptionSpec {
        name: "direction",
        value: "forward|reverse|both",
        help: "the order of tokens; both: the sum of the two (default: forward)",
    },
    OptionSpec {
        name: "feature_map",
        value: "identity|relu|elu1|relu2|silu|l2norm|softmax|learned",
        help: "what becomes of the rows of q and k first (default: identity)",
    },
    OptionSpec {
        name: "feature_dim",
        value: "F",
        help: "width of q_weight and k_weight [H, Dk, F] of the learned feature map, where no tensors are given (default: Dk)",
    },
    OptionSpec {
        name: "normaliser",
        value: "none|sum",
        help: "sum: divide outputs by q^T (sum of keys) + eps (default: none)",
    },
    OptionSpec { name: "eps", value: "X", help: "what is added to those denominators (default: 1e-6)" },
    OptionSpec {
        name: "scale",
        value: "X",
        help: "factor of q, after the feature map (default: 1/sqrt(Dk))",
    },
    OptionSpec {
        name: "erase_key",
        value: "NAME",
        help: "a tensor like k that takes its place in what the delta rule erases",
    },
    OptionSpec {
        name: "bonus",
        value: "NAME",
        help: "a tensor [HV, Dk]: outputs read the state before the token's gate and write, and its own key times this",
    },
    OptionSpec {
        name: "dt",
        value: "NAME",
        help: "a tensor [B, HV, T] ([B, T, HV] in the layout bthd) of step sizes, 0 or more, by which gates and values are \
               multiplied (Mamba-2)",
    },
    OptionSpec {
        name: "skip",
        value: "NAME",
        help: "a tensor [HV]: outputs get this times their token's own value (Mamba-2's D)",
    },
    OptionSpec {
        name: "key",
        value: "given|decay",
        help: "decay: k = 1 - exp(g) in place of a tensor k (HGRN2) (default: given)",
    },
    OptionSpec {
        name: "layout",
        value: "bhtd|bthd",
        help: "order of the dimensions of q, k, v and o (default: bhtd)",
    },
    OptionSpec {
        name: "kv_len",
        value: "NAME",
        help: "a tensor [B] of lengths: tokens from there on change no state",
    },
    OptionSpec {
        name: "sequences",
        value: "N",
        help: "how many sequences are packed (tensor cu_seqlens [N + 1]), where no tensors are given",
    },
    OptionSpec {
        name: "state_layout",
        value: "kv|vk",
        help: "order of the dimensions of states: [N, HV, Dk, Dv] or [N, HV, Dv, Dk] (default: kv)",
    },
    OptionSpec {
        name: "state_in",
        value: "",
        help: "begin from the tensor state_in (default: if it is given)",
    },
    OptionSpec {
        name: "state_out",
        value: "",
        help: "compute the last states too (default: true, but for both directions)",
    },
    OptionSpec {
        name: "z_in",
        value: "",
        help: "begin sums of keys from the tensor z_in (default: if it is given)",
    },
    OptionSpec {
        name: "fill",
        value: "mild|strong|zero|extreme[,integer_beta][,repeated_keys][,nan]",
        help: "what random gates, betas and keys are like (default: mild)",
    },
];

/// One of a few words, or its default.
fn word<T: std::str::FromStr<Err = Error> + Default>(
    options: &Map<String, Value>,
    name: &str,
) -> Result<T, Error> {
    text(options, name)?.map_or_else(|| Ok(T::default()), str::parse)
}

fn flag(options: &Map<String, Value>, name: &str) -> Result<Option<bool>, Error> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(Error::invalid(name, format!("expected true or false, got {other}"))),
    }
}

pub(super) fn count(options: &Map<String, Value>, name: &str) -> Result<Option<usize>, Error> {
    let Some(value) = options.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let whole = value.as_u64().and_then(|x| usize::try_from(x).ok());
    whole
        .map(Some)
        .ok_or_else(|| Error::invalid(name, format!("expected a whole number of at least 0, got {value}")))
}

fn number(options: &Map<String, Value>, name: &str) -> Result<Option<f64>, Error> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_f64()
            .map(Some)
            .ok_or_else(|| Error::invalid(name, format!("expected a number, got {value}"))),
    }
}

/// The problem with these options. `given` are the names of the tensors that there are, if any are.
pub(super) fn with_options(
    mut spec: LinearAttention,
    options: &Map<String, Value>,
    given: Option<&[&str]>,
) -> Result<LinearAttention, Error> {
    for name in options.keys() {
        let known = OPTIONS.iter().any(|option| option.name == name);
        if !known && !["op", "dtype"].contains(&name.as_str()) {
            let known: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
            let meant = crate::expr::closest(name, known.iter().copied());
            let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            return Err(Error::invalid(
                name,
                format!("not an option of linear: {}{meant}", known.join(", ")),
            ));
        }
    }
    let has = |name: &str| given.is_some_and(|given| given.contains(&name));
    spec.rule = word(options, "rule")?;
    spec.gate = word(options, "gate")?;
    spec.steps = count(options, "steps")?.unwrap_or(1);
    spec.causal = flag(options, "causal")?.unwrap_or(true);
    spec.direction = word(options, "direction")?;
    spec.feature_map = word(options, "feature_map")?;
    if let Some(dim) = count(options, "feature_dim")? {
        spec.feature_dim = dim;
    }
    spec.normaliser = word(options, "normaliser")?;
    spec.eps = number(options, "eps")?.unwrap_or(spec.eps);
    if let Some(Value::String(name)) = options.get("scale") {
        let message =
            format!("a scale of its own for each head (tensor `{name}`) is not served; fold it into q");
        return Err(Error::unsupported("scale", message));
    }
    spec.scale = number(options, "scale")?;
    spec.erase_key = text(options, "erase_key")?.map(str::to_owned);
    spec.bonus = text(options, "bonus")?.map(str::to_owned);
    spec.dt = text(options, "dt")?.map(str::to_owned);
    spec.skip = text(options, "skip")?.map(str::to_owned);
    spec.key = word(options, "key")?;
    spec.kv_len = text(options, "kv_len")?.map(str::to_owned);
    spec.layout = word(options, "layout")?;
    spec.state_layout = word(options, "state_layout")?;
    match (spec.sequences, count(options, "sequences")?) {
        (Some(held), Some(asked)) if held != asked => {
            let message = format!("expected {held}, as many as cu_seqlens has, got {asked}");
            return Err(Error::invalid("sequences", message));
        }
        (held, asked) => spec.sequences = held.or(asked),
    }
    let both = spec.direction == super::Direction::Both;
    spec.state_in = flag(options, "state_in")?.unwrap_or_else(|| has("state_in"));
    spec.state_out = flag(options, "state_out")?.unwrap_or(!both);
    spec.z_in = flag(options, "z_in")?.unwrap_or_else(|| has("z_in"));
    spec.z_out = spec.state_out && spec.normaliser == Normaliser::Sum;
    spec.dtype = word::<Dtype>(options, "dtype")?;
    if let Some(fill) = text(options, "fill")? {
        spec.fill = fill.parse()?;
    }
    Ok(spec)
}

/// The options that a problem would be read from: what is not the default.
pub(super) fn options_of(spec: &LinearAttention) -> Map<String, Value> {
    let plain = LinearAttention::new(LinearShape::bhtd(1, 1, 1, 1));
    let mut options = Map::new();
    let mut put = |name: &str, value: Value, default: bool| {
        if !default {
            options.insert(name.to_owned(), value);
        }
    };
    put("op", json!("linear"), false);
    put("layout", json!(spec.layout.to_string()), false);
    put("rule", json!(spec.rule.to_string()), spec.rule == plain.rule);
    put("gate", json!(spec.gate.to_string()), spec.gate == plain.gate);
    put("steps", json!(spec.steps), spec.steps == 1);
    put("causal", json!(spec.causal), spec.causal);
    put("direction", json!(spec.direction.to_string()), spec.direction == plain.direction);
    put("feature_map", json!(spec.feature_map.to_string()), spec.feature_map == plain.feature_map);
    let learned = spec.feature_map == FeatureMap::Learned;
    put("feature_dim", json!(spec.feature_dim), !learned || spec.feature_dim == spec.head_dim);
    put("normaliser", json!(spec.normaliser.to_string()), spec.normaliser == plain.normaliser);
    #[expect(clippy::float_cmp, reason = "exactly the default")]
    put("eps", json!(spec.eps), !spec.normalises() || spec.eps == plain.eps);
    put("scale", json!(spec.scale), spec.scale.is_none());
    put("erase_key", json!(spec.erase_key), spec.erase_key.is_none());
    put("bonus", json!(spec.bonus), spec.bonus.is_none());
    put("dt", json!(spec.dt), spec.dt.is_none());
    put("skip", json!(spec.skip), spec.skip.is_none());
    put("key", json!(spec.key.to_string()), spec.key == plain.key);
    put("kv_len", json!(spec.kv_len), spec.kv_len.is_none());
    put("sequences", json!(spec.sequences), spec.sequences.is_none());
    put("state_layout", json!(spec.state_layout.to_string()), spec.state_layout == plain.state_layout);
    put("state_in", json!(true), !spec.state_in);
    let both = spec.direction == super::Direction::Both;
    put("state_out", json!(spec.state_out), spec.state_out != both);
    put("z_in", json!(true), !spec.z_in);
    put("dtype", json!(spec.dtype.to_string()), spec.dtype == Dtype::F32);
    put("fill", json!(spec.fill.to_string()), spec.fill == plain.fill);
    options
}
