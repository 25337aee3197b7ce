//! Attention as an operator among others.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Attention, Layout, Mask, cases, reference,
    spec::{Strides, Tensor},
    variants::variants,
};
use crate::{
    AdapterProfile, Case, Constraints, Dtype, Error, Expected, HostTensor, Name, Operator, OptionSpec, Plan, Port,
    Problem, Recipe, Rows, Tolerance, VariantInfo, Work,
};

/// Attention, as an [`Operator`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionOperator;

/// The one there is.
pub static OPERATOR: AttentionOperator = AttentionOperator;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "mask",
        value: "causal|causal_top_left",
        help: "which keys a query sees (default: all)",
    },
    OptionSpec {
        name: "layout",
        value: "bhtd|bthd",
        help: "order of the dimensions of q, k, v and o (default: bhtd)",
    },
    OptionSpec { name: "scale", value: "X", help: "factor of the scores (default: 1/sqrt(Dk))" },
    OptionSpec { name: "lse", value: "", help: "compute lse too: ln of the softmax denominators" },
];

/// Options that files may carry and that come with the mask language.
const LATER: &[&str] = &["score", "sink_logits", "qk_norm", "block_mask", "kv_len"];

const RECIPES: &[Recipe] = &[
    Recipe { name: "full", options: "{}", source: "Vaswani et al. 2017, Attention Is All You Need" },
    Recipe { name: "causal", options: r#"{"mask":"causal"}"#, source: "Vaswani et al. 2017, section 3.2.3" },
    Recipe {
        name: "grouped-query",
        options: "{}",
        source: "Ainslie et al. 2023, GQA (k and v with fewer heads); Shazeer 2019 (one)",
    },
];

impl Operator for AttentionOperator {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn summary(&self) -> &'static str {
        "softmax attention: o = softmax(scale q k^T + mask) v, tiled, exact"
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn variants(&self) -> Vec<VariantInfo> {
        variants().into_iter().map(|variant| variant.info).collect()
    }

    fn recipes(&self) -> &'static [Recipe] {
        RECIPES
    }

    fn cases(&self) -> Vec<Case> {
        cases::cases()
    }

    fn random_case(&self, seed: u64) -> Case {
        cases::random_case(seed)
    }

    fn problem(
        &self,
        options: &Map<String, Value>,
        tensors: &[(String, HostTensor)],
    ) -> Result<Arc<dyn Problem>, Error> {
        let layout = text(options, "layout")?.map_or(Ok(Layout::Bhtd), str::parse)?;
        let find = |name: &str| {
            let found = tensors.iter().find(|(given, _)| given == name);
            found.map(|(_, tensor)| tensor).ok_or_else(|| Error::invalid(name, "the tensor is missing"))
        };
        let (q, k, v) = (find("q")?, find("k")?, find("v")?);
        let [batch, q_heads, q_len, head_dim] = sizes("q", q, layout)?;
        let k_sizes @ [k_batch, kv_heads, kv_len, k_dim] = sizes("k", k, layout)?;
        let [v_batch, v_heads, v_len, value_dim] = sizes("v", v, layout)?;
        for (name, what, got, expected) in [
            ("k", "batch", k_batch, batch),
            ("k", "head_dim", k_dim, head_dim),
            ("v", "batch", v_batch, batch),
            ("v", "heads", v_heads, kv_heads),
            ("v", "length", v_len, kv_len),
        ] {
            if got != expected {
                let of = if name == "k" { "q" } else { "k" };
                let of = if what == "batch" { "q" } else { of };
                return Err(Error::invalid(
                    name,
                    format!("expected {what} {expected} as in {of}, got {got}"),
                ));
            }
        }
        let dtype = storage("q", q)?;
        for (name, tensor) in [("k", k), ("v", v)] {
            if storage(name, tensor)? != dtype {
                let got = storage(name, tensor)?;
                return Err(Error::invalid(name, format!("expected {dtype} as in q, got {got}")));
            }
        }
        let mut spec =
            Attention::new([batch, q_heads, q_len, head_dim], k_sizes).value_dim(value_dim).layout(layout);
        spec = with_options(spec, options)?.dtype(dtype);
        // A file that stores lse wants it compared.
        spec.lse |= tensors.iter().any(|(name, _)| name == "lse");
        spec.validate()?;
        Ok(Arc::new(spec))
    }

    fn problem_of_shape(&self, shape: &str, options: &Map<String, Value>) -> Result<Arc<dyn Problem>, Error> {
        let wrong = || Error::invalid("shape", format!("expected {}, got `{shape}`", self.shape_help()));
        let mut sizes = Vec::new();
        for part in shape.split('x') {
            let pair: Vec<usize> =
                part.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
            match pair[..] {
                [one] => sizes.push((one, one)),
                [first, second] => sizes.push((first, second)),
                _ => return Err(wrong()),
            }
        }
        let [(batch, other_batch), (heads, kv_heads), (q_len, kv_len), (dim, value_dim)] = sizes[..] else {
            return Err(wrong());
        };
        if batch != other_batch {
            return Err(wrong());
        }
        let spec =
            Attention::new([batch, heads, q_len, dim], [batch, kv_heads, kv_len, dim]).value_dim(value_dim);
        let spec = with_options(spec, options)?;
        spec.validate()?;
        Ok(Arc::new(spec))
    }

    fn shape_help(&self) -> &'static str {
        "BxHxTxD, each of H, T and D optionally as H:G, Tq:Tk, Dk:Dv (1x8x1024x64, 1x32:8x1:4096x128)"
    }

    fn bench_shapes(&self) -> &'static [&'static str] {
        &["1x8x512x64", "1x8x1024x64", "1x8x2048x64", "1x8x1024x128", "1x32:8x1:4096x128"]
    }
}

