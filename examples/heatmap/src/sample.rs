//! The sample: queries and keys of a published sentence model on one paragraph of English, and the paragraph's tokens.

use std::ops::Range;

use foveal::{Dtype, HostTensor};
use foveal_examples_common::Failure;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

/// `crates/cli/data/README.md` says where this comes from.
const TENSORS: &[u8] = include_bytes!("../../../crates/cli/data/sample.safetensors");
/// `crates/web/demo/README.md` says how these were found.
const TOKENS: &str = include_str!("../../../crates/web/demo/sample-tokens.json");

/// Inputs of a model's attention.
pub(crate) struct Sample {
    /// `[1, H, T, D]`.
    pub(crate) q: HostTensor,
    /// `[1, H, T, D]`.
    pub(crate) k: HostTensor,
    /// Factor of the scores.
    pub(crate) scale: f64,
    /// The model's name.
    pub(crate) model: String,
    /// The heads' names.
    pub(crate) heads: Vec<String>,
    /// The text, T tokens.
    pub(crate) tokens: Vec<String>,
}

impl Sample {
    pub(crate) fn load() -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::failed("the sample", error);
        let file = SafeTensors::deserialize(TENSORS).map_err(|error| wrong(&error))?;
        let (_, header) = SafeTensors::read_metadata(TENSORS).map_err(|error| wrong(&error))?;
        let text = |key: &str| {
            let value = header.metadata().as_ref().and_then(|metadata| metadata.get(key).cloned());
            value.ok_or_else(|| wrong(&format!("its header has no `{key}`")))
        };
        let tensor =
            |name: &str| file.tensor(name).map_err(|error| wrong(&error)).and_then(|view| f32s(&view));
        let options: Value = serde_json::from_str(&text("foveal")?).map_err(|error| wrong(&error))?;
        let sample = Self {
            q: tensor("q")?,
            k: tensor("k")?,
            scale: options["scale"].as_f64().ok_or_else(|| wrong(&"its options have no scale"))?,
            model: text("model")?,
            heads: serde_json::from_str(&text("heads")?).map_err(|error| wrong(&error))?,
            tokens: serde_json::from_str(TOKENS).map_err(|error| wrong(&error))?,
        };
        let &[1, heads, length, _] = sample.q.shape() else {
            return Err(wrong(&format!("q [1, H, T, D] is expected, got {:?}", sample.q.shape())));
        };
        if sample.k.shape() != sample.q.shape() {
            return Err(wrong(&"q and k of one shape are expected"));
        }
        if (heads, length) != (sample.heads.len(), sample.tokens.len()) {
            return Err(wrong(&"a name for every head and a token for every position are expected"));
        }
        Ok(sample)
    }

    /// Rows `range` of every head of a tensor `[1, H, T, D]`, as `[1, H, range, D]`.
    pub(crate) fn rows(tensor: &HostTensor, range: &Range<usize>) -> Result<HostTensor, Failure> {
        let &[1, heads, length, width] = tensor.shape() else {
            return Err(Failure::failed("rows", format!("got {:?}", tensor.shape())));
        };
        let bytes = tensor.to_bytes(Dtype::F32);
        let row = width * Dtype::F32.size_bytes();
        let rows: Option<Vec<&[u8]>> = (0..heads)
            .map(|head| bytes.get((head * length + range.start) * row..(head * length + range.end) * row))
            .collect();
        let rows = rows.ok_or_else(|| Failure::failed("rows", format!("{range:?} of {length}")))?;
        Ok(HostTensor::from_bytes(vec![1, heads, range.len(), width], &rows.concat(), Dtype::F32)?)
    }
}

fn f32s(view: &TensorView<'_>) -> Result<HostTensor, Failure> {
    if view.dtype() != safetensors::Dtype::F32 {
        return Err(Failure::failed("the sample", format!("f32 is expected, got {:?}", view.dtype())));
    }
    Ok(HostTensor::from_bytes(view.shape().to_vec(), view.data(), Dtype::F32)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_complete() {
        let sample = Sample::load().unwrap();
        assert_eq!(sample.q.shape(), [1, 4, 240, 32]);
        assert_eq!(sample.tokens[0], "[CLS]");
        assert!((sample.scale - 1.0 / 32f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn rows_are_those_of_every_head() {
        let sample = Sample::load().unwrap();
        let rows = Sample::rows(&sample.q, &(3..5)).unwrap();
        assert_eq!(rows.shape(), [1, 4, 2, 32]);
        let (all, some) = (sample.q.to_f64(), rows.to_f64());
        assert_eq!(some[2 * 32], all[(240 + 3) * 32]);
        assert!(Sample::rows(&sample.q, &(239..241)).is_err());
    }
}
