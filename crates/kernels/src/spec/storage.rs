//! The shader modules that read and write the storage types.

use crate::Dtype;

/// The module of the family `inputs` or `output` that serves tensors of `dtype`; `aligned` if every row starts on a multiple
/// of four elements and is a multiple of four long.
pub(crate) fn storage_module(family: &str, dtype: Dtype, aligned: bool) -> String {
    let vectors = if aligned { "x4" } else { "" };
    format!("shared/{family}_{dtype}{vectors}")
}
