//! The tensors of a problem, and the work it asks for.

use super::{Attention, Mask, layout::Tensor};
use crate::{Access, Dtype, Error, TensorSpec, Work, attention::plan::mask_program::MaskProgram};

impl Attention {
    pub(crate) fn all_tensors(&self) -> Vec<TensorSpec> {
        let main = |tensor: Tensor| {
            let [heads, len, dim] = self.sizes(tensor);
            let (shape, head_axis) = self.layout.shape([self.stored_batch(tensor), heads, len, dim]);
            TensorSpec {
                name: tensor.name().into(),
                access: if tensor == Tensor::O { Access::Write } else { Access::Read },
                dtype: self.dtype_of(tensor),
                shape,
                span: self.span(tensor).unwrap_or(usize::MAX / 16),
                head_axis: Some(head_axis),
            }
        };
        let mut tensor_specs: Vec<TensorSpec> =
            [Tensor::Q, Tensor::K, Tensor::V].into_iter().map(main).collect();
        for tensor_spec in self.named_tensors() {
            // One tensor may serve several purposes.
            if tensor_specs.iter().all(|known| known.name != tensor_spec.name) {
                tensor_specs.push(tensor_spec);
            }
        }
        tensor_specs.push(main(Tensor::O));
        if self.lse {
            let shape = vec![self.stored_batch(Tensor::O), self.q_heads, self.q_len];
            tensor_specs.push(TensorSpec::dense("lse", Access::Write, Dtype::F32, shape, Some(1)));
        }
        tensor_specs
    }

    /// The inputs that options name, a port for each use.
    fn named_tensors(&self) -> Vec<TensorSpec> {
        let of_heads = self.head_scale().into_iter().chain(&self.sink_logits);
        let mut tensor_specs: Vec<TensorSpec> = of_heads
            .map(|name| {
                TensorSpec::dense(name.clone(), Access::Read, Dtype::F32, vec![self.q_heads], Some(0))
            })
            .collect();
        for input in &self.tables {
            let table = &input.table;
            tensor_specs.push(TensorSpec::dense(
                table.name.clone(),
                Access::Read,
                table.element,
                table.shape.clone(),
                None,
            ));
        }
        tensor_specs.extend(self.device_tensors());
        tensor_specs
    }

    /// Checks that inputs of one name are one tensor: of one type and shape.
    pub(super) fn validate_names(&self) -> Result<(), Error> {
        if let Some(name) = self.head_scale().filter(|_| self.head_scale() == self.sink_logits.as_ref()) {
            let message = format!("expected different names of factors and sinks, got `{name}` for both");
            return Err(Error::invalid(name.as_str(), message));
        }
        let mut known: Vec<TensorSpec> = Vec::new();
        for tensor_spec in self.named_tensors() {
            if ["q", "k", "v", "o", "lse"].contains(&&*tensor_spec.name) {
                let message =
                    format!("expected another name, got that of two tensors: `{}`", tensor_spec.name);
                return Err(Error::invalid(&*tensor_spec.name, message));
            }
            if let Some(other) = known.iter().find(|other| other.name == tensor_spec.name)
                && (other.dtype != tensor_spec.dtype || other.shape != tensor_spec.shape)
            {
                let (a, b) = ((other.dtype, &other.shape), (tensor_spec.dtype, &tensor_spec.shape));
                let message = format!(
                    "expected one type and shape of all tensors of this name, got {} {:?} and {} {:?}",
                    a.0, a.1, b.0, b.1
                );
                return Err(Error::invalid(&*tensor_spec.name, message));
            }
            known.push(tensor_spec);
        }
        Ok(())
    }

    /// Visible (query, key) pairs of all heads. Pairs that only the contents of tables decide count as visible;
    /// expressions are counted block by block, those of partly visible blocks by a sample.
    fn visible_pairs(&self) -> f64 {
        let (q_len, kv_len) = self.typical_lengths();
        let (tq, tk) = (q_len as u128, kv_len as u128);
        // Rows see 1, 2, ... keys up to a full row; `longest` is what the last row sees.
        let staircase =
            |rows: u128, longest: u128| rows.min(longest) * (2 * longest - rows.min(longest) + 1) / 2;
        let pairs = match *self.effective_mask() {
            Mask::Causal => staircase(tq, tk),
            Mask::CausalTopLeft if tq <= tk => staircase(tq, tq),
            Mask::CausalTopLeft => staircase(tk, tk) + (tq - tk) * tk,
            Mask::None | Mask::Expression(_) => tq * tk,
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate is reported with a few digits")]
        let pairs = pairs as f64 * (self.batch * self.q_heads) as f64;
        let share = MaskProgram::new(self).map_or(1.0, |visibility| visibility.visible_density());
        pairs * share
    }

    pub(crate) fn work_of(&self) -> Work {
        #[expect(clippy::cast_precision_loss, reason = "a rate is reported with a few digits")]
        let of = |x: usize| x as f64;
        let (q_len, kv_len) = self.typical_lengths();
        let per_pair = 2.0 * of(self.head_dim + self.value_dim);
        let bytes: f64 = self
            .all_tensors()
            .iter()
            .map(|p| of(p.shape.iter().product::<usize>() * p.dtype.size_bytes()))
            .sum();
        Work {
            flops: per_pair * self.visible_pairs(),
            dense_flops: per_pair * of(self.batch * self.q_heads) * of(q_len) * of(kv_len),
            bytes,
        }
    }
}
