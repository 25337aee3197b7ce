//! The parts of plans, as plain data: dispatches, what they bind, what they cost.

use std::{sync::Arc, time::Duration};

use foveal_shaders::Request;

use crate::Name;

/// A buffer of the engine's, for the passes' own use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// Its name, for people.
    pub name: &'static str,
    /// Its size; a multiple of four.
    pub bytes: u64,
    /// Initial contents, from its start on, written when the plan is prepared. Passes may not write to such a buffer, as
    /// later runs read it again.
    pub contents: Option<Arc<[u32]>>,
}

/// One dispatch.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Label of the pipeline and the pass: `foveal.attention.tiled`.
    pub label: String,
    /// Which shader, specialised how. Equal requests share a pipeline.
    pub request: Arc<Request>,
    /// A range for each storage binding of the shader, by the variable's name in WGSL.
    pub bindings: Vec<PassBinding>,
    /// Fields of the shader's uniform variables, by name; a name means one field among all of them.
    pub params: Vec<(Name, ParamValue)>,
    /// The scratch buffer that holds the workgroups in each dimension, at its beginning and no more than `workgroups`:
    /// the count that an earlier pass found.
    pub indirect: Option<usize>,
    /// Workgroups in each dimension.
    pub workgroups: [u32; 3],
    /// Turns that an invocation's loops take together at most, where a loop that makes n turns takes n + 1 of them every time it
    /// is entered: see [`AdapterProfile::loop_turns`](crate::AdapterProfile::loop_turns).
    pub loop_turns: u64,
    /// Whether workgroups along x take long and short in turn, so that only an even number of them is a fair share.
    pub zigzag: bool,
}

/// A storage binding: a byte range of a caller's tensor or of scratch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassBinding {
    /// The variable's name in WGSL.
    pub name: Name,
    /// The buffer.
    pub source: BoundTo,
    /// Where the range begins, within the tensor or scratch; a multiple of the adapter's storage offset alignment.
    pub offset_bytes: u64,
    /// Its length; a multiple of four.
    pub size_bytes: u64,
}

/// The buffer behind a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundTo {
    /// [`Plan::tensors`](crate::Plan::tensors) at this index.
    Tensor(usize),
    /// [`Plan::scratch`](crate::Plan::scratch) at this index.
    Scratch(usize),
}

/// The value of a uniform's field.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is its WGSL type")]
pub enum ParamValue {
    U32(u32),
    I32(i32),
    F32(f32),
}

impl ParamValue {
    /// The four bytes of the field, little endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        match self {
            Self::U32(x) => x.to_le_bytes(),
            Self::I32(x) => x.to_le_bytes(),
            Self::F32(x) => x.to_le_bytes(),
        }
    }
}

/// The cost of a variant, by the cost model. Operations are f32 operations of one lane, over the whole problem.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Fused multiply-adds, masked and padded elements included.
    pub fma: f64,
    /// Loads from storage buffers.
    pub storage_loads: f64,
    /// Loads from workgroup memory.
    pub workgroup_loads: f64,
    /// Subgroup broadcasts.
    pub broadcasts: f64,
    /// Exponentials.
    pub exp2: f64,
    /// Multiply-adds of matrix units.
    pub matrix: f64,
    /// The share of the adapter's lanes that the dispatch can occupy, 0 to 1.
    pub occupancy: f64,
    /// The estimate that variants are compared by.
    pub time: Duration,
}

/// A variant that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedVariant {
    /// The variant.
    pub variant: String,
    /// Why not, naming the limit or feature, or by how much it is estimated to be slower.
    pub reason: String,
}
