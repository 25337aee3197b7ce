//! Attention as an operator among others.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Attention, Layout, Shape, cases,
    options::{OPTIONS, with_options},
    random_case,
    recipes::{self, RECIPES},
    variants::variants,
};
use crate::{
    Case, Error, HostTensor, Operator, OptionSpec, Problem, Recipe, VariantInfo,
    read::{shape_pairs, sizes, storage, text},
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
        OPTIONS
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
        let layout = text(options, "layout")?.map_or(Ok(Layout::Bhtd), str::parse)?;
        let find = |name: &str| {
            let found = tensors.iter().find(|(given, _)| given == name);
            found.map(|(_, tensor)| tensor).ok_or_else(|| Error::invalid(name, "the tensor is missing"))
        };
        let (q, k, v) = (find("q")?, find("k")?, find("v")?);
        let [q_sizes, k_sizes, v_sizes] =
            [sizes("q", q, layout)?, sizes("k", k, layout)?, sizes("v", v, layout)?];
        let shape = Shape::of_tensors(q_sizes, k_sizes, v_sizes)?;
        let dtype = storage("q", q)?;
        for (name, tensor) in [("k", k), ("v", v)] {
            if storage(name, tensor)? != dtype {
                let got = storage(name, tensor)?;
                return Err(Error::invalid(name, format!("expected {dtype} as in q, got {got}")));
            }
        }
        let mut spec = Attention::new(shape).layout(layout);
        spec = with_options(spec, options, Some(tensors))?.dtype(dtype);
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
        Attention::new(Shape::bhtd(batch, heads, q_len, dim).kv(kv_heads, kv_len)).value_dim(value_dim);
    let spec = with_options(spec, options, None)?;
    spec.validate()?;
    Ok(spec)
}
