//! The bytes of a shader's uniform variables.

use foveal_kernels::{Name, ParamValue};
use foveal_shaders::{UniformLayout, ValueType};

use crate::Error;

/// A pass's parameters, to be laid out as the shader declares them.
///
/// The plan and the shader are written apart, so every field must be on both sides, once, with the same type.
#[derive(Debug)]
pub(crate) struct PassParams<'p> {
    params: &'p [(Name, ParamValue)],
    used: Vec<bool>,
    label: &'p str,
}

impl<'p> PassParams<'p> {
    pub(crate) fn new(params: &'p [(Name, ParamValue)], label: &'p str) -> Self {
        Self { params, used: vec![false; params.len()], label }
    }

    /// The bytes of the uniform variable `variable`.
    pub(crate) fn bytes(&mut self, variable: &str, layout: &UniformLayout) -> Result<Vec<u8>, Error> {
        let label = self.label;
        let internal = |message: String| Err(Error::internal(label, message));
        let mut bytes = vec![0; layout.size_bytes as usize];
        for field in &layout.fields {
            let Some(index) = self.params.iter().position(|(name, _)| *name == field.name) else {
                let name = &field.name;
                return internal(format!("the shader's field {variable}.{name} has no value in the plan"));
            };
            let value = self.params[index].1;
            if std::mem::replace(&mut self.used[index], true) {
                return internal(format!("two of the shader's uniforms have a field {}", field.name));
            }
            let same_type = matches!(
                (value, field.scalar),
                (ParamValue::U32(_), ValueType::U32)
                    | (ParamValue::I32(_), ValueType::I32)
                    | (ParamValue::F32(_), ValueType::F32)
            );
            if !same_type || field.components != 1 {
                let (name, ty, n) = (&field.name, field.scalar, field.components);
                return internal(format!(
                    "{variable}.{name} is {n} x {ty} in the shader, the plan gives {value:?}"
                ));
            }
            let start = field.offset_bytes as usize;
            match bytes.get_mut(start..start + 4) {
                Some(place) => place.copy_from_slice(&value.to_bytes()),
                None => return internal(format!("{variable}.{} lies outside of its struct", field.name)),
            }
        }
        Ok(bytes)
    }

    /// Checks that every parameter has been used.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.params.iter().zip(self.used).find(|(_, used)| !used) {
            None => Ok(()),
            Some(((name, _), _)) => Err(Error::internal(
                self.label,
                format!("the plan gives the parameter `{name}` twice, or to a shader that has no such field"),
            )),
        }
    }
}
