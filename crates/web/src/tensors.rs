//! Tensors between the page's memory and ours.

use bytemuck::{Zeroable, cast_slice, cast_slice_mut};
use foveal::DeviceTensor;
use foveal_kernels::{Dtype, HostTensor, TensorData};
use half::{bf16, f16};
use js_sys::{Array, Object, Reflect, Uint8Array};
use serde_json::{Map, Value};
use wasm_bindgen::{JsCast, JsValue};

use crate::failure::Failure;
use crate::objects::set;

/// A tensor as a call gives it.
#[derive(Debug)]
pub(crate) enum TensorArgument {
    /// With its elements, in our memory.
    Host(HostTensor),
    /// On the device, by the number under which it is held.
    Held(u32),
    /// Without its elements.
    Shape(Vec<usize>, Dtype),
}

/// The tensors of a call: a list of `{ name, dtype, shape, bytes?, held? }`.
pub(crate) fn given(list: &Array) -> Result<Vec<(String, TensorArgument)>, Failure> {
    list.iter().map(|entry| one(&entry)).collect()
}

fn one(entry: &JsValue) -> Result<(String, TensorArgument), Failure> {
    let get = |name: &str| Reflect::get(entry, &name.into()).unwrap_or(JsValue::UNDEFINED);
    let name = get("name").as_string().unwrap_or_default();
    let wrong = |message: &str| Failure::usage(format!("tensor `{name}`"), message);
    if let Some(held) = get("held").as_f64() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "we gave the number out"
        )]
        return Ok((name, TensorArgument::Held(held as u32)));
    }
    let sizes = get("shape").dyn_into::<Array>().map_err(|_| wrong("expected a shape"))?;
    let shape = sizes.iter().map(|size| size.as_f64().and_then(whole)).collect::<Option<Vec<usize>>>();
    let shape = shape.ok_or_else(|| wrong("expected whole sizes of 0 or more"))?;
    let dtype = match get("dtype").as_string().as_deref() {
        Some("f32") => Dtype::F32,
        Some("f16") => Dtype::F16,
        Some("bf16") => Dtype::Bf16,
        Some("i32") => Dtype::I32,
        Some("u8") => Dtype::U8,
        Some("i8") => Dtype::I8,
        _ => return Err(wrong("expected a dtype of f32, f16, bf16, i32, u8 or i8")),
    };
    let Ok(bytes) = get("bytes").dyn_into::<Uint8Array>() else {
        return Ok((name, TensorArgument::Shape(shape, dtype)));
    };
    let data = match dtype {
        Dtype::F32 => TensorData::F32(elements(&bytes)),
        Dtype::F16 => TensorData::F16(elements(&bytes)),
        Dtype::Bf16 => TensorData::Bf16(elements(&bytes)),
        Dtype::I32 => TensorData::I32(elements(&bytes)),
        Dtype::U8 => TensorData::U8(elements(&bytes)),
        Dtype::I8 => TensorData::I8(elements(&bytes)),
    };
    let tensor = HostTensor::new(shape, data).map_err(|error| wrong(&error.to_string()))?;
    Ok((name, TensorArgument::Host(tensor)))
}

fn whole(size: f64) -> Option<usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tested to be a whole u32")]
    (size >= 0.0 && size <= f64::from(u32::MAX) && size.fract() == 0.0).then_some(size as usize)
}

/// Copied once, from the page's memory into a vector of its own.
fn elements<T: bytemuck::Pod + Zeroable>(bytes: &Uint8Array) -> Vec<T> {
    let mut elements = vec![T::zeroed(); bytes.length() as usize / size_of::<T>()];
    let room: &mut [u8] = cast_slice_mut(&mut elements);
    // Bytes beyond the last whole element are left out.
    let whole = u32::try_from(room.len()).unwrap_or(u32::MAX);
    bytes.subarray(0, whole).copy_to(room);
    elements
}

/// A tensor of zeros, to describe a problem by where the elements are elsewhere.
pub(crate) fn zeros(shape: &[usize], dtype: Dtype) -> Result<HostTensor, Failure> {
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let count = count.filter(|&count| count < 1 << 30);
    let count = count.ok_or_else(|| Failure::usage("shape", format!("{shape:?} has too many elements")))?;
    let data = match dtype {
        Dtype::F32 => TensorData::F32(vec![0.0; count]),
        Dtype::F16 => TensorData::F16(vec![f16::ZERO; count]),
        Dtype::Bf16 => TensorData::Bf16(vec![bf16::ZERO; count]),
        Dtype::I32 => TensorData::I32(vec![0; count]),
        Dtype::U8 => TensorData::U8(vec![0; count]),
        Dtype::I8 => TensorData::I8(vec![0; count]),
    };
    Ok(HostTensor::new(shape.to_vec(), data)?)
}

/// `{ name, dtype, shape, bytes }`, for the page.
pub(crate) fn to_page(name: &str, tensor: &HostTensor) -> JsValue {
    let (dtype, bytes): (Dtype, &[u8]) = match tensor.data() {
        TensorData::F16(x) => (Dtype::F16, cast_slice(x)),
        TensorData::Bf16(x) => (Dtype::Bf16, cast_slice(x)),
        TensorData::I32(x) => (Dtype::I32, cast_slice(x)),
        TensorData::U8(x) => (Dtype::U8, x),
        TensorData::I8(x) => (Dtype::I8, cast_slice(x)),
        TensorData::F32(x) => (Dtype::F32, cast_slice(x)),
        // No operator has such inputs or outputs: what comes here is rounded.
        TensorData::F64(_) | TensorData::I64(_) => {
            let bytes = tensor.to_bytes(Dtype::F32);
            return entry(name, tensor.shape(), Dtype::F32, "bytes", Uint8Array::from(&*bytes));
        }
    };
    entry(name, tensor.shape(), dtype, "bytes", Uint8Array::from(bytes))
}

/// `{ name, dtype, shape, held }`, for the page.
pub(crate) fn held_to_page(name: &str, tensor: &DeviceTensor, held: u32) -> JsValue {
    entry(name, tensor.shape(), tensor.dtype(), "held", held)
}

fn entry(name: &str, shape: &[usize], dtype: Dtype, what: &str, value: impl Into<JsValue>) -> JsValue {
    let object = Object::new();
    #[expect(clippy::cast_precision_loss, reason = "sizes are below 2^32")]
    let shape: Array = shape.iter().map(|&size| JsValue::from(size as f64)).collect();
    set(&object, "name", name);
    set(&object, "dtype", dtype.to_string());
    set(&object, "shape", shape);
    set(&object, what, value);
    object.into()
}

/// Options from JSON text.
pub(crate) fn options(text: &str) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_str(text) {
        Ok(Value::Object(options)) => Ok(options),
        _ => Err(Failure::usage("options", "expected an object of numbers, texts and booleans")),
    }
}
