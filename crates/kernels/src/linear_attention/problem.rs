//! Linear attention as a problem among others.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{FeatureMap, Key, LinearAttention, OPERATOR, Rule, fill, reference};
use crate::{
    AdapterProfile, Constraints, Dtype, Error, Expected, HostTensor, Name, Operator, Plan, Problem, Rows,
    TensorSpec, Tolerance, Work, options,
};

impl Problem for LinearAttention {
    fn operator(&self) -> &'static str {
        OPERATOR.name()
    }

    fn describe(&self) -> String {
        let mut words = vec![self.shape(), self.dtype.to_string(), self.rule.to_string()];
        let plain = Self::new([1; 4], 1, 1);
        if self.gate != plain.gate {
            words.push(format!("{} gate", self.gate));
        }
        if self.steps > 1 {
            words.push(format!("{} steps a token", self.steps));
        }
        if !self.causal {
            words.push("not causal".into());
        }
        if self.direction != plain.direction {
            words.push(self.direction.to_string());
        }
        if self.feature_map != FeatureMap::Identity {
            words.push(format!("{} of q and k", self.feature_map));
        }
        if self.normalises() {
            words.push("normalised".into());
        }
        if self.erase_key.is_some() {
            words.push("erase key".into());
        }
        if self.bonus.is_some() {
            words.push("bonus".into());
        }
        if self.dt.is_some() {
            words.push("step sizes".into());
        }
        if self.skip.is_some() {
            words.push("skip".into());
        }
        if self.key == Key::Decay {
            words.push("k = 1 - exp(g)".into());
        }
        if let Some(count) = self.sequences {
            words.push(format!("{count} sequences"));
        }
        if self.kv_len.is_some() {
            words.push("padded".into());
        }
        match (self.state_in, self.state_out) {
            (true, true) => words.push("states in and out".into()),
            (true, false) => words.push("states in".into()),
            (false, true) => words.push("states out".into()),
            (false, false) => {}
        }
        if self.layout != plain.layout {
            words.push(self.layout.to_string());
        }
        words.join(" ")
    }

    fn options(&self) -> Map<String, Value> {
        options::write(self)
    }

    fn shape(&self) -> String {
        let pair = |a: usize, b: usize| if a == b { a.to_string() } else { format!("{a}:{b}") };
        format!(
            "{}x{}x{}x{}",
            self.batch,
            pair(self.heads, self.value_heads),
            self.len,
            pair(self.head_dim, self.value_dim)
        )
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.all_tensors()
    }

    fn plan(&self, adapter: &AdapterProfile, constraints: &Constraints) -> Result<Plan, Error> {
        self.plan_on(adapter, constraints)
    }

    fn self_check_problem(&self) -> Arc<dyn Problem> {
        Arc::new(self.self_check_problem())
    }

    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)> {
        fill::random_inputs(self, seed)
    }

    fn check_inputs(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        crate::tensor::check_integers(&self.all_tensors(), inputs)?;
        self.check_values(inputs)
    }

    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error> {
        reference::reference(self, inputs, rows)
    }

    fn tolerance(&self, output: &str) -> Tolerance {
        // Storage is rounded before both sides see it; what remains is f32 arithmetic and the rounding of o.
        match (output, self.dtype) {
            ("o", Dtype::F16) => Tolerance { rel_rmse: 5e-4, worst: 1e-2, floor: 1e-7 },
            ("o", Dtype::Bf16) => Tolerance { rel_rmse: 4e-3, worst: 4e-2, floor: 1e-7 },
            _ => Tolerance { rel_rmse: self.rounding().max(5e-6), worst: 2e-4, floor: 1e-7 },
        }
    }

    fn work(&self) -> Work {
        self.work_of()
    }
}

impl LinearAttention {
    /// What is rounded off states that only grow, relative to them, if every token is added by itself. Each sum is rounded by at
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
