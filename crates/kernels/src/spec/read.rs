//! Reading what operators have in common: options, shapes, sizes of tensors.

use crate::{Dtype, Error, HostTensor, Layout, TensorData, spec::options::Arguments};

/// The sizes of a tensor with tokens: batch, heads, positions, width.
pub(crate) fn sizes(name: &str, tensor: &HostTensor, layout: Layout) -> Result<[usize; 4], Error> {
    let &[batch, second, third, dim] = tensor.shape() else {
        let order = match layout {
            Layout::Bhtd => "[B, H, T, D]",
            Layout::Bthd => "[B, T, H, D]",
        };
        return Err(Error::invalid(name, format!("expected 4 dimensions {order}, got {:?}", tensor.shape())));
    };
    Ok(match layout {
        Layout::Bhtd => [batch, second, third, dim],
        Layout::Bthd => [batch, third, second, dim],
    })
}

/// The option `layout`, which says how shapes are read.
pub(crate) fn layout(given: &Arguments<'_>) -> Result<Layout, Error> {
    given.input("layout").map_or(Ok(Layout::Bhtd), |input| input.word())
}

/// Checks that f32 holds the value as a finite number, and as 0 only if it is 0.
pub(crate) fn fits_f32(name: &str, value: f64) -> Result<(), Error> {
    let (min, max) = (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX) / 2.0);
    if value == 0.0 || (min..=max).contains(&value.abs()) {
        return Ok(());
    }
    let message =
        format!("expected 0, or a number from {min:e} to {max:e} in size as f32 holds them, got {value:e}");
    Err(Error::invalid(name, message))
}

/// How a tensor of real numbers is stored.
pub(crate) fn storage(name: &str, tensor: &HostTensor) -> Result<Dtype, Error> {
    tensor.dtype().filter(|dtype| dtype.is_float()).ok_or_else(|| {
        let got = match (tensor.dtype(), tensor.data()) {
            (Some(dtype), _) => dtype.to_string(),
            (None, TensorData::F64(_)) => "f64".to_owned(),
            (None, _) => "i64".to_owned(),
        };
        Error::invalid(name, format!("expected elements of type f32, f16 or bf16, got {got}"))
    })
}

/// The sizes of a shape given as text, `2x8:4x100x64`; one number stands for a pair of equals. `help` says what was expected.
pub(crate) fn shape_pairs(shape: &str, help: &str) -> Result<[(usize, usize); 4], Error> {
    let wrong = || Error::invalid("shape", format!("expected {help}, got `{shape}`"));
    let mut sizes = Vec::new();
    for part in shape.split('x') {
        let pair: Vec<usize> =
            part.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        match pair[..] {
            [one] => sizes.push((one, one)),
            [first, second] => sizes.push((first, second)),
            _ => return Err(wrong()),
        }
    }
    sizes.try_into().map_err(|_| wrong())
}

/// The text that [`shape_pairs`] reads a pair from.
pub(crate) fn pair(a: usize, b: usize) -> String {
    if a == b { a.to_string() } else { format!("{a}:{b}") }
}
