//! Linear attention as an operator among others.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::{
    Gate, Key, LinearAttention, Rule, cases, random_case,
    recipes::{self, RECIPES},
    variants::variants,
};
use crate::{
    Case, Error, HostTensor, Operator, OptionSpec, Problem, Recipe, TensorSpec, VariantInfo,
    options::{self, Given},
    read::{layout, shape_pairs, sizes, storage},
};

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
        static OPTIONS: LazyLock<Vec<OptionSpec>> = LazyLock::new(options::specs::<LinearAttention>);
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
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        let given = Given { options, tensors: Some(tensors) };
        let layout = layout(&given)?;
        let find = |name: &str| given.tensor(name);
        let needed =
            |name: &str| find(name).ok_or_else(|| Error::invalid(name, "expected a tensor, got none"));
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
        let mut spec = options::read(spec, given)?;
        spec.dtype = storage("q", q)?;
        spec.validate()?;
        for tensor_spec in
            spec.tensors().iter().filter(|tensor_spec| tensor_spec.access == crate::Access::Read)
        {
            let tensor = find(&tensor_spec.name).ok_or_else(|| {
                let message = format!("expected {}, got none", spec.wanted(tensor_spec));
                Error::invalid(&*tensor_spec.name, message)
            })?;
            if tensor.shape() != tensor_spec.shape {
                let message = format!("expected {}, got {:?}", spec.wanted(tensor_spec), tensor.shape());
                return Err(Error::invalid(&*tensor_spec.name, message));
            }
            let of_tokens = ["k", "v", "a", "b"].contains(&&*tensor_spec.name);
            if of_tokens || spec.erase_key.as_deref() == Some(&*tensor_spec.name) {
                let got = storage(&tensor_spec.name, tensor)?;
                if got != spec.dtype {
                    let message = format!("expected {} as in q, got {got}", spec.dtype);
                    return Err(Error::invalid(&*tensor_spec.name, message));
                }
            }
        }
        spec.check_unread(&names)?;
        let values: Vec<(&str, &HostTensor)> =
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        spec.check_values(&values)?;
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

impl LinearAttention {
    /// An input in words: its shape, and why the problem reads it.
    fn wanted(&self, tensor_spec: &TensorSpec) -> String {
        let is = |name: &Option<String>| name.as_deref() == Some(&*tensor_spec.name);
        let why = match &*tensor_spec.name {
            "g" => format!("gate {}", self.gate),
            "beta" | "a" | "b" => format!("rule {}", self.rule),
            "q_weight" | "k_weight" => "learned feature map".to_owned(),
            "cu_seqlens" => "packed sequences".to_owned(),
            "state_in" | "z_in" => format!("option {}", tensor_spec.name),
            name => {
                let named =
                    self.named_tensors().into_iter().find(|(_, given)| given.as_deref() == Some(name));
                named.map_or(String::new(), |(option, _)| format!("option {option}"))
            }
        };
        let mut words = Vec::new();
        if !why.is_empty() {
            words.push(why);
        }
        let by_row = ["k", "v", "a", "b", "beta"].contains(&&*tensor_spec.name) || is(&self.erase_key);
        if by_row && self.steps > 1 {
            words.push(format!("{} steps a token", self.steps));
        }
        if self.has_rows(&tensor_spec.name) {
            words.push(format!("layout {}", self.layout));
        } else if tensor_spec.name == "state_in" {
            words.push(format!("state layout {}", self.state_layout));
        }
        let words = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
        format!("shape {:?}{words}", tensor_spec.shape)
    }

    /// Whether a tensor has rows for tokens, in the order of the layout.
    fn has_rows(&self, name: &str) -> bool {
        match name {
            "q" | "k" | "v" | "a" | "b" | "beta" => true,
            "g" => self.gate != Gate::Constant,
            _ => [&self.erase_key, &self.dt].into_iter().any(|named| named.as_deref() == Some(name)),
        }
    }

    /// A tensor of gates or betas that nothing reads is an option forgotten, and would give another result than was meant.
    fn check_unread(&self, given: &[&str]) -> Result<(), Error> {
        let named = |name: &str| self.named_tensors().into_iter().any(|(_, n)| n.as_deref() == Some(name));
        for (name, unread, option) in [
            ("g", self.gate == Gate::None, "gate none"),
            ("beta", self.rule != Rule::Delta, "a rule that is not delta"),
            ("k", self.key == Key::Decay, "key decay"),
        ] {
            if unread && given.contains(&name) && !named(name) {
                return Err(Error::invalid(name, format!("expected none with {option}, got one")));
            }
        }
        Ok(())
    }
}

const SHAPE_HELP: &str = "BxHxTxD, H and D optionally as H:HV, Dk:Dv (1x8x4096x64, 2x4:8x1000x128:64)";

/// The problem of a shape given as text.
pub(super) fn spec_of_shape(shape: &str, options: &Map<String, Value>) -> Result<LinearAttention, Error> {
    let wrong = || Error::invalid("shape", format!("expected {SHAPE_HELP}, got `{shape}`"));
    let [(batch, other_batch), (heads, value_heads), (len, other_len), (dim, value_dim)] =
        shape_pairs(shape, SHAPE_HELP)?;
    if batch != other_batch || len != other_len {
        return Err(wrong());
    }
    let spec = LinearAttention::new([batch, heads, len, dim], value_heads, value_dim);
    let spec = options::read(spec, Given { options, tensors: None })?;
    spec.validate()?;
    Ok(spec)
}
