//! Linear attention from files: what is computed without being asked for, and what is refused.

mod common;

use common::{Place, foveal, words};

const KEYS: &[usize] = &[1, 2, 10, 4];
const VALUES: &[usize] = &[1, 4, 10, 6];

fn run(place: &Place, tensors: &[(&str, &[usize])], more: &[&str]) -> common::Ran {
    let mut held: Vec<(&str, &[usize])> = vec![("q", KEYS), ("k", KEYS), ("v", VALUES)];
    held.extend(tensors);
    let (input, output) = (place.file("in.safetensors", &held, None), place.path("out.safetensors"));
    let mut line =
        words(&[&"run", &"linear", &"--device", &"cpu", &"--input", &input, &"--output", &output.as_path()]);
    line.extend(more.iter().map(|word| (*word).to_owned()));
    foveal(&line)
}

/// Only q, k and v: no state is asked for that there is none of.
#[test]
fn states_are_computed_and_none_is_needed() {
    let place = Place::new();
    let ran = run(&place, &[], &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("o [1, 4, 10, 6], state_out [1, 4, 4, 6]"), "{ran:?}");
    let ran = run(&place, &[], &["--state-out=false"]);
    assert!(ran.code == 0 && !ran.out.contains("state_out"), "{ran:?}");
    let ran = run(&place, &[], &["--direction", "both"]);
    assert!(ran.code == 0 && !ran.out.contains("state_out"), "{ran:?}");
}

#[test]
fn tensors_that_an_option_forgets_are_refused() {
    let place = Place::new();
    run(&place, &[("g", &[1, 4, 10])], &[]).refused(&["g: expected none with gate none"]);
    run(&place, &[("beta", &[1, 4, 10])], &[]).refused(&["beta: expected none", "rule"]);
    run(&place, &[], &["--gate", "scalar"]).refused(&[
        "g: expected shape [1, 4, 10]",
        "gate scalar",
        "got none",
    ]);
    run(&place, &[], &["--rule", "dleta"]).refused(&["rule", "did you mean `delta`?"]);
}