fn sizes(name: &str, tensor: &HostTensor, layout: Layout) -> Result<[usize; 4], Error> {
    let &[batch, second, third, dim] = tensor.shape() else {
        let order = match layout {
            Layout::Bhtd => "[B, H, T, D]",
            Layout::Bthd => "[B, T, H, D]",
        };
        return Err(Error::invalid(name, format!("expected 4 dimensions {order}, got {:?}", tensor.shape())));
    };
    Ok(match layout {
        Layout::Bhtd => [batch, second, third, dim],
        Layout::Bthd => [batch, third, second, dim],
    })
}

fn storage(name: &str, tensor: &HostTensor) -> Result<Dtype, Error> {
    tensor.dtype().filter(|dtype| dtype.is_float()).ok_or_else(|| Error::invalid(name, "expected f32, f16 or bf16 elements, got another type"))
}

fn text<'a>(options: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Error> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Error::invalid(name, format!("expected text, got {other}"))),
    }
}

fn with_options(mut spec: Attention, options: &Map<String, Value>) -> Result<Attention, Error> {
    for (name, value) in options {
        match (name.as_str(), value) {
            ("op", _) | (_, Value::Null) => {}
            ("layout", _) => spec.layout = text(options, "layout")?.map_or(Ok(Layout::Bhtd), str::parse)?,
            ("mask", _) => spec.mask = text(options, "mask")?.map_or(Ok(Mask::None), Mask::parse)?,
            ("dtype", _) => spec.dtype = text(options, "dtype")?.map_or(Ok(Dtype::F32), str::parse)?,
            ("scale", value) => spec.scale = Some(number("scale", value)?),
            ("lse", Value::Bool(wanted)) => spec.lse = *wanted,
            ("lse", other) => {
                return Err(Error::invalid("lse", format!("expected true or false, got {other}")));
            }
            (name, _) if LATER.contains(&name) => {
                return Err(Error::unsupported(name, "this option is not served yet"));
            }
            (name, _) => {
                let known: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
                return Err(Error::invalid(
                    name,
                    format!("not an option of attention: {}", known.join(", ")),
                ));
            }
        }
    }
    Ok(spec)
}

/// A number, or the text of one. The name of a tensor is a per-head scale.
fn number(name: &str, value: &Value) -> Result<f64, Error> {
    match value {
        Value::Number(number) => {
            number.as_f64().ok_or_else(|| Error::invalid(name, format!("{number} is out of range")))
        }
        Value::String(text) => text.parse().map_err(|_| {
            if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
                Error::unsupported(
                    name,
                    format!("expected a number (a tensor of scales is not served yet), got `{text}`"),
                )
            } else {
                Error::invalid(name, format!("expected a number, got `{text}`"))
            }
        }),
        other => Err(Error::invalid(name, format!("expected a number, got {other}"))),
    }
}

