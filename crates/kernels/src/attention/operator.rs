//! Attention as an operator among others.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::{
    Attention, cases, random_case,
    recipes::{self, RECIPES},
    variants::variants,
};
use crate::{
    Case, Error, HostTensor, Operator, OptionSpec, Problem, Recipe, VariantInfo,
    options::{self, Given},
    read::{layout, shape_pairs, sizes, storage},
};

/// Attention, as an [`Operator`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionOperator;

/// The one there is.
pub static OPERATOR: AttentionOperator = AttentionOperator;

impl Operator for AttentionOperator {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn summary(&self) -> &'static str {
        "softmax attention: o = softmax(score(scale q k^T) where mask) v, tiled, exact"
    }

    fn options(&self) -> &'static [OptionSpec] {
        static OPTIONS: LazyLock<Vec<OptionSpec>> = LazyLock::new(options::specs::<Attention>);
        &OPTIONS
    }

    fn variants(&self) -> Vec<VariantInfo> {
        variants().into_iter().map(|variant| variant.info).collect()
    }

    fn recipes(&self) -> &'static [Recipe] {
        RECIPES
    }

    fn recipe_case(&self, name: &str) -> Result<Case, Error> {
        recipes::case(name)
    }

    fn cases(&self) -> Vec<Case> {
        cases::cases()
    }

    fn random_case(&self, seed: u64) -> Case {
        random_case::random_case(seed)
    }

    fn problem(
        &self,
        options: &Map<String, Value>,
        tensors: &[(String, HostTensor)],
    ) -> Result<Arc<dyn Problem>, Error> {
        let given = Given { options, tensors: Some(tensors) };
        let layout = layout(&given)?;
        let find =
            |name: &str| given.tensor(name).ok_or_else(|| Error::invalid(name, "the tensor is missing"));
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
        spec = options::read(spec, given)?.dtype(dtype);
        // A file that stores lse wants it compared.
        spec.lse |= tensors.iter().any(|(name, _)| name == "lse");
        spec.validate()?;
        Ok(Arc::new(spec))
    }

    fn problem_of_shape(&self, shape: &str, options: &Map<String, Value>) -> Result<Arc<dyn Problem>, Error> {
        Ok(Arc::new(spec_of_shape(shape, options)?))
    }

    fn shape_help(&self) -> &'static str {
        SHAPE_HELP
    }

    fn bench_shapes(&self) -> &'static [&'static str] {
        &["1x8x512x64", "1x8x1024x64", "1x8x2048x64", "1x8x1024x128", "1x32:8x1:4096x128"]
    }
}

const SHAPE_HELP: &str =
    "BxHxTxD, each of H, T and D optionally as H:G, Tq:Tk, Dk:Dv (1x8x1024x64, 1x32:8x1:4096x128)";

/// The problem of a shape given as text.
pub(super) fn spec_of_shape(shape: &str, options: &Map<String, Value>) -> Result<Attention, Error> {
    let wrong = || Error::invalid("shape", format!("expected {SHAPE_HELP}, got `{shape}`"));
    let [(batch, other_batch), (heads, kv_heads), (q_len, kv_len), (dim, value_dim)] =
        shape_pairs(shape, SHAPE_HELP)?;
    if batch != other_batch {
        return Err(wrong());
    }
    let spec =
        Attention::new([batch, heads, q_len, dim], [batch, kv_heads, kv_len, dim]).value_dim(value_dim);
    let spec = options::read(spec, Given { options, tensors: None })?;
    spec.validate()?;
    Ok(spec)
}
