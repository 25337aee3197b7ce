//! Lists of blocks that lie on the device.

use super::{Attention, reference::given};
use crate::{Access, Dtype, Error, HostTensor, TensorSpec, attention::plan::mask_program::MaskProgram};

/// Which blocks of keys each block of queries visits, as tensors that an earlier pass may have written: counts
/// `[B or 1, H or 1, blocks of queries]` and indices `[B or 1, H or 1, blocks of queries, max_blocks]`, both i32. Of each list the
/// first `count` indices are read, and each should be there once; a block that does not exist shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceBlockMask {
    /// Queries of a block: a multiple of 64.
    pub q_block: usize,
    /// Keys of a block: a multiple of 64.
    pub kv_block: usize,
    /// Room for so many indices in each list.
    pub max_blocks: usize,
    /// Batch entries that have lists of their own: all, or one for all.
    pub batch: usize,
    /// Heads that have lists of their own: all, or one for all.
    pub heads: usize,
    /// The name of the tensor of counts, FlexAttention's `kv_num_blocks`.
    pub num_blocks: String,
    /// The name of the tensor of indices, FlexAttention's `kv_indices`.
    pub indices: String,
}

/// Blocks are whole tiles of every variant.
const BLOCK: usize = 64;

impl DeviceBlockMask {
    /// Lists of up to `max_blocks` blocks, the same for all batch entries and heads, in tensors named `counts` and `indices`.
    #[must_use]
    pub fn new(q_block: usize, kv_block: usize, max_blocks: usize) -> Self {
        let (num_blocks, indices) = ("counts".to_owned(), "indices".to_owned());
        Self { q_block, kv_block, max_blocks, batch: 1, heads: 1, num_blocks, indices }
    }

    /// With lists of their own for so many batch entries and heads.
    #[must_use]
    pub fn per(mut self, batch: usize, heads: usize) -> Self {
        (self.batch, self.heads) = (batch, heads);
        self
    }

    /// Whether a block of keys is listed for a block of queries.
    pub(super) fn shows(&self, lists: &Values, place: [usize; 4]) -> bool {
        let [batch, head, query, key] = place;
        let per = |count: usize, at: usize| if count > 1 { at } else { 0 };
        let row = (per(self.batch, batch) * self.heads + per(self.heads, head)) * lists.q_blocks
            + query / self.q_block;
        let block = i64::try_from(key / self.kv_block).unwrap_or(i64::MAX);
        lists.rows.get(row).is_some_and(|row| row.contains(&block))
    }
}

/// What the tensors hold.
#[derive(Debug)]
pub(super) struct Values {
    q_blocks: usize,
    rows: Vec<Vec<i64>>,
}

impl Attention {
    pub(super) fn validate_listed(&self) -> Result<(), Error> {
        let Some(listed) = &self.listed else { return Ok(()) };
        let wrong = |message: String| Err(Error::invalid("block_mask", message));
        if self.blocks.is_some() {
            return wrong("lists of the plan's and lists on the device exclude each other".to_owned());
        }
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

    /// The tensors of i32 that only the device reads: lengths and lists.
    pub(super) fn device_tensors(&self) -> Vec<TensorSpec> {
        let tensor_spec =
            |name: &str, shape| TensorSpec::dense(name.to_owned(), Access::Read, Dtype::I32, shape, None);
        let lengths =
            self.q_lengths.iter().chain(&self.kv_lengths).map(|name| tensor_spec(name, vec![self.batch]));
        let lists = self.listed.iter().flat_map(|listed| {
            let lists = vec![listed.batch, listed.heads, self.q_len.div_ceil(listed.q_block.max(1))];
            let indices = lists.iter().copied().chain([listed.max_blocks]).collect();
            [tensor_spec(&listed.num_blocks, lists), tensor_spec(&listed.indices, indices)]
        });
        lengths.chain(lists).collect()
    }

    /// The lengths of batch entries, where a tensor says them.
    pub(super) fn lengths(
        &self,
        inputs: &[(&str, &HostTensor)],
        name: Option<&String>,
        max: usize,
    ) -> Result<Option<Vec<usize>>, Error> {
        let Some(name) = name else { return Ok(None) };
        let tensor = given(inputs, name)?;
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

    /// What the lists hold.
    pub(super) fn listed_values(&self, inputs: &[(&str, &HostTensor)]) -> Result<Option<Values>, Error> {
        let Some(listed) = &self.listed else { return Ok(None) };
        let q_blocks = self.q_len.div_ceil(listed.q_block);
        let (counts, indices) = (given(inputs, &listed.num_blocks)?, given(inputs, &listed.indices)?);
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

    /// Whether tables are read where lengths of batch entries say.
    fn reads_at_lengths(&self) -> bool {
        let visibility = MaskProgram::new(self).ok();
        let programs = visibility.iter().flat_map(|found| found.mask.iter().chain(&found.score));
        programs.into_iter().any(|program| program.reads_at_lengths(self.own_lengths()))
    }

    /// Random lists and lengths: none of anything, all of it, and what is in between.
    pub(super) fn random_device_input(&self, name: &str, random: &mut fastrand::Rng) -> Option<Vec<f32>> {
        #[expect(clippy::cast_precision_loss, reason = "lengths and blocks are far below 2^24")]
        let float = |x: usize| x as f32;
        let lengths = [(&self.q_lengths, self.q_len), (&self.kv_lengths, self.kv_len)];
        let max =
            lengths.iter().filter(|(given, _)| given.as_deref() == Some(name)).map(|&(_, max)| max).min();
        if let Some(max) = max {
            // Where tables are read at `qp`, queries come before no key.
            let of_keys = self.q_lengths.as_deref() != Some(name);
            let min = if of_keys && self.reads_at_lengths() { max.min(self.q_len) } else { 0 };
            let length = |random: &mut fastrand::Rng| match random.u8(..5) {
                0 => max,
                1 => random.usize(min..=max.min(min + 3)),
                _ => random.usize(min..=max),
            };
            return Some((0..self.batch).map(|_| float(length(random))).collect());
        }
        let listed = self.listed.as_ref()?;
        let lists = listed.batch * listed.heads * self.q_len.div_ceil(listed.q_block);
        let blocks = self.kv_len.div_ceil(listed.kv_block);
        // Counts and indices are drawn apart, so a list is a choice whose beginning is one too.
        if name == listed.num_blocks {
            return Some((0..lists).map(|_| float(random.usize(..=listed.max_blocks.min(blocks)))).collect());
        }
        (name == listed.indices).then(|| {
            let list = |_| {
                let mut all: Vec<usize> = (0..blocks).collect();
                random.shuffle(&mut all);
                all.resize(listed.max_blocks, blocks);
                all
            };
            (0..lists).flat_map(list).map(float).collect()
        })
    }
}

/// The integer that a float is.
fn integer(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64)
}
