//! Calls that need no device: recipes, inputs, references.

use foveal_kernels::{
    Dtype, HostTensor, OptionMap, Problem, TensorData, TensorSpec, operator, operators, testing::Rows,
};
use js_sys::Array;
use serde_json::{Value, json};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::failure::Failure;
use crate::tensors::{TensorArgument, given, options, to_page, zeros};

/// Named uses of the operators, as JSON.
#[wasm_bindgen]
#[must_use]
pub fn recipes() -> String {
    let recipes = operators().iter().flat_map(|operator| {
        operator.recipes().iter().map(|recipe| {
            let options: Value = serde_json::from_str(recipe.options).unwrap_or_default();
            json!({
                "operator": operator.name(), "name": recipe.name, "source": recipe.source,
                "options": options, "shape": recipe.shape,
            })
        })
    });
    Value::from_iter(recipes).to_string()
}

/// Random inputs of a problem by its sizes.
///
/// # Errors
/// As an object with `kind`, `argument` and `message`.
#[wasm_bindgen]
pub fn inputs(operator_name: &str, shape: &str, options_text: &str, seed: u32) -> Result<Array, JsValue> {
    let inputs = || -> Result<Array, Failure> {
        let problem = operator(operator_name)?.problem_of_shape(shape, &options(options_text)?)?;
        check_memory(&*problem)?;
        let inputs = problem.random_inputs(seed.into());
        Ok(inputs.iter().map(|(name, tensor)| to_page(name, tensor)).collect())
    };
    Ok(inputs()?)
}

/// Computes a problem in f64, from its definition.
///
/// # Errors
/// As an object with `kind`, `argument` and `message`.
#[wasm_bindgen]
pub fn reference(operator_name: &str, options_text: &str, tensors: &Array) -> Result<Array, JsValue> {
    let reference = || -> Result<Array, Failure> {
        let tensors = whole(given(tensors)?)?;
        let problem = operator(operator_name)?.problem(&options(options_text)?, &tensors)?;
        let tensor_specs = problem.tensors();
        let read: Vec<(&str, &HostTensor)> = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .filter(|(name, _)| tensor_specs.iter().any(|tensor_spec| tensor_spec.name == *name))
            .collect();
        problem.check_inputs(&read)?;
        let expected = problem.reference(&read, Rows::All)?;
        expected
            .iter()
            .map(|output| {
                let whole = output.to_tensor()?;
                let tensor_spec = tensor_specs.iter().find(|tensor_spec| tensor_spec.name == output.name);
                let stored = stored(&whole, tensor_spec)?;
                Ok(to_page(&output.name, &stored))
            })
            .collect()
    };
    Ok(reference()?)
}

/// A module has 4 GiB at most, and an allocation that fails is its end: inputs are drawn only where they fit well.
pub(crate) fn check_memory(problem: &dyn Problem) -> Result<(), Failure> {
    const MAX_BYTES: u64 = 1 << 30;
    let bytes: u64 = problem.tensors().iter().map(TensorSpec::size_bytes).fold(0, u64::saturating_add);
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Failure::limit(
        "memory",
        format!("the problem's tensors have {bytes} bytes, at most {MAX_BYTES} fit here"),
    ))
}

/// The values as the port stores them.
fn stored(tensor: &HostTensor, tensor_spec: Option<&TensorSpec>) -> Result<HostTensor, Failure> {
    let dtype = tensor_spec.map_or(Dtype::F32, |tensor_spec| tensor_spec.dtype);
    Ok(HostTensor::from_bytes(tensor.shape().to_vec(), &tensor.checked_bytes("tensor", dtype)?, dtype)?)
}

/// The tensors of a call that reads their elements.
pub(crate) fn whole(tensors: Vec<(String, TensorArgument)>) -> Result<Vec<(String, HostTensor)>, Failure> {
    let whole = |(name, given)| match given {
        TensorArgument::Host(tensor) => Ok((name, tensor)),
        TensorArgument::Shape(..) | TensorArgument::Held(_) => {
            Err(Failure::usage(format!("tensor `{name}`"), "expected its elements in `data`"))
        }
    };
    tensors.into_iter().map(whole).collect()
}

/// The tensors of a call that describes a problem: zeros stand for elements that are not given.
pub(crate) fn described(
    tensors: Vec<(String, TensorArgument)>,
    held: impl Fn(u32, &str) -> Result<HostTensor, Failure>,
) -> Result<Vec<(String, HostTensor)>, Failure> {
    let described = |(name, given): (String, TensorArgument)| {
        let tensor = match given {
            TensorArgument::Host(tensor) => tensor,
            TensorArgument::Held(number) => held(number, &name)?,
            TensorArgument::Shape(shape, dtype) => zeros(&shape, dtype)?,
        };
        Ok((name, tensor))
    };
    tensors.into_iter().map(described).collect()
}

/// Whether a tensor's elements, and not only its sizes, tell what the problem is: lists, lengths, indices.
pub(crate) fn describes(tensor: &HostTensor) -> bool {
    matches!(tensor.data(), TensorData::I32(_) | TensorData::U8(_))
}

/// A tensor that nothing reads is a name mistyped or an option forgotten, and would give another result than was meant.
pub(crate) fn check_read(
    tensor_specs: &[TensorSpec],
    options: &OptionMap,
    tensors: &[(String, HostTensor)],
) -> Result<(), Failure> {
    let read = |name: &str| {
        tensor_specs.iter().any(|tensor_spec| tensor_spec.name == *name)
            || options.any_text(&|text| text == name)
    };
    match tensors.iter().find(|(name, _)| !read(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let inputs = tensor_specs.iter().filter(|tensor_spec| tensor_spec.access.reads());
            let inputs: Vec<&str> = inputs.map(|tensor_spec| &*tensor_spec.name).collect();
            let message = format!("nothing reads it; this problem takes {}", inputs.join(", "));
            Err(Failure::usage(format!("tensor `{name}`"), message))
        }
    }
}
