//! The builder of plans of all operators: tensors, scratch, passes.

use std::sync::Arc;

use foveal_shaders::Request;

use crate::{
    AdapterProfile, BoundTo, Error, Name, ParamValue, Pass, PassBinding, Scratch, TensorSpec,
    plan::partition::{ByteRange, u32_of},
    plan::turns,
};

/// Fields of uniforms, by name.
pub(crate) type Params = Vec<(Name, ParamValue)>;

/// A plan in the making.
#[derive(Clone, Debug)]
pub(crate) struct PlanBuilder {
    /// The operator's name; labels begin with `foveal.OPERATOR`.
    operator: &'static str,
    pub(crate) adapter: Arc<AdapterProfile>,
    pub(crate) tensors: Vec<TensorSpec>,
    pub(crate) scratch: Vec<Scratch>,
    pub(crate) passes: Vec<Pass>,
    /// Beside the candidate's tiles: what is worth showing.
    pub(crate) notes: Vec<(String, String)>,
    /// Whether the candidate's own kernel is dispatched.
    pub(crate) runs_kernel: bool,
}

impl PlanBuilder {
    /// An empty plan.
    ///
    /// # Errors
    /// If a tensor exceeds the adapter's buffers.
    pub(crate) fn new(
        operator: &'static str,
        adapter: &AdapterProfile,
        tensors: Vec<TensorSpec>,
    ) -> Result<Self, Error> {
        let allowed = adapter.limits.max_buffer_size;
        if let Some(large) = tensors.iter().find(|tensor_spec| tensor_spec.size_bytes() > allowed) {
            let needed = large.size_bytes();
            let message = format!("tensor {} needs {needed} bytes, the adapter allows {allowed}", large.name);
            return Err(Error::limit("max_buffer_size", message));
        }
        let (scratch, passes, notes) = Default::default();
        let adapter = Arc::new(adapter.clone());
        Ok(Self { operator, adapter, tensors, scratch, passes, notes, runs_kernel: true })
    }

    pub(crate) fn tensor_index(&self, name: &str) -> Result<usize, Error> {
        let found = self.tensors.iter().position(|tensor_spec| tensor_spec.name == name);
        found.ok_or_else(|| Error::internal("plan", format!("there is no tensor `{name}`")))
    }

    /// A tensor, whole, as the shader's variable `variable`.
    pub(crate) fn tensor(&self, variable: impl Into<Name>, name: &str) -> Result<PassBinding, Error> {
        let size_bytes = self.tensors[self.tensor_index(name)?].size_bytes();
        self.tensor_range(variable, name, ByteRange { offset_bytes: 0, size_bytes, base: 0 })
    }

    /// A part of a tensor.
    pub(crate) fn tensor_range(
        &self,
        variable: impl Into<Name>,
        name: &str,
        range: ByteRange,
    ) -> Result<PassBinding, Error> {
        let ByteRange { offset_bytes, size_bytes, .. } = range;
        let what = || format!("tensor {name} needs a binding of {size_bytes} bytes");
        self.check_binding(size_bytes, what)?;
        let source = BoundTo::Tensor(self.tensor_index(name)?);
        Ok(PassBinding { name: variable.into(), source, offset_bytes, size_bytes })
    }

    /// A scratch buffer of that size; one of that name that is there already is taken, grown if need be.
    pub(crate) fn add_scratch(&mut self, name: &'static str, bytes: u64) -> Result<usize, Error> {
        self.check_binding(bytes, || format!("{name} needs {bytes} bytes"))?;
        if let Some(at) = self.scratch.iter().position(|scratch| scratch.name == name) {
            self.scratch[at].bytes = self.scratch[at].bytes.max(bytes);
            return Ok(at);
        }
        self.scratch.push(Scratch { name, bytes, contents: None });
        Ok(self.scratch.len() - 1)
    }

