//! Linear attention as an operator among others.

use std::sync::Arc;

use super::{Gate, Key, Lengths, LinearAttention, LinearShape, Rule, reference};
use crate::{
    Constraints, Dtype, Error, HostTensor, Name, Recipe, TensorSpec, Work,
    check::{Expected, Rows, Tolerance},
    linear_attention::{
        plan::{
            passes::{Candidate, Passes, Schedule},
            preprocess, states,
            variants::variants,
        },
        testing::{cases, fill, random_case, recipes},
    },
    operator::{OperatorOf, OperatorSpec, Variant},
    plan::builder::PlanBuilder,
    spec::{
        options::Arguments,
        read::{layout, pair, shape_pairs, sizes, storage},
    },
};

/// Linear attention, as an [`crate::Operator`].
pub(crate) static OPERATOR: OperatorOf<LinearAttention> = OperatorOf::new();

impl OperatorSpec for LinearAttention {
    const SUMMARY: &'static str =
        "linear attention: o_t = S_t^T q_t over a state S that each token decays, erases from and adds to";
    const SHAPE_HELP: &'static str =
        "BxHxTxD, H and D optionally as H:HV, Dk:Dv (1x8x4096x64, 2x4:8x1000x128:64)";
    const BENCH_SHAPES: &'static [&'static str] =
        &["1x8x1024x64", "1x8x4096x64", "1x16x2048x128", "1x32x1x128"];
    const RECIPES: &'static [Recipe] = recipes::RECIPES;
    const OTHER_PASSES: &'static [(&'static str, u32, u32)] = &[
        ("linear_attention/preprocess", preprocess::THREADS, 0),
        ("linear_attention/read", states::READ_THREADS, 0),
    ];

    type Analysis<'a> = ();
    type Schedule = Arc<dyn Schedule>;

    fn of_shape(shape: &str) -> Result<Self, Error> {
        let [(batch, other_batch), (heads, value_heads), (len, other_len), (dim, value_dim)] =
            shape_pairs(shape, Self::SHAPE_HELP)?;
        if batch != other_batch || len != other_len {
            let message = format!("expected {}, got `{shape}`", Self::SHAPE_HELP);
            return Err(Error::invalid("shape", message));
        }
        Ok(Self::new(LinearShape::bhtd(batch, heads, len, dim).value_heads(value_heads).value_dim(value_dim)))
    }

    fn of_tensors(given: &Arguments<'_>) -> Result<Self, Error> {
        let layout = layout(given)?;
        let (q, v) = (given.needed("q")?, given.needed("v")?);
        let [_, value_heads, _, value_dim] = sizes("v", v, layout)?;
        let [batch, query_heads, len, dim] = sizes("q", q, layout)?;
        let heads = match given.tensor("k") {
            Some(k) => sizes("k", k, layout)?[1],
            // Keys that are decays have the heads of gates.
            None if query_heads > value_heads => value_heads,
            None => query_heads,
        };
        let mut shape =
            LinearShape::bhtd(batch, heads, len, dim).value_heads(value_heads).value_dim(value_dim);
        shape.query_heads = (query_heads != heads).then_some(query_heads);
        let mut spec = Self::new(shape).dtype(storage("q", q)?);
        if let Some(starts) = given.tensor("cu_seqlens") {
            spec.lengths = Lengths::Packed(starts.len().saturating_sub(1));
        }
        if let Some(&[_, _, dim]) = given.tensor("q_weight").map(HostTensor::shape) {
            spec.feature_dim = dim;
        }
        Ok(spec)
    }

    fn fit_tensors(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
        for tensor_spec in
            self.all_tensors().iter().filter(|tensor_spec| tensor_spec.access == crate::Access::Read)
        {
            let tensor = given.tensor(&tensor_spec.name).ok_or_else(|| {
                let message = format!("expected {}, got none", self.wanted(tensor_spec));
                Error::invalid(&*tensor_spec.name, message)
            })?;
            if tensor.shape() != tensor_spec.shape {
                let message = format!("expected {}, got {:?}", self.wanted(tensor_spec), tensor.shape());
                return Err(Error::invalid(&*tensor_spec.name, message));
            }
            let of_tokens = ["k", "v", "a", "b"].contains(&&*tensor_spec.name);
            if of_tokens || self.erase_key.as_deref() == Some(&*tensor_spec.name) {
                let got = storage(&tensor_spec.name, tensor)?;
                if got != self.dtype {
                    let message = format!("expected {} as in q, got {got}", self.dtype);
                    return Err(Error::invalid(&*tensor_spec.name, message));
                }
            }
        }
        let tensors = given.tensors.unwrap_or_default();
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        self.check_unread(&names)?;
        let values: Vec<(&str, &HostTensor)> =
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        self.check_values(&values)
    }

    fn validate(&self) -> Result<(), Error> {
        self.validate()
    }

    fn shape(&self) -> String {
        let (heads, dim) = (pair(self.heads, self.value_heads), pair(self.head_dim, self.value_dim));
        format!("{}x{heads}x{}x{dim}", self.batch, self.len)
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.all_tensors()
    }

    fn variants() -> Vec<Variant<Self>> {
        variants()
    }

    fn analyse(&self) -> Result<(), Error> {
        Ok(())
    }

    fn specialized(&self) -> &Self {
        self.specialized()
    }

    fn passes(
        &self,
        taken: &Candidate,
        _: [&(); 2],
        _: &Constraints,
        plan: PlanBuilder,
    ) -> Result<PlanBuilder, Error> {
        Passes::of(self, &*taken.schedule, plan)
    }

    fn self_check_problem(&self) -> Self {
        self.self_check_problem()
    }

    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)> {
        fill::random_inputs(self, seed)
    }

    fn check_values(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        self.check_values(inputs)
    }

    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error> {
        reference::reference(self, inputs, rows)
    }

    fn tolerance(&self, output: &str) -> Tolerance {
        // Storage is rounded before both sides see it; what remains is f32 arithmetic and the rounding of o.
        let stored = match output {
            "o" => self.dtype,
            "state_out" | "states" | "window_states" => self.state_dtype,
            _ => Dtype::F32,
        };
        match stored {
            Dtype::F16 => Tolerance { rel_rmse: 5e-4, worst: 1e-2, floor: 1e-7 },
            Dtype::Bf16 => Tolerance { rel_rmse: 4e-3, worst: 4e-2, floor: 1e-7 },
            _ => Tolerance { rel_rmse: self.rounding().max(5e-6), worst: 2e-4, floor: 1e-7 },
        }
    }

    fn work(&self) -> Work {
        self.work_of()
    }

    fn cases() -> Vec<(String, Self)> {
        cases::cases()
    }

    fn random(random: &mut fastrand::Rng) -> Self {
        random_case::random(random)
    }
}

impl LinearAttention {
    /// Rounding of states that only grow, relative to them, if every token is added by itself. Each sum is rounded by at
    /// most `2^-24` of itself, evenly distributed: `2^-24 / sqrt(3)` in the mean square. Rounding errors add up like the steps
    /// of a random walk, `sqrt(T / 2)` times that of the last sum where sums grow like one too, as those of values of
    /// either sign do, and less where they grow evenly. 5e-6 is passed after 42,000 tokens.
    #[expect(clippy::cast_precision_loss, reason = "lengths are below 2^53")]
    fn rounding(&self) -> f64 {
        match self.rule {
            Rule::Add => (self.len as f64 / 6.0).sqrt() / f64::from(1 << 24),
            // The others erase what they overwrite.
            Rule::Delta | Rule::Dplr => 0.0,
        }
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
                let named = self
                    .named_tensors()
                    .into_iter()
                    .find(|(_, given)| given.is_some_and(|given| given == name));
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
        let named =
            |name: &str| self.named_tensors().into_iter().any(|(_, n)| n.is_some_and(|given| given == name));
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
