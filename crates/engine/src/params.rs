//! The bytes of a shader's uniform variable.

use foveal_kernels::ParamValue;
use foveal_shaders::{UniformLayout, ValueType};

use crate::Error;

/// Lays out a pass's parameters as the shader declares them.
///
/// The plan and the shader are written apart, so every field must be on both sides with the same type.
pub(crate) fn bytes(
    layout: &UniformLayout,
    params: &[(&'static str, ParamValue)],
    label: &str,
) -> Result<Vec<u8>, Error> {
    let internal = |message: String| Err(Error::internal(label, message));
    let mut bytes = vec![0; layout.size_bytes as usize];
    for field in &layout.fields {
        let Some((_, value)) = params.iter().find(|(name, _)| *name == field.name) else {
            return internal(format!("the shader's field params.{} has no value in the plan", field.name));
        };
        let same_type = matches!(
            (value, field.scalar),
            (ParamValue::U32(_), ValueType::U32)
                | (ParamValue::I32(_), ValueType::I32)
                | (ParamValue::F32(_), ValueType::F32)
        );
        if !same_type || field.components != 1 {
            let (name, ty, n) = (&field.name, field.scalar, field.components);
            return internal(format!("params.{name} is {n} x {ty} in the shader, the plan gives {value:?}"));
        }
        let start = field.offset_bytes as usize;
        match bytes.get_mut(start..start + 4) {
            Some(place) => place.copy_from_slice(&value.to_bytes()),
            None => return internal(format!("params.{} lies outside of its struct", field.name)),
        }
    }
    let known = |name: &str| layout.fields.iter().any(|field| field.name == name);
    match params.iter().find(|(name, _)| !known(name)) {
        Some((name, _)) => internal(format!("the plan gives params.{name}, which the shader does not have")),
        None if params.len() == layout.fields.len() => Ok(bytes),
        None => internal("the plan gives a field of params twice".to_owned()),
    }
}
