//! Attention as a problem among others.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Attention, Layout, Mask, OPERATOR, fill, reference};
use crate::{
    AdapterProfile, Constraints, Dtype, Error, Expected, HostTensor, Name, Operator, Plan, Problem, Rows,
    TensorSpec, Tolerance, Work, expr::Expr, options,
};

impl Problem for Attention {
    fn operator(&self) -> &'static str {
        OPERATOR.name()
    }

    fn describe(&self) -> String {
        let mut words = vec![self.shape(), self.dtype.to_string()];
        if self.mask != Mask::None {
            words.push(self.mask.to_string());
        }
        if let Some(blocks) = &self.blocks {
            words.push(format!("blocks {}x{}", blocks.q_block(), blocks.kv_block()));
        }
        if let Some(listed) = &self.listed {
            words.push(format!("blocks {}x{} listed on the device", listed.q_block, listed.kv_block));
        }
        for (name, lengths) in [("queries", &self.q_lengths), ("keys", &self.kv_lengths)] {
            words.extend(lengths.iter().map(|_| format!("{name} counted on the device")));
        }
        words.extend(self.score.iter().map(|score| format!("score {score}")));
        if self.head_scale.is_some() {
            words.push("a scale a head".into());
        }
        if self.qk_norm.is_some() {
            words.push("q and k normalised".into());
        }
        if self.sink_logits.is_some() {
            words.push("sinks".into());
        }
        if self.layout != Layout::Bhtd {
            words.push(self.layout.to_string());
        }
        words.join(" ")
    }

    fn notes(&self) -> Vec<String> {
        let score = self.score.iter().flat_map(Expr::notes);
        score.map(|note| format!("score: {note}")).collect()
    }

    fn options(&self) -> Map<String, Value> {
        options::write(self)
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

    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error> {
        reference::reference(self, inputs, rows)
    }

    fn queries_without_keys(
        &self,
        inputs: &[(&str, &HostTensor)],
        output: &dyn Fn(&str) -> Option<Vec<f64>>,
    ) -> Option<[usize; 2]> {
        self.rows_without_keys(inputs, output)
    }

    fn tolerance(&self, output: &str) -> Tolerance {
        // Storage of q, k and v is rounded before both sides see it; what remains is f32 arithmetic and the rounding of o.
        // Long rows and large scores lose a little more (up to 6.5e-6 measured on a CPU with scores of +-150).
        let large = self.resolved_scale() > 0.5 || self.head_scale.is_some() || self.score.is_some();
        let long = self.kv_len >= 16_384 || large;
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

    fn check_inputs(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        crate::tensor::check_integers(&self.all_tensors(), inputs)?;
        self.check_values(inputs)
    }

    fn work(&self) -> Work {
        self.work_of()
    }
}
