//! The passes of a kernel, and the sources of their bindings.

use std::sync::Arc;

use crate::prepare::pipeline::Pipeline;

/// One dispatch.
#[derive(Debug)]
pub(crate) struct KernelPass {
    pub(crate) pipeline: Arc<Pipeline>,
    /// Slots, in the order of the shader's bindings.
    pub(crate) slots: Vec<Slot>,
    pub(crate) workgroups: [u32; 3],
    /// The scratch buffer in which the workgroups are counted.
    pub(crate) indirect: Option<usize>,
}

/// The resource behind a shader's binding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) source: SlotSource,
    pub(crate) read_only: bool,
    pub(crate) offset_bytes: u64,
    pub(crate) size_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotSource {
    Uniforms,
    TensorSpec(usize),
    Scratch(usize),
    Empty,
    /// Which part of the pass a dispatch is: bound when that is known.
    Grid,
}
