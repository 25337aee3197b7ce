//! Parts of tensors and of grids.

use crate::{Error, Limits};

/// A tensor's byte range within its buffer, and where element `[0, 0, 0, 0]` of the *whole* tensor lies relative to it
/// (modulo 2^32: a piece's own elements come out in range).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) offset_bytes: u64,
    pub(crate) size_bytes: u64,
    pub(crate) base: u32,
}

/// The range from element `first` to before element `end`.
pub(crate) fn byte_range(first: usize, end: usize, element_bytes: usize, limits: &Limits) -> ByteRange {
    let alignment = limits.min_storage_buffer_offset_alignment.max(16) as usize;
    let offset = first * element_bytes / alignment * alignment;
    let size = (end * element_bytes).next_multiple_of(4) - offset;
    // The device counts batch entries, heads and rows from the whole problem's first, and offsets modulo 2^32: what a
    // piece touches comes out in range.
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 on purpose")]
    let base = ((offset / element_bytes) as u32).wrapping_neg();
    ByteRange { offset_bytes: offset as u64, size_bytes: size as u64, base }
}

/// A range in runs of at most `most`.
pub(crate) fn ranges((from, to): (usize, usize), max: usize) -> impl Iterator<Item = (usize, usize)> {
    (from..to).step_by(max.max(1)).map(move |first| (first, (first + max).min(to)))
}

/// A number as the device holds it.
pub(crate) fn u32_of(name: &str, x: usize) -> Result<u32, Error> {
    u32::try_from(x)
        .map_err(|_| Error::limit("u32 range", format!("{name} is {x}, indices on the device have 32 bits")))
}
