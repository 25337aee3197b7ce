//! Keys that all batch entries share.

use super::{Attention, layout::Tensor};
use crate::{Error, HostTensor};

impl Attention {
    /// Checks that a shared prefix makes sense.
    pub(super) fn validate_shared(&self) -> Result<(), Error> {
        let keys = self.shared_prefix;
        let wrong = |message: String| Err(Error::invalid("shared_prefix", message));
        if keys == 0 {
            return Ok(());
        }
        let apart = [
            ("cu_seqlens_q", self.cu_seqlens_q.is_some()),
            ("cu_seqlens_k", self.cu_seqlens_k.is_some()),
            ("block_mask", self.is_block_sparse()),
            // An entry's keys are turned by positions of its own.
            ("k_pos", self.rotary.key_positions.is_some()),
            // A request's bits would depend on how many rows meet the prefix.
            ("a number of splits", self.splits.is_some()),
        ];
        if let Some((name, _)) = apart.into_iter().find(|(_, given)| *given) {
            return wrong(format!("cannot be combined with {name}"));
        }
        if keys > self.kv_len {
            return wrong(format!("expected at most the {} keys that there are, got {keys}", self.kv_len));
        }
        let page = self.pages.as_ref().map_or(1, |pages| pages.page);
        if !keys.is_multiple_of(page) {
            return wrong(format!("expected whole pages of {page} keys, got {keys}"));
        }
        Ok(())
    }

    /// Checks that what is at hand of pages, scales, keys and values is the same for all batch entries over the shared prefix.
    pub(super) fn check_shared(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        if self.shared_prefix == 0 || self.batch < 2 {
            return Ok(());
        }
        let at_hand = |name: &str| inputs.iter().find(|(given, _)| *given == name).map(|(_, tensor)| *tensor);
        let mut stretches: Vec<(&str, usize, usize, usize)> = Vec::new();
        if let Some(pages) = &self.pages {
            let (all, shared) = (self.kv_len / pages.page, self.shared_prefix / pages.page);
            stretches.push((&pages.block_table, all, all, shared));
        }
        if let Some(quantised) = &self.quantised {
            let (blocks, shared) = (self.scales_of_head(), self.shared_prefix.div_ceil(quantised.block));
            for name in [&quantised.k_scale, &quantised.v_scale] {
                stretches.push((name, self.kv_heads * blocks, blocks, shared.min(blocks)));
            }
        }
        for (name, of_entry, of_head, shared) in stretches {
            let Some(tensor) = at_hand(name).filter(|tensor| tensor.len() == self.batch * of_entry) else {
                continue;
            };
            let values = tensor.to_f64();
            let differs = |&at: &usize| {
                let inside = at % of_entry;
                // The bits of a scale that is NaN are an error by themselves.
                inside % of_head < shared && values[at] != values[inside]
            };
            if let Some(at) = (of_entry..values.len()).find(differs) {
                let first = values[at % of_entry];
                let message =
                    format!("element {at} is {}, expected {first} as of entry 0: {}", values[at], self.why());
                return Err(Error::invalid(name, message));
            }
        }
        if self.pages.is_some() {
            return Ok(());
        }
        for tensor in [Tensor::K, Tensor::V] {
            let Some(given) = at_hand(tensor.name()) else { continue };
            self.check_rows_shared(tensor, given)?;
        }
        Ok(())
    }

    fn why(&self) -> String {
        format!("{} keys are shared", self.shared_prefix)
    }

    /// Checks that rows of keys or values are those of entry 0.
    fn check_rows_shared(&self, tensor: Tensor, given: &HostTensor) -> Result<(), Error> {
        let (strides, [heads, _, width]) = (self.strides(tensor), self.sizes(tensor));
        let values = given.to_f64();
        if self.span(tensor).is_none_or(|span| values.len() < span) {
            return Ok(());
        }
        let row = |batch: usize, head: usize, key: usize| {
            let first = batch * strides.batch + head * strides.head + key * strides.position;
            &values[first..first + width]
        };
        for batch in 1..self.batch {
            for (head, key) in (0..heads).flat_map(|head| (0..self.shared_prefix).map(move |key| (head, key)))
            {
                let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
                if !row(batch, head, key).iter().zip(row(0, head, key)).all(same) {
                    let message = format!(
                        "key {key} of entry {batch} and head {head} differs from that of entry 0: {}",
                        self.why()
                    );
                    return Err(Error::invalid(tensor.name(), message));
                }
            }
        }
        Ok(())
    }
}
