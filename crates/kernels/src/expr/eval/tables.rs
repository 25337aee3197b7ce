//! The values of the tables that expressions read.

use half::{bf16, f16};

use super::super::Table;
use crate::{Dtype, Error, HostTensor, TensorData, expr::ir::arithmetic::to_i64};

/// A table bound to its values.
#[derive(Debug)]
pub(super) struct Values<'a> {
    name: &'a str,
    shape: &'a [usize],
    strides: Vec<usize>,
    data: Data<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Data<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
    I32(&'a [i32]),
    U8(&'a [u8]),
    I8(&'a [i8]),
}

impl Values<'_> {
    pub(super) fn name(&self) -> &str {
        self.name
    }

    pub(super) fn shape(&self) -> &[usize] {
        self.shape
    }

    /// The element at these indices, as an int or as a float; `clamped` moves them into range, and dimensions of size 1
    /// have no others.
    ///
    /// # Errors
    /// The first dimension whose index is out of range, and that index.
    pub(super) fn element(
        &self,
        indices: impl Iterator<Item = i64>,
        clamped: bool,
    ) -> Result<(i64, f64), (u32, i64)> {
        let mut offset = 0;
        for (dimension, (mut index, (&size, &stride))) in
            (0u32..).zip(indices.zip(self.shape.iter().zip(&self.strides)))
        {
            if clamped {
                index = index.clamp(0, (to_i64(size) - 1).max(0));
            }
            if size != 1 {
                match usize::try_from(index) {
                    Ok(index) if index < size => offset += index * stride,
                    _ => return Err((dimension, index)),
                }
            }
        }
        // Ranks agree by the parser's checks; a program put together by hand reads zero instead of stopping.
        Ok(match self.data {
            Data::F32(x) => (0, x.get(offset).copied().map_or(0.0, f64::from)),
            Data::F16(x) => (0, x.get(offset).map_or(0.0, |x| x.to_f64())),
            Data::Bf16(x) => (0, x.get(offset).map_or(0.0, |x| x.to_f64())),
            Data::I32(x) => (x.get(offset).copied().map_or(0, i64::from), 0.0),
            Data::U8(x) => (x.get(offset).copied().map_or(0, i64::from), 0.0),
            Data::I8(x) => (x.get(offset).copied().map_or(0, i64::from), 0.0),
        })
    }
}

/// The table's values, found by its name.
///
/// # Errors
/// If there are none, or their shape or element type is not the declared one.
pub(super) fn bind<'a>(table: &'a Table, tables: &[(&str, &'a HostTensor)]) -> Result<Values<'a>, Error> {
    let name = table.name.as_str();
    let Some(&(_, tensor)) = tables.iter().find(|(given, _)| *given == name) else {
        return Err(Error::invalid(name, "the expression reads this table, and no values for it came"));
    };
    if tensor.shape() != table.shape {
        let message = format!("expected the declared shape {:?}, got {:?}", table.shape, tensor.shape());
        return Err(Error::invalid(name, message));
    }
    let data = match (tensor.data(), table.element) {
        (TensorData::F32(x), Dtype::F32) => Data::F32(x),
        (TensorData::F16(x), Dtype::F16) => Data::F16(x),
        (TensorData::Bf16(x), Dtype::Bf16) => Data::Bf16(x),
        (TensorData::I32(x), Dtype::I32) => Data::I32(x),
        (TensorData::U8(x), Dtype::U8) => Data::U8(x),
        (TensorData::I8(x), Dtype::I8) => Data::I8(x),
        (data, element) => {
            let got = element_name(data);
            return Err(Error::invalid(name, format!("expected elements of type {element}, got {got}")));
        }
    };
    let mut strides = vec![1; table.shape.len()];
    for d in (1..table.shape.len()).rev() {
        strides[d - 1] = strides[d] * table.shape[d];
    }
    Ok(Values { name, shape: &table.shape, strides, data })
}

fn element_name(data: &TensorData) -> &'static str {
    match data {
        TensorData::F32(_) => "f32",
        TensorData::F16(_) => "f16",
        TensorData::Bf16(_) => "bf16",
        TensorData::F64(_) => "f64",
        TensorData::I32(_) => "i32",
        TensorData::I64(_) => "i64",
        TensorData::U8(_) => "u8",
        TensorData::I8(_) => "i8",
    }
}
