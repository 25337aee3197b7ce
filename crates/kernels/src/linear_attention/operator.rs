//! Linear attention as an operator among others.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    LinearAttention, cases,
    options::{OPTIONS, sizes, text, with_options},
    random_case,
    recipes::{self, RECIPES},
    variants::variants,
};
use crate::{Case, Error, HostTensor, Layout, Operator, OptionSpec, Problem, Recipe, VariantInfo};

/// Linear attention, as an [`Operator`].
#[derive(Clone, Copy, Debug)]
pub struct LinearOperator;

/// The one there is.
pub static OPERATOR: LinearOperator = LinearOperator;

impl Operator for LinearOperator {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn summary(&self) -> &'static str {
        "linear attention: o_t = S_t^T q_t over a state S that each token decays, erases from and adds to"
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
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        let layout = text(options, "layout")?.map_or(Ok(Layout::Bhtd), str::parse)?;
        let find = |name: &str| tensors.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor);
        let needed = |name: &str| find(name).ok_or_else(|| Error::invalid(name, "the tensor is missing"));
        let (q, v) = (needed("q")?, needed("v")?);
        let q_sizes = sizes("q", q, layout)?;
        let [_, value_heads, _, value_dim] = sizes("v", v, layout)?;
        let mut spec = LinearAttention::new(q_sizes, value_heads, value_dim);
        if let Some(starts) = find("cu_seqlens") {
            spec.sequences = Some(starts.len().saturating_sub(1));
        }
        if let Some(&[_, _, dim]) = find("q_weight").map(HostTensor::shape) {
            spec.feature_dim = dim;
        }
        let mut spec = with_options(spec, options, Some(&names))?;
        spec.dtype = storage("q", q)?;
        spec.validate()?;
        for port in spec.ports().iter().filter(|port| port.role == crate::PortRole::Input) {
            let tensor = needed(&port.name)?;
            if tensor.shape() != port.shape {
                let layout = if port.shape.len() >= 3 && !port.name.starts_with("state") {
                    format!(" (layout {layout})")
                } else {
                    String::new()
                };
                return Err(Error::invalid(
                    &*port.name,
                    format!("expected shape {:?}{layout}, got {:?}", port.shape, tensor.shape()),
                ));
            }
            if port.dtype == spec.dtype && storage(&port.name, tensor)? != spec.dtype && port.dtype.is_float()
            {
                let of_tokens = ["k", "v", "a", "b"].contains(&&*port.name);
                if of_tokens || spec.erase_key.as_deref() == Some(&*port.name) {
                    let got = storage(&port.name, tensor)?;
                    return Err(Error::invalid(
                        &*port.name,
                        format!("expected {} as in q, got {got}", spec.dtype),
                    ));
                }
            }
        }
        let given: Vec<(&str, &HostTensor)> =
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        spec.check_values(&given)?;
        Ok(Arc::new(spec))
    }

    fn problem_of_shape(&self, shape: &str, options: &Map<String, Value>) -> Result<Arc<dyn Problem>, Error> {
        Ok(Arc::new(spec_of_shape(shape, options)?))
    }

    fn shape_help(&self) -> &'static str {
        SHAPE_HELP
    }

    fn bench_shapes(&self) -> &'static [&'static str] {
        &["1x8x1024x64", "1x8x4096x64", "1x16x2048x128", "1x32x1x128"]
    }
}

fn storage(name: &str, tensor: &HostTensor) -> Result<crate::Dtype, Error> {
    tensor
        .dtype()
        .filter(|dtype| dtype.is_float())
        .ok_or_else(|| Error::invalid(name, "expected elements of type f32, f16 or bf16"))
}

const SHAPE_HELP: &str = "BxHxTxD, H and D optionally as H:HV, Dk:Dv (1x8x4096x64, 2x4:8x1000x128:64)";

/// The problem of a shape given as text.
pub(super) fn spec_of_shape(shape: &str, options: &Map<String, Value>) -> Result<LinearAttention, Error> {
    let wrong = || Error::invalid("shape", format!("expected {SHAPE_HELP}, got `{shape}`"));
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
    let [(batch, other_batch), (heads, value_heads), (len, other_len), (dim, value_dim)] = sizes[..] else {
        return Err(wrong());
    };
    if batch != other_batch || len != other_len {
        return Err(wrong());
    }
    let spec =
        with_options(LinearAttention::new([batch, heads, len, dim], value_heads, value_dim), options, None)?;
    spec.validate()?;
    Ok(spec)
}
