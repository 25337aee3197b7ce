//! Lists from tensors of integers, as files hold them.

use crate::{
    Error, HostTensor, TensorData,
    block_mask::{BlockGrid, BlockMask, Listed, Padded},
};

impl BlockMask {
    /// [`BlockMask::from_rows`] of tensors of integers; their shapes do not matter, only how many elements they have.
    ///
    /// # Errors
    /// As there, and if a tensor does not hold integers or one is negative or beyond u32.
    pub fn from_tensors(
        grid: BlockGrid,
        row_ptr: &HostTensor,
        partial: Option<&HostTensor>,
        index: &HostTensor,
        listed: Listed,
    ) -> Result<Self, Error> {
        let partial = partial.map(|partial| naturals("partial", partial)).transpose()?;
        let (row_ptr, index) = (naturals("row_ptr", row_ptr)?, naturals("index", index)?);
        Self::from_rows(grid, &row_ptr, partial.as_deref(), &index, listed)
    }
}

impl Padded {
    /// The lists of tensors of integers: `counts` `[.., q_blocks]`, `indices` `[.., q_blocks, width]`, and those of the full
    /// blocks if there are any.
    ///
    /// # Errors
    /// If a tensor does not hold integers or one is negative or beyond u32.
    pub fn from_tensors(
        counts: &HostTensor,
        indices: &HostTensor,
        full: Option<(&HostTensor, &HostTensor)>,
    ) -> Result<Self, Error> {
        let (full_counts, full_indices) = match full {
            Some((counts, indices)) => {
                (naturals("full_kv_num_blocks", counts)?, naturals("full_kv_indices", indices)?)
            }
            None => (Vec::new(), Vec::new()),
        };
        let (counts, indices) = (naturals("kv_num_blocks", counts)?, naturals("kv_indices", indices)?);
        Ok(Self { counts, indices, full_counts, full_indices })
    }
}

/// The elements as u32. An error names the tensor and the position.
fn naturals(name: &str, tensor: &HostTensor) -> Result<Vec<u32>, Error> {
    fn all<T: Copy + TryInto<u32> + std::fmt::Display>(name: &str, values: &[T]) -> Result<Vec<u32>, Error> {
        let one = |(at, &value): (usize, &T)| {
            value.try_into().map_err(|_| {
                Error::invalid(name, format!("at {at}: expected 0 to {}, got {value}", u32::MAX))
            })
        };
        values.iter().enumerate().map(one).collect()
    }
    match tensor.data() {
        TensorData::I32(values) => all(name, values),
        TensorData::I64(values) => all(name, values),
        TensorData::U8(values) => all(name, values),
        TensorData::I8(values) => all(name, values),
        _ => Err(Error::invalid(name, "expected integers (i32, i64, u8 or i8), got floating-point values")),
    }
}
