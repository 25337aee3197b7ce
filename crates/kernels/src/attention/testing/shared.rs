//! Random inputs of batch entries that share a prefix.

use crate::{
    HostTensor, Name,
    attention::{Attention, layout::Tensor},
};

impl Attention {
    /// Makes what a stretch of every entry holds that of entry 0: of each `of_head` elements the first `shared`.
    pub(super) fn share<T: Copy>(&self, elements: &mut [T], of_head: usize, shared: usize) {
        let of_entry = elements.len() / self.batch.max(1);
        for at in of_entry..elements.len() {
            if at % of_entry % of_head < shared {
                elements[at] = elements[at % of_entry];
            }
        }
    }

    /// Makes rows of the prefix those of entry 0, where keys and values are no pages.
    pub(super) fn share_rows(&self, inputs: &mut [(Name, HostTensor)]) {
        if self.shared_prefix == 0 || self.pages.is_some() {
            return;
        }
        for tensor in [Tensor::K, Tensor::V] {
            let found = inputs.iter_mut().find(|(name, _)| **name == *tensor.name());
            let Some((_, values)) = found else { continue };
            let (Some(dtype), strides, [heads, _, width]) =
                (values.dtype(), self.strides(tensor), self.sizes(tensor))
            else {
                continue;
            };
            #[expect(clippy::cast_possible_truncation, reason = "inputs are stored as f32 or less")]
            let mut elements: Vec<f32> = values.to_f64().into_iter().map(|x| x as f32).collect();
            for batch in 1..self.batch {
                for (head, key) in
                    (0..heads).flat_map(|head| (0..self.shared_prefix).map(move |key| (head, key)))
                {
                    let first = head * strides.head + key * strides.position;
                    elements.copy_within(first..first + width, batch * strides.batch + first);
                }
            }
            if let Ok(changed) = HostTensor::from_f32(values.shape().to_vec(), &elements, dtype) {
                *values = changed;
            }
        }
    }

    /// How many rows see each stored key, `[B, G, Tk]`: those of all entries where they share it.
    pub(super) fn seen_by_all(&self, mut seen: Vec<usize>) -> Vec<usize> {
        if self.shared_prefix == 0 || self.pages.is_some() {
            return seen;
        }
        let of_entry = self.kv_heads * self.kv_len;
        for at in (0..of_entry).filter(|at| at % self.kv_len < self.shared_prefix) {
            let all = (0..self.batch).map(|batch| seen[batch * of_entry + at]).sum();
            for batch in 0..self.batch {
                seen[batch * of_entry + at] = all;
            }
        }
        seen
    }
}
