//! Whether both memories gave out what their definitions say, over a whole melody at once.

use foveal::{
    HostTensor, Problem, TensorData,
    testing::{Comparison, Reference, Rows, compare},
};
use foveal_examples_common::Failure;

use crate::decoder::{append, attention, linear};
use crate::melody::Note;
use crate::model::{KV_HEADS, Model, Projected, WIDTH};

/// Compares the outputs `[1, T, H, D]` of attention and linear attention with references in f64, which begin with the notes
/// and know no drafts: matrices, rotations, pages, states and what was taken back are all on trial.
pub(crate) fn compare_both(
    notes: &[Note],
    window: usize,
    outputs: &[HostTensor; 2],
) -> Result<[Comparison; 2], Failure> {
    let [attention_o, linear_o] = outputs;
    let [seen, kept] = problems(notes, window)?;
    Ok([seen.check(attention_o)?, kept.check(linear_o)?])
}

/// A problem and its inputs.
struct Posed {
    problem: Box<dyn Problem>,
    inputs: Vec<(&'static str, HostTensor)>,
}

/// Attention and linear attention over all notes, in one piece.
fn problems(notes: &[Note], window: usize) -> Result<[Posed; 2], Failure> {
    let Projected { attention: [q, k, v], linear: [linear_q, linear_k, linear_v, g, beta] } =
        Model::new().project(notes)?;
    let count = notes.len();
    // All keys appended to an empty cache at once.
    let empty = HostTensor::new(
        vec![1, count, KV_HEADS, WIDTH],
        TensorData::F64(vec![0.0; count * KV_HEADS * WIDTH]),
    )?;
    let rows = [("q", &q), ("k", &k), ("v", &v), ("k_cache", &empty), ("v_cache", &empty)];
    let appended = append(1, count, count).reference(&rows, Rows::All)?;
    let tensor = |name: &str| {
        let output = appended.iter().find(|output| output.name == name);
        let output = output.ok_or_else(|| Failure::failed("the reference", format!("no output `{name}`")))?;
        Ok::<_, Failure>(output.to_tensor()?)
    };
    let seen = vec![("q", tensor("q_rotated")?), ("k", tensor("k_cache")?), ("v", tensor("v_cache")?)];
    let kept = vec![("q", linear_q), ("k", linear_k), ("v", linear_v), ("g", g), ("beta", beta)];
    Ok([
        Posed { problem: Box::new(attention([1, count], count, window)?), inputs: seen },
        Posed { problem: Box::new(linear(count)), inputs: kept },
    ])
}

impl Posed {
    fn check(&self, got: &HostTensor) -> Result<Comparison, Failure> {
        let inputs: Vec<_> = self.inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
        // A stream may be as long as it likes: then rows are sampled.
        let expected = self.problem.reference(&inputs, Rows::affordable(&self.problem.work(), 1))?;
        let expected = expected.iter().find(|output| output.name == "o");
        let expected = expected.ok_or_else(|| Failure::failed("the reference", "it has no output `o`"))?;
        Ok(compare(expected, got, self.problem.tolerance("o"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::compose;

    /// Results of the definitions for so many notes.
    fn defined(notes: &[Note], window: usize) -> [HostTensor; 2] {
        problems(notes, window).unwrap().map(|posed| {
            let inputs: Vec<_> = posed.inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
            let outputs = posed.problem.reference(&inputs, Rows::All).unwrap();
            outputs.iter().find(|output| output.name == "o").unwrap().to_tensor().unwrap()
        })
    }

    #[test]
    fn a_window_that_is_one_off_is_noticed_and_so_is_a_note() {
        let notes = compose(40, 7);
        let outputs = defined(&notes, 9);
        let passed = |notes: &[Note], window| {
            compare_both(notes, window, &outputs).unwrap().map(|comparison| comparison.passed)
        };
        assert_eq!(passed(&notes, 9), [true, true]);
        assert_eq!(passed(&notes, 8), [false, true]);
        let mut other = notes.clone();
        other[20].pitch += 1;
        assert_eq!(passed(&other, 9), [false, false]);
    }

    #[test]
    fn a_guess_that_is_not_taken_back_is_noticed() {
        let mut notes = compose(40, 7);
        let outputs = defined(&notes, 9);
        // A token that came twice is in both memories twice.
        notes.insert(20, notes[20]);
        let mut twice = defined(&notes, 9);
        for tensor in &mut twice {
            let mut values = tensor.to_f64();
            let row = values.len() / notes.len();
            values.drain(20 * row..21 * row);
            *tensor = HostTensor::new(outputs[0].shape().to_vec(), TensorData::F64(values)).unwrap();
        }
        notes.remove(20);
        assert_eq!(compare_both(&notes, 9, &outputs).unwrap().map(|c| c.passed), [true, true]);
        assert_eq!(compare_both(&notes, 9, &twice).unwrap().map(|c| c.passed), [false, false]);
    }
}
