//! Lengths and lists that lie on the device: their tensors, and what these may hold.

use super::{Attention, device_block_mask::Values};
use crate::{Access, Dtype, Error, HostTensor, TensorSpec, spec::tensor_named};

/// Blocks are whole tiles of every variant.
const BLOCK: usize = 64;

impl Attention {
    pub(super) fn validate_listed(&self) -> Result<(), Error> {
        let Some(listed) = self.device_blocks() else { return Ok(()) };
        let wrong = |message: String| Err(Error::invalid("block_mask", message));
        for (name, block) in [("q_block", listed.q_block), ("kv_block", listed.kv_block)] {
            if block == 0 || !block.is_multiple_of(BLOCK) {
                return wrong(format!(
                    "expected `{name}` of lists on the device to be a multiple of {BLOCK}, got {block}"
                ));
            }
        }
        for (name, count, all) in [("batch", listed.batch, self.batch), ("heads", listed.heads, self.q_heads)]
        {
            if count != 1 && count != all {
                return wrong(format!("expected lists for 1 or {all} {name}, got {count}"));
            }
        }
        if listed.max_blocks == 0 {
            return wrong("expected room for one index a list at least, got 0".to_owned());
        }
        // Indices are counted with 32 bits on the device.
        let lists = [listed.heads, self.q_len.div_ceil(listed.q_block), listed.max_blocks]
            .iter()
            .try_fold(listed.batch, |n, &size| n.checked_mul(size));
        if lists.is_none_or(|entries| i32::try_from(entries).is_err()) {
            return wrong(format!(
                "expected room for at most {} indices, got `most` = {} for each of {} x {} x {} lists",
                i32::MAX,
                listed.max_blocks,
                listed.batch,
                listed.heads,
                self.q_len.div_ceil(listed.q_block)
            ));
        }
        Ok(())
    }

    /// The tensors that only the device reads: lengths, borders of sequences, pages, scales, positions, lists.
    pub(super) fn device_tensors(&self) -> Vec<TensorSpec> {
        let tensor_spec =
            |name: &str, shape| TensorSpec::dense(name.to_owned(), Access::Read, Dtype::I32, shape, None);
        let lengths =
            self.q_lengths.iter().chain(&self.kv_lengths).map(|name| tensor_spec(name, vec![self.batch]));
        let borders = self.cu_seqlens_q.iter().chain(&self.cu_seqlens_k);
        let borders = borders.map(|name| tensor_spec(name, vec![self.batch + 1]));
        let pages = self
            .pages
            .iter()
            .map(|pages| tensor_spec(&pages.block_table, vec![self.batch, self.kv_len / pages.page.max(1)]));
        let scales = self.quantised.iter().flat_map(|quantised| {
            let shape = vec![self.batch, self.kv_heads, self.scales_of_head()];
            [&quantised.k_scale, &quantised.v_scale]
                .map(|name| TensorSpec::dense(name.clone(), Access::Read, Dtype::F32, shape.clone(), None))
        });
        let q_scales = self.q_scale().into_iter().map(|name| {
            let shape = vec![self.batch, self.q_heads, self.q_scales_of_head()];
            TensorSpec::dense(name.clone(), Access::Read, Dtype::F32, shape, None)
        });
        let lists = self.device_blocks().into_iter().flat_map(|listed| {
            let lists = vec![listed.batch, listed.heads, self.q_len.div_ceil(listed.q_block.max(1))];
            let indices = lists.iter().copied().chain([listed.max_blocks]).collect();
            [tensor_spec(&listed.num_blocks, lists), tensor_spec(&listed.indices, indices)]
        });
        let of_rows = scales.chain(q_scales).chain(self.position_tensors());
        lengths.chain(borders).chain(pages).chain(of_rows).chain(lists).collect()
    }

    /// The lengths of batch entries, where a tensor says them.
    pub(super) fn lengths(
        &self,
        inputs: &[(&str, &HostTensor)],
        name: Option<&String>,
        max: usize,
    ) -> Result<Option<Vec<usize>>, Error> {
        let Some(name) = name else { return Ok(None) };
        let tensor = tensor_named(inputs, name)?;
        if tensor.shape() != [self.batch] {
            let message = format!(
                "expected one length for each of {} batch entries, got {:?}",
                self.batch,
                tensor.shape()
            );
            return Err(Error::invalid(name.as_str(), message));
        }
        let whole = |(at, value): (usize, f64)| {
            let length = integer(value).and_then(|value| usize::try_from(value).ok()).filter(|&n| n <= max);
            length.ok_or_else(|| {
                Error::invalid(name.as_str(), format!("element {at} is {value}, expected 0 to {max}"))
            })
        };
        tensor.to_f64().into_iter().enumerate().map(whole).collect::<Result<_, _>>().map(Some)
    }

    /// Contents of the lists.
    pub(super) fn listed_values(&self, inputs: &[(&str, &HostTensor)]) -> Result<Option<Values>, Error> {
        let Some(listed) = self.device_blocks() else { return Ok(None) };
        let q_blocks = self.q_len.div_ceil(listed.q_block);
        let (counts, indices) =
            (tensor_named(inputs, &listed.num_blocks)?, tensor_named(inputs, &listed.indices)?);
        let lists = listed.batch * listed.heads * q_blocks;
        for (name, tensor, expected) in
            [(&listed.num_blocks, counts, lists), (&listed.indices, indices, lists * listed.max_blocks)]
        {
            if tensor.len() != expected {
                let message = format!("expected {expected} elements, got {:?}", tensor.shape());
                return Err(Error::invalid(name.as_str(), message));
            }
        }
        let (counts, indices) = (counts.to_f64(), indices.to_f64());
        let blocks = i64::try_from(self.kv_len.div_ceil(listed.kv_block)).unwrap_or(i64::MAX);
        let mut rows = Vec::with_capacity(lists);
        for (at, row) in indices.chunks(listed.max_blocks).enumerate() {
            let count = integer(counts[at]).and_then(|count| usize::try_from(count).ok());
            let count = count.filter(|&count| count <= listed.max_blocks).ok_or_else(|| {
                let message = format!("element {at} is {}, expected 0 to {}", counts[at], listed.max_blocks);
                Error::invalid(listed.num_blocks.as_str(), message)
            })?;
            let mut list: Vec<i64> = Vec::with_capacity(count);
            for (entry, &value) in row[..count].iter().enumerate() {
                let index =
                    integer(value).filter(|index| (0..blocks).contains(index) && !list.contains(index));
                list.push(index.ok_or_else(|| {
                    let at = at * listed.max_blocks + entry;
                    let message = format!("element {at} is {value}, expected 0 to {}, each once", blocks - 1);
                    Error::invalid(listed.indices.as_str(), message)
                })?);
            }
            rows.push(list);
        }
        Ok(Some(Values { q_blocks, rows }))
    }
}

/// The integer that a float is.
pub(super) fn integer(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64)
}