    /// A scratch buffer that no pass binds whole: it may be larger than a binding.
    pub(crate) fn add_scratch_in_parts(&mut self, name: &'static str, bytes: u64) -> Result<usize, Error> {
        let allowed = self.adapter.limits.max_buffer_size;
        if bytes > allowed {
            let message = format!("{name} needs {bytes} bytes, the adapter allows {allowed}");
            return Err(Error::limit("max_buffer_size", message));
        }
        self.scratch.push(Scratch { name, bytes, contents: None });
        Ok(self.scratch.len() - 1)
    }

    /// A buffer that holds these words, for passes to read.
    pub(crate) fn add_contents(&mut self, name: &'static str, words: Arc<[u32]>) -> Result<usize, Error> {
        let at = self.add_scratch(name, 4 * words.len() as u64)?;
        self.scratch[at].contents = Some(words);
        Ok(at)
    }

    /// A scratch buffer, whole.
    pub(crate) fn scratch(&self, variable: impl Into<Name>, at: usize) -> PassBinding {
        let size_bytes = self.scratch[at].bytes;
        PassBinding { name: variable.into(), source: BoundTo::Scratch(at), offset_bytes: 0, size_bytes }
    }

    fn check_binding(&self, bytes: u64, what: impl FnOnce() -> String) -> Result<(), Error> {
        let max = self.adapter.limits.max_storage_buffer_binding_size;
        if bytes <= max {
            return Ok(());
        }
        let message = format!("{}, the adapter allows {max}", what());
        Err(Error::limit("max_storage_buffer_binding_size", message))
    }

    /// The most workgroups along an axis.
    ///
    /// # Errors
    /// If `needed` are more.
    pub(crate) fn max_workgroups(&self, needed: usize) -> Result<usize, Error> {
        let max = self.adapter.limits.max_compute_workgroups_per_dimension as usize;
        if needed > max {
            let message = format!("{needed} workgroups are needed in a row, the adapter allows {max}");
            return Err(Error::limit("max_compute_workgroups_per_dimension", message));
        }
        Ok(max)
    }

    /// Adds a dispatch of so many workgroups, labelled `foveal.OPERATOR.name`.
    ///
    /// # Errors
    /// If it binds more than the adapter lets a stage have.
    pub(crate) fn push(
        &mut self,
        name: &str,
        request: &Arc<Request>,
        bindings: Vec<PassBinding>,
        params: Params,
        workgroups: [usize; 3],
        loop_turns: u64,
    ) -> Result<&mut Pass, Error> {
        let (count, max) = (bindings.len(), self.adapter.limits.max_storage_buffers_per_shader_stage);
        if count > max as usize {
            let message = format!("{name} binds {count}, the adapter allows {max}");
            return Err(Error::limit("max_storage_buffers_per_shader_stage", message));
        }
        let [x, y, z] = workgroups;
        self.passes.push(Pass {
            label: format!("foveal.{}.{name}", self.operator),
            request: Arc::clone(request),
            bindings,
            params,
            indirect: None,
            loop_turns,
            zigzag: false,
            workgroups: [u32_of("x", x)?, u32_of("y", y)?, u32_of("z", z)?],
        });
        let last = self.passes.len() - 1;
        Ok(&mut self.passes[last])
    }

    /// The plan, if no pass takes more turns of loops than the adapter's may.
    pub(crate) fn check_turns(self) -> Result<Self, Error> {
        turns::check(&self.passes, &self.adapter).map(|()| self)
    }
}

/// Fields of type u32.
pub(crate) fn u32_params(fields: impl IntoIterator<Item = (&'static str, usize)>) -> Result<Params, Error> {
    let field = |(name, x): (&'static str, usize)| Ok((name.into(), ParamValue::U32(u32_of(name, x)?)));
    fields.into_iter().map(field).collect()
}

/// Sets fields that are there already.
pub(crate) fn set(params: &mut [(Name, ParamValue)], name: &str, value: usize) -> Result<(), Error> {
    let value = ParamValue::U32(u32_of(name, value)?);
    match params.iter_mut().find(|(given, _)| given == name) {
        Some((_, place)) => *place = value,
        None => return Err(Error::internal("plan", format!("there is no parameter `{name}`"))),
    }
    Ok(())
}
