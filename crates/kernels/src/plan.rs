//! Plans: everything the engine needs to run a problem, as plain data.

use std::{borrow::Cow, sync::Arc, time::Duration};

use foveal_shaders::Request;

use crate::{Constraints, Dtype, Problem};

/// How a problem will run on an adapter: which variant, specialised how, dispatched over what, and why.
///
/// A plan holds no GPU object. `Display` explains it; [`Plan::problem`] leads back to what is computed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is computed.
    pub problem: Arc<dyn Problem>,
    /// What was asked for beyond the problem.
    pub constraints: Constraints,
    /// The operator's name.
    pub operator: &'static str,
    /// The variant that was chosen.
    pub variant: String,
    /// Why it was chosen, in a sentence.
    pub reason: String,
    /// Tile sizes and other choices worth showing, in order.
    pub tiles: Vec<(String, String)>,
    /// The tensors that the caller binds by name.
    pub tensors: Vec<TensorSpec>,
    /// Buffers that the engine allocates for the passes' own use.
    pub scratch: Vec<Scratch>,
    /// Dispatches, in order. A later pass sees what an earlier one wrote.
    pub passes: Vec<Pass>,
    /// Threads of a workgroup and bytes of workgroup memory of the hungriest pass.
    pub threads: u32,
    /// Bytes of workgroup memory of the hungriest pass.
    pub workgroup_bytes: u32,
    /// What the variant is estimated to cost.
    pub cost: Cost,
    /// The other variants, each with the reason it was not taken.
    pub rejected_variants: Vec<RejectedVariant>,
}

/// The name of a tensor: an operator's own, or one that the caller gave it.
pub type Name = Cow<'static, str>;

/// A tensor that the caller binds.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// The name by which it is bound.
    pub name: Name,
    /// Whether the plan reads or writes it.
    pub access: Access,
    /// Storage type.
    pub dtype: Dtype,
    /// Sizes in the order of storage, outermost first.
    pub shape: Vec<usize>,
    /// Elements from the first that is touched to the last, inclusive: the least a bound buffer must hold.
    pub span: usize,
    /// The axis of `shape` that counts heads, where there is one: errors are also reported per head.
    pub head_axis: Option<usize>,
}

impl TensorSpec {
    /// A tensor without gaps.
    pub(crate) fn dense(
        name: impl Into<Name>,
        access: Access,
        dtype: Dtype,
        shape: Vec<usize>,
        head_axis: Option<usize>,
    ) -> Self {
        // Sizes that cannot be counted are refused elsewhere.
        let span = shape.iter().fold(1, |n: usize, &size| n.saturating_mul(size));
        Self { name: name.into(), access, dtype, shape, span, head_axis }
    }

    /// Bytes of the least buffer that can be bound, padded to whole `u32`s.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        // Where addresses have 32 bits, a tensor that can be described may have more bytes than those count.
        (self.span as u64 * self.dtype.size_bytes() as u64).next_multiple_of(4)
    }
}

/// Whether a tensor is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Written whole; what it held before does not matter.
    Write,
}

/// A buffer of the engine's, for the passes' own use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// What it holds.
    pub name: &'static str,
    /// Its size; a multiple of four.
    pub bytes: u64,
    /// What it is filled with when the plan is prepared, from its start on. Passes may not write to such a buffer, as
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
    /// What each storage binding of the shader is bound to, by the variable's name in WGSL.
    pub bindings: Vec<PassBinding>,
    /// Fields of the shader's uniform variables, by name; a name means one field among all of them.
    pub params: Vec<(Name, ParamValue)>,
    /// The scratch buffer that holds the workgroups in each dimension, at its beginning and no more than `workgroups`: what an
    /// earlier pass found that there is to do.
    pub indirect: Option<usize>,
    /// Workgroups in each dimension.
    pub workgroups: [u32; 3],
    /// Turns that an invocation's loops take together at most, where a loop that makes n turns takes n + 1 of them every time it
    /// is entered: see [`AdapterProfile::loop_turns`](crate::AdapterProfile::loop_turns).
    pub loop_turns: u64,
    /// Whether workgroups along x take long and short in turn, so that only an even number of them is a fair share.
    pub zigzag: bool,
}

/// What a storage binding is bound to: a byte range of a caller's tensor or of scratch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassBinding {
    /// The variable's name in WGSL.
    pub name: Name,
    /// The buffer.
    pub source: Source,
    /// Where the range begins, within the tensor or scratch; a multiple of the adapter's storage offset alignment.
    pub offset_bytes: u64,
    /// Its length; a multiple of four.
    pub size_bytes: u64,
}

/// The buffer behind a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// [`Plan::tensors`] at this index.
    Tensor(usize),
    /// [`Plan::scratch`] at this index.
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

/// What the cost model says of a variant. Operations are f32 operations of one lane, over the whole problem.
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

impl Plan {
    /// The port of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorSpec> {
        self.tensors.iter().find(|tensor_spec| tensor_spec.name == name)
    }

    /// Bytes of GPU memory beyond the caller's tensors, uniforms aside.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch.iter().map(|scratch| scratch.bytes).sum()
    }

    /// The distinct shader requests of the passes, in order of first use.
    #[must_use]
    pub fn requests(&self) -> Vec<&Arc<Request>> {
        let mut distinct: Vec<&Arc<Request>> = Vec::new();
        for pass in &self.passes {
            if !distinct.iter().any(|request| **request == pass.request) {
                distinct.push(&pass.request);
            }
        }
        distinct
    }
}