impl Problem for Attention {
    fn operator(&self) -> &'static str {
        OPERATOR.name()
    }

    fn describe(&self) -> String {
        let mut words = vec![self.shape(), self.dtype.to_string()];
        if self.mask != Mask::None {
            words.push(self.mask.name().into());
        }
        if self.layout != Layout::Bhtd {
            words.push(self.layout.to_string());
        }
        words.join(" ")
    }

    fn options(&self) -> Map<String, Value> {
        let mut options = Map::new();
        options.insert("op".into(), json!(self.operator()));
        if self.mask != Mask::None {
            options.insert("mask".into(), json!(self.mask.name()));
        }
        options.insert("layout".into(), json!(self.layout.to_string()));
        if let Some(scale) = self.scale {
            options.insert("scale".into(), json!(scale));
        }
        if self.lse {
            options.insert("lse".into(), json!(true));
        }
        if self.dtype != Dtype::F32 {
            options.insert("dtype".into(), json!(self.dtype.to_string()));
        }
        options
    }

    fn shape(&self) -> String {
        let pair = |a: usize, b: usize| if a == b { a.to_string() } else { format!("{a}:{b}") };
        format!(
            "{}x{}x{}x{}",
            self.batch,
            pair(self.q_heads, self.kv_heads),
            pair(self.q_len, self.kv_len),
            pair(self.head_dim, self.value_dim)
        )
    }

    fn ports(&self) -> Vec<Port> {
        self.all_ports()
    }

    fn plan(&self, adapter: &AdapterProfile, constraints: &Constraints) -> Result<Plan, Error> {
        self.plan_on(adapter, constraints)
    }

    fn canonical(&self) -> Arc<dyn Problem> {
        let folded = self.fold() > 1;
        // More than one tile of most variants, an uneven rest, more keys than queries; few heads.
        let q_len = if folded { self.q_len.clamp(1, 5) } else { 133 };
        let kv_heads = if folded { 1 } else { 2 };
        let q_heads = if folded { self.group() } else { 2 };
        let mut small = Self {
            batch: 1,
            q_heads,
            kv_heads,
            q_len,
            kv_len: 141,
            q_strides: None,
            k_strides: None,
            v_strides: None,
            o_strides: None,
            tiles_for: Some(self.tile_sizes()),
            ..self.clone()
        };
        if small.aligned() && !self.aligned() {
            // Uneven strides are what keeps the original from loading vectors.
            let position = self.head_dim + 1;
            let head = position * q_len;
            small.q_strides = Some(Strides { batch: head * q_heads, head, position });
            debug_assert!(!small.aligned(), "{:?}", small.strides(Tensor::Q));
        }
        Arc::new(small)
    }

    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)> {
        cases::random_inputs(self, seed)
    }

    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error> {
        reference::reference(self, inputs, rows)
    }

    fn tolerance(&self, output: &str) -> Tolerance {
        // Storage of q, k and v is rounded before both sides see it; what remains is f32 arithmetic and the rounding of o.
        // Long rows and large scores lose a little more (up to 6.5e-6 measured on a CPU with scores of +-150).
        let long = self.kv_len >= 16_384 || self.resolved_scale() > 0.5;
        match (output, self.dtype) {
            ("lse", Dtype::F32) => Tolerance { rel_rmse: 1e-4, worst: 1e-4, floor: 1e-4 },
            ("lse", _) => Tolerance { rel_rmse: 2e-3, worst: 2e-3, floor: 2e-3 },
            (_, Dtype::F32) if long => Tolerance { rel_rmse: 2e-5, worst: 4e-4, floor: 1e-7 },
            (_, Dtype::F32) => Tolerance { rel_rmse: 1e-5, worst: 2e-4, floor: 1e-7 },
            // Half a unit in the last of 11 bits is 2.4e-4 of RMS; of 8 bits, eight times that.
            (_, Dtype::F16) => Tolerance { rel_rmse: 5e-4, worst: 1e-2, floor: 1e-7 },
            // Of the types that remain only bf16 is one that o can have.
            _ => Tolerance { rel_rmse: 4e-3, worst: 4e-2, floor: 1e-7 },
        }
    }

    fn work(&self) -> Work {
        self.work_of()
    }
}
