//! A plan as data: all that it takes to run it through any WebGPU implementation.

use std::sync::Arc;

use anyhow::Result;
use foveal_kernels::{BoundTo, ParamValue, Pass, Plan};
use foveal_shaders::{BindingKind, Library, Request, Specialised, UniformLayout};
use serde_json::{Map, Value, json};

/// The distinct shaders of a plan, in order of first use.
pub(crate) type Kernels<'p> = [(&'p Arc<Request>, Specialised)];

/// Specialises them.
pub(crate) fn kernels(plan: &Plan) -> Result<Vec<(&Arc<Request>, Specialised)>> {
    let requests = plan.requests().into_iter();
    requests.map(|request| Ok((request, Library::builtin().specialise(request)?))).collect()
}

/// Their texts.
pub(crate) fn texts(kernels: &Kernels<'_>) -> Vec<Value> {
    let text = |(request, kernel): &(&Arc<Request>, Specialised)| {
        json!({
            "module": request.module,
            "entry": kernel.interface.entry,
            "workgroup_size": kernel.interface.workgroup_size,
            "text": kernel.text,
        })
    };
    kernels.iter().map(text).collect()
}

/// The scratch buffers, and with `contents` the words that they are filled with beforehand.
pub(crate) fn scratch(plan: &Plan, contents: bool) -> Vec<Value> {
    let buffer = |scratch: &foveal_kernels::Scratch| {
        let words = scratch.contents.as_ref().filter(|_| contents);
        json!({ "name": scratch.name, "bytes": scratch.bytes, "words": words.map(|words| words.to_vec()) })
    };
    plan.scratch.iter().map(buffer).collect()
}

/// The dispatches. With `kernels` they say which of them each runs, where its bindings are, and the words of its uniforms.
pub(crate) fn passes(plan: &Plan, kernels: &Kernels<'_>) -> Vec<Value> {
    let pass = |pass: &Pass| {
        let tunables: Map<String, Value> = pass
            .request
            .tunables
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string().into()))
            .collect();
        let kernel = kernels.iter().position(|(request, _)| ***request == *pass.request);
        json!({
            "label": pass.label,
            "module": pass.request.module,
            "tunables": tunables,
            "bindings": bindings(plan, pass, kernel.map(|index| &kernels[index].1)),
            "uniforms": kernel.map(|index| uniforms(pass, &kernels[index].1)),
            "wgsl": kernel,
            "workgroups": pass.workgroups,
            "indirect": pass.indirect.map(|scratch| json!({ "scratch": scratch })),
        })
    };
    plan.passes.iter().map(pass).collect()
}

fn bindings(plan: &Plan, pass: &Pass, kernel: Option<&Specialised>) -> Vec<Value> {
    let binding = |binding: &foveal_kernels::PassBinding| {
        let source = match binding.source {
            BoundTo::Tensor(index) => {
                json!({ "tensor": plan.tensors.get(index).map(|tensor_spec| &tensor_spec.name) })
            }
            BoundTo::Scratch(index) => json!({ "scratch": index }),
        };
        let place = kernel
            .and_then(|kernel| kernel.interface.bindings.iter().find(|place| place.name == binding.name))
            .map(|place| [place.group, place.index]);
        json!({
            "name": binding.name, "at": place, "source": source,
            "offset_bytes": binding.offset_bytes, "size_bytes": binding.size_bytes,
        })
    };
    pass.bindings.iter().map(binding).collect()
}

/// Words of the uniform buffers. Words that are no parameter of the plan say where a dispatch begins, and are zero for
/// a whole pass.
fn uniforms(pass: &Pass, kernel: &Specialised) -> Vec<Value> {
    let words = |layout: &UniformLayout| {
        let mut words = vec![0u32; layout.size_bytes as usize / 4];
        for field in &layout.fields {
            let value = pass.params.iter().find(|(name, _)| *name == field.name).map(|(_, value)| *value);
            if let (Some(value), Some(word)) = (value, words.get_mut(field.offset_bytes as usize / 4)) {
                *word = u32::from_le_bytes(ParamValue::to_bytes(value));
            }
        }
        words
    };
    let uniforms = kernel.interface.bindings.iter().filter_map(|binding| match &binding.kind {
        BindingKind::Uniform(layout) => Some(
            json!({ "name": binding.name, "at": [binding.group, binding.index], "words": words(layout) }),
        ),
        BindingKind::Storage { .. } => None,
    });
    uniforms.collect()
}
