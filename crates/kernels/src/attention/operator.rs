//! Attention as an operator among others.

use super::{Attention, Shape, reference};
use crate::{
    Constraints, Dtype, Error, HostTensor, Name, Recipe, TensorSpec, Work,
    attention::{
        plan::{
            list::variants,
            mask_program::MaskProgram,
            variants::{Candidate, Tiles},
        },
        testing::{cases, fill, random_case, recipes},
    },
    check::{Expected, Rows, Tolerance},
    expr::Expr,
    operator::{OperatorOf, OperatorSpec, Variant},
    plan::builder::PlanBuilder,
    spec::{
        options::Arguments,
        read::{pair, shape_pairs},
    },
};

/// Attention, as an [`crate::Operator`].
pub(crate) static OPERATOR: OperatorOf<Attention> = OperatorOf::new();

impl OperatorSpec for Attention {
    const SUMMARY: &'static str =
        "softmax attention: o = softmax(score(scale q k^T) where mask) v, tiled, exact";
    const SHAPE_HELP: &'static str =
        "BxHxTxD, each of H, T and D optionally as H:G, Tq:Tk, Dk:Dv (1x8x1024x64, 1x32:8x1:4096x128)";
    const BENCH_SHAPES: &'static [&'static str] =
        &["1x8x512x64", "1x8x1024x64", "1x8x2048x64", "1x8x1024x128", "1x32:8x1:4096x128"];
    const RECIPES: &'static [Recipe] = recipes::RECIPES;
    const OTHER_PASSES: &'static [(&'static str, u32, u32)] = &[
        ("attention/fill_padding", 64, 0),
        ("attention/device_block_mask", 64, 0),
        ("combine/combine", 64, 0),
        ("attention/norms", 64, 0),
        ("attention/rotate", 64, 0),
        ("attention/matrix_pack", 64, 16),
        ("attention/classify", 64, 32),
        ("attention/compact", 64, 512),
        ("attention/bits", 64, 0),
    ];

    type Analysis<'a> = MaskProgram<'a>;
    type Schedule = Tiles;

    fn of_shape(shape: &str) -> Result<Self, Error> {
        let [(batch, other_batch), (heads, kv_heads), (q_len, kv_len), (dim, value_dim)] =
            shape_pairs(shape, Self::SHAPE_HELP)?;
        if batch != other_batch {
            let message = format!("expected {}, got `{shape}`", Self::SHAPE_HELP);
            return Err(Error::invalid("shape", message));
        }
        Ok(Self::new(Shape::bhtd(batch, heads, q_len, dim).kv(kv_heads, kv_len).value_dim(value_dim)))
    }

    fn of_tensors(given: &Arguments<'_>) -> Result<Self, Error> {
        Self::of_given(given)
    }

    fn fit_tensors(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
        // A file that stores lse wants it compared.
        self.lse |= given.tensor("lse").is_some();
        Ok(())
    }

    fn validate(&self) -> Result<(), Error> {
        self.validate()
    }

    fn shape(&self) -> String {
        let (heads, dim) = (pair(self.q_heads, self.kv_heads), pair(self.head_dim, self.value_dim));
        format!("{}x{heads}x{}x{dim}", self.batch, pair(self.q_len, self.kv_len))
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.all_tensors()
    }

    fn variants() -> Vec<Variant<Self>> {
        variants()
    }

    fn analyse(&self) -> Result<MaskProgram<'_>, Error> {
        MaskProgram::new(self)
    }

    fn specialized(&self) -> &Self {
        self.specialized()
    }

    fn passes(
        &self,
        taken: &Candidate,
        analyses: [&MaskProgram<'_>; 2],
        constraints: &Constraints,
        plan: PlanBuilder,
    ) -> Result<PlanBuilder, Error> {
        self.passes_of(taken, analyses, constraints, &plan)
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

    fn quantisation_bounds(
        &self,
        inputs: &[(&str, &HostTensor)],
        rows: Rows,
    ) -> Result<Vec<(Name, f64)>, Error> {
        if self.quantised.is_none() {
            return Ok(Vec::new());
        }
        let [lse, o] = reference::quantisation_bounds(self, inputs, rows)?;
        let of_lse = self.lse.then(|| ("lse".into(), lse));
        Ok([("o".into(), o)].into_iter().chain(of_lse).collect())
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
        let large = self.resolved_scale() > 0.5 || self.head_scale().is_some() || self.score.is_some();
        let long = self.kv_len >= 16_384 || large;
        let rounded = if self.rounds_inputs() && self.dtype == Dtype::F32 { Dtype::F16 } else { self.dtype };
        match (output, rounded) {
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

    fn notes(&self) -> Vec<String> {
        let score = self.score.iter().flat_map(Expr::notes);
        score.map(|note| format!("score: {note}")).collect()
    }

    fn of_recipe(mut self, recipe: &str) -> Self {
        self.lse = true;
        recipes::fill(recipe, &mut self.tables);
        self
    }

    fn cases() -> Vec<(String, Self)> {
        cases::cases()
    }

    fn random(random: &mut fastrand::Rng) -> Self {
        random_case::random(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, AdapterProfile, Limits, Problem};

    #[test]
    fn inputs_come_before_outputs() {
        let roles: Vec<Access> = Attention::new(Shape::bhtd(1, 2, 3, 4))
            .with_lse()
            .all_tensors()
            .iter()
            .map(|p| p.access)
            .collect();
        assert_eq!(roles, [Access::Read, Access::Read, Access::Read, Access::Write, Access::Write]);
    }

    #[test]
    fn large_batches_are_split_into_bindings_that_fit() {
        let spec = Attention::new(Shape::bhtd(64, 8, 4096, 64));
        let mut adapter = AdapterProfile::webgpu_floor();
        adapter.limits.max_buffer_size = 1 << 40;
        let plan = spec.plan(&adapter, &Constraints::default()).unwrap();
        assert!(plan.passes.len() > 1);
        let max = Limits::WEBGPU_DEFAULT.max_storage_buffer_binding_size;
        let alignment = u64::from(Limits::WEBGPU_DEFAULT.min_storage_buffer_offset_alignment);
        for binding in plan.passes.iter().flat_map(|pass| &pass.bindings) {
            assert!(binding.size_bytes <= max && binding.offset_bytes % alignment == 0);
        }
    }

    #[test]
    fn keys_beyond_a_binding_are_visited_in_segments() {
        let adapter = AdapterProfile::webgpu_floor();
        let max = adapter.limits.max_storage_buffer_binding_size;
        for spec in [
            Attention::new(Shape::bhtd(1, 1, 64, 64).kv(1, 1_000_000)),
            Attention::new(Shape::bhtd(1, 4, 1, 64).kv(1, 1_000_000)).kv_lengths("keys").causal(),
            Attention::new(Shape::bhtd(1, 1, 3, 64).kv(1, 1_000_000)).qk_norm(crate::attention::QkNorm::L2),
        ] {
            let plan = spec.plan(&adapter, &Constraints::default()).unwrap();
            assert!(plan.passes.len() > 2, "{plan}");
            let sizes = plan.passes.iter().flat_map(|pass| &pass.bindings).map(|binding| binding.size_bytes);
            assert!(sizes.max().unwrap() <= max, "{plan}");
        }
    }

    #[test]
    fn pages_beyond_a_binding_are_an_error_that_names_the_limit() {
        let mut adapter = AdapterProfile::webgpu_floor();
        adapter.limits.max_buffer_size = 1 << 40;
        let spec = Attention::new(Shape::bhtd(1, 1, 64, 64).kv(1, 1 << 20));
        let spec = spec.pages(crate::attention::Pages::new("pages", 16, 1 << 16));
        let error = spec.plan(&adapter, &Constraints::default()).unwrap_err();
        assert_eq!(error.argument(), "max_storage_buffer_binding_size");
    }
}
