//! Combining as an operator among others.

use super::{Combine, plan, reference, testing};
use crate::{
    Constraints, Dtype, Error, HostTensor, Layout, Name, Recipe, TensorSpec, Work,
    check::{Expected, Rows, Tolerance},
    operator::{Candidate, OperatorOf, OperatorSpec, Variant},
    plan::builder::PlanBuilder,
    spec::{
        options::Arguments,
        read::{self, storage},
    },
};

/// Combining, as an [`crate::Operator`].
pub(crate) static OPERATOR: OperatorOf<Combine> = OperatorOf::new();

impl OperatorSpec for Combine {
    const SUMMARY: &'static str =
        "partial softmaxes merged: o = sum_n w_n o_n / sum_n w_n, w_n = exp(lse_n - lse)";
    const SHAPE_HELP: &'static str = "NxBxHxTxD (8x1x32x1x128)";
    const BENCH_SHAPES: &'static [&'static str] = &["8x1x32x1x128", "4x1x8x1024x64", "32x8x32x1x128"];
    const RECIPES: &'static [Recipe] = testing::RECIPES;

    type Analysis<'a> = ();
    type Schedule = plan::Lanes;

    fn of_shape(shape: &str) -> Result<Self, Error> {
        let sizes: Result<Vec<usize>, _> = shape.split('x').map(str::parse).collect();
        match sizes.as_deref() {
            Ok(&[parts, batch, heads, len, dim]) => Ok(Self::new(parts, [batch, heads, len, dim])),
            _ => {
                let message = format!("expected {}, got `{shape}`", Self::SHAPE_HELP);
                Err(Error::invalid("shape", message))
            }
        }
    }

    fn of_tensors(given: &Arguments<'_>) -> Result<Self, Error> {
        let layout = read::layout(given)?;
        let o_parts = given.needed("o_parts")?;
        let &[parts, batch, second, third, dim] = o_parts.shape() else {
            let order = if layout == Layout::Bhtd { "[N, B, H, T, D]" } else { "[N, B, T, H, D]" };
            let message = format!("expected 5 dimensions {order}, got {:?}", o_parts.shape());
            return Err(Error::invalid("o_parts", message));
        };
        let (heads, len) = if layout == Layout::Bhtd { (second, third) } else { (third, second) };
        Ok(Self::new(parts, [batch, heads, len, dim]).dtype(storage("o_parts", o_parts)?))
    }

    fn fit_tensors(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
        given.check_shapes(&self.tensors())
    }

    fn validate(&self) -> Result<(), Error> {
        let sizes = [("parts", self.parts), ("batch", self.batch), ("heads", self.heads)];
        for (name, size) in sizes.into_iter().chain([("value_dim", self.value_dim)]) {
            if size == 0 {
                return Err(Error::invalid(name, "expected at least 1, got 0"));
            }
        }
        if !self.dtype.is_float() {
            return Err(Error::invalid("dtype", format!("expected f32, f16 or bf16, got {}", self.dtype)));
        }
        if let Some(taken) = self
            .sink_logits
            .as_ref()
            .filter(|name| ["o_parts", "lse_parts", "o", "lse"].contains(&name.as_str()))
        {
            return Err(Error::invalid(
                taken.as_str(),
                format!("expected another name, got that of two tensors: `{taken}`"),
            ));
        }
        let all = [self.parts, self.batch, self.heads, self.len, self.value_dim];
        match all.into_iter().try_fold(1usize, usize::checked_mul) {
            Some(count) if count <= isize::MAX as usize / 8 => Ok(()),
            _ => Err(Error::invalid("o_parts", "has more elements than can be addressed")),
        }
    }

    fn shape(&self) -> String {
        format!("{}x{}x{}x{}x{}", self.parts, self.batch, self.heads, self.len, self.value_dim)
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.all_tensors()
    }

    fn variants() -> Vec<Variant<Self>> {
        vec![
            Variant::new("rows", "a thread a row: no weight is computed twice", |of, adapter| {
                plan::rows(of.spec, adapter)
            }),
            Variant::new(
                "lanes",
                "up to 16 threads a row: loads lie side by side, few rows fill a GPU",
                |of, adapter| plan::lanes(of.spec, adapter),
            ),
        ]
    }

    fn analyse(&self) -> Result<(), Error> {
        Ok(())
    }

    fn passes(
        &self,
        taken: &Candidate<Self>,
        _: [&(); 2],
        _: &Constraints,
        mut plan: PlanBuilder,
    ) -> Result<PlanBuilder, Error> {
        taken.schedule.passes(self, &mut plan)?;
        Ok(plan)
    }

    fn self_check_problem(&self) -> Self {
        Self { parts: 5, batch: 2, heads: 3, len: self.len.min(37), odd_values: true, ..self.clone() }
    }

    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)> {
        testing::random_inputs(self, seed)
    }

    fn reference(&self, inputs: &[(&str, &HostTensor)], rows: Rows) -> Result<Vec<Expected>, Error> {
        reference::reference(self, inputs, rows)
    }

    /// WGSL lets exp2(x) be off by 3 + 2 |x| units in the last place, and a weight 2^x by 4 units of the largest weight at
    /// most; so o is off by some 2^-20 of its parts, which may cancel to a tenth. lse adds log2's 2^-21 to its own rounding.
    fn tolerance(&self, output: &str) -> Tolerance {
        match (output, self.dtype) {
            ("o", Dtype::F16) => Tolerance { rel_rmse: 5e-4, worst: 1e-2, floor: 1e-7 },
            ("o", Dtype::Bf16) => Tolerance { rel_rmse: 4e-3, worst: 4e-2, floor: 1e-7 },
            ("o", _) => Tolerance { rel_rmse: 2e-6, worst: 2e-5, floor: 1e-7 },
            _ => Tolerance { rel_rmse: 1e-6, worst: 4e-6, floor: 1e-6 },
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is reported with a few digits")]
    fn work(&self) -> Work {
        let flops = (2 * self.parts * self.rows() * (self.value_dim + 1)) as f64;
        let bytes = self.tensors().iter().map(|tensor_spec| tensor_spec.size_bytes() as f64).sum();
        Work { flops, dense_flops: flops, bytes }
    }

    fn cases() -> Vec<(String, Self)> {
        testing::cases()
    }

    fn random(random: &mut fastrand::Rng) -> Self {
        testing::random(random)
    }
}
