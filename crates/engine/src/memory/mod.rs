//! Memory on the device.

pub(crate) mod pool;
pub(crate) mod tensor;
