//! Elements as bytes of a file.

use std::io::Write;

use foveal_kernels::{HostTensor, TensorData};
use half::{bf16, f16};

/// Writes elements in their own type, little endian.
pub(super) fn write_elements(out: &mut dyn Write, tensor: &HostTensor) -> std::io::Result<()> {
    match tensor.data() {
        TensorData::F16(values) => write_all(out, values, f16::to_le_bytes),
        TensorData::Bf16(values) => write_all(out, values, bf16::to_le_bytes),
        TensorData::F32(values) => write_all(out, values, f32::to_le_bytes),
        TensorData::F64(values) => write_all(out, values, f64::to_le_bytes),
        TensorData::I32(values) => write_all(out, values, i32::to_le_bytes),
        TensorData::I64(values) => write_all(out, values, i64::to_le_bytes),
        TensorData::U8(values) => out.write_all(values),
        TensorData::I8(values) => write_all(out, values, i8::to_le_bytes),
    }
}

/// Writes values piece by piece: outputs may be as large as memory allows, and a copy of them would not fit.
pub(super) fn write_all<T: Copy, const N: usize>(
    out: &mut dyn Write,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(N << 14);
    for some in values.chunks(1 << 14) {
        buffer.clear();
        buffer.extend(some.iter().flat_map(|&value| bytes(value)));
        out.write_all(&buffer)?;
    }
    Ok(())
}
