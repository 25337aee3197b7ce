//! Whether both memories gave out what their definitions say, over the whole sequence at once.

use foveal::{
    HostTensor, Problem,
    testing::{Comparison, Rows, compare},
};
use foveal_examples_common::Failure;

use crate::melody::Note;
use crate::memories::{linear, windowed};
use crate::model::{Model, Projected};

/// Compares the outputs `[1, T, H, D]` of windowed and linear attention with references in f64, which begin with the
/// notes: matrices, ring, states and all are on trial.
pub(crate) fn compare_both(
    notes: &[Note],
    window: usize,
    outputs: &[HostTensor; 2],
) -> Result<[Comparison; 2], Failure> {
    let Projected { q, k, v, g, beta } = Model::new().project(notes)?;
    let [windowed_o, linear_o] = outputs;
    let rows = [("q", &q), ("k", &k), ("v", &v)];
    let gated = [("q", &q), ("k", &k), ("v", &v), ("g", &g), ("beta", &beta)];
    Ok([
        check(&windowed(notes.len(), window)?, &rows, windowed_o)?,
        check(&linear(notes.len()), &gated, linear_o)?,
    ])
}

fn check(
    problem: &dyn Problem,
    inputs: &[(&str, &HostTensor)],
    got: &HostTensor,
) -> Result<Comparison, Failure> {
    // A stream may be as long as it likes: then rows are sampled.
    let expected = problem.reference(inputs, Rows::affordable(&problem.work(), 1))?;
    let expected = expected.iter().find(|output| output.name == "o");
    let expected = expected.ok_or_else(|| Failure::failed("the reference", "it has no output `o`"))?;
    Ok(compare(expected, got, problem.tolerance("o"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::compose;

    /// Outputs of the definitions for so many notes.
    fn defined(notes: &[Note], window: usize) -> [HostTensor; 2] {
        let Projected { q, k, v, g, beta } = Model::new().project(notes).unwrap();
        let o = |problem: &dyn Problem, inputs: &[(&str, &HostTensor)]| {
            let outputs = problem.reference(inputs, Rows::All).unwrap();
            outputs.iter().find(|output| output.name == "o").unwrap().to_tensor().unwrap()
        };
        [
            o(&windowed(notes.len(), window).unwrap(), &[("q", &q), ("k", &k), ("v", &v)]),
            o(&linear(notes.len()), &[("q", &q), ("k", &k), ("v", &v), ("g", &g), ("beta", &beta)]),
        ]
    }

    #[test]
    fn a_window_that_is_one_off_is_noticed_and_so_is_a_note() {
        let notes = compose(40);
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
}
