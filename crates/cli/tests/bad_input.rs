//! Wrong input is refused with one line that says what was expected, with exit code 2, and nothing is written.

mod common;

use std::path::Path;

use common::{Place, Ran, foveal, foveal_on_adapter, has_adapter, words};

fn run(input: &Path, place: &Place, more: &[&str]) -> Ran {
    let output = place.path("out.safetensors");
    let mut line = words(&[
        &"run",
        &"attention",
        &"--device",
        &"cpu",
        &"--input",
        &input,
        &"--output",
        &output.as_path(),
    ]);
    line.extend(more.iter().map(|word| (*word).to_owned()));
    let before = place.names();
    let ran = foveal(&line);
    if ran.code != 0 {
        assert_eq!(place.names(), before, "nothing is written on error");
    }
    ran
}

fn shapes(tensors: &[(&str, &[usize])], expected: &[&str]) {
    let place = Place::new();
    run(&place.file("in.safetensors", tensors, None), &place, &[]).refused(expected);
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let four: &[usize] = &[1, 2, 5, 4];
    shapes(&[("q", four), ("k", four)], &["v"]);
    shapes(&[("q", &[2, 5, 4]), ("k", four), ("v", four)], &["q", "4 dimensions", "[2, 5, 4]"]);
    shapes(&[("q", four), ("k", &[1, 2, 5, 8]), ("v", four)], &["k", "4", "8"]);
    shapes(&[("q", &[1, 3, 5, 4]), ("k", four), ("v", four)], &["multiple of the 2", "3"]);
    shapes(&[("q", four), ("k", four), ("v", &[1, 2, 6, 4])], &["v", "5", "6"]);
    shapes(&[("q", &[1, 2, 5, 0]), ("k", &[1, 2, 5, 0]), ("v", four)], &["head_dim", "0"]);
    shapes(&[("q", &[0, 2, 5, 4]), ("k", &[0, 2, 5, 4]), ("v", &[0, 2, 5, 4])], &["batch", "at least 1"]);
}

#[test]
fn options_that_do_not_exist_are_answered_with_those_that_do() {
    let place = Place::new();
    let input = place.attention();
    run(&input, &place, &["--layout", "bhdt"]).refused(&["layout", "bhtd, bthd", "bhdt"]);
    run(&input, &place, &["--scale", "2 m"]).refused(&["scale", "2 m"]);
    // Text that is no number is the name of a tensor.
    run(&input, &place, &["--scale", "big"]).refused(&["tensor `big`", "k, q, v"]);
    run(&input, &place, &["--mask", "windw(3, 0)"]).refused(&["mask", "column 1", "`window`"]);
    run(&input, &place, &["--mask", "same(doc)"]).refused(&["doc", "missing"]);
    run(&input, &place, &["--makse", "causal"]).refused(&["--makse", "--mask"]);
    run(&input, &place, &["--variant", "tield"]).refused(&["tield", "did you mean `tiled`"]);
    run(&input, &place, &["--variant", "tiled"]).refused(&["--variant", "cpu"]);
    run(&input, &place, &["--dtype", "f8"]).refused(&["f8", "bf16"]);
    let output = place.path("out.safetensors");
    let line = words(&[&"run", &"attention", &"--device", &"tpu", &"--input", &input, &"--output", &output]);
    foveal(&line).refused(&["tpu", "auto", "gpu", "cpu"]);
    foveal(&words(&[&"run", &"atention", &"--input", &input, &"--output", &output]))
        .refused(&["unknown operator `atention`", "did you mean `attention`"]);
    foveal(&words(&[&"run", &"--input", &input, &"--output", &output]))
        .refused(&["which operator", "attention"]);
    foveal(&["rnu"]).refused(&["rnu"]);
    foveal(&["bench", "attention", "--shape", "1x8"]).refused(&["shape", "1x8"]);
    foveal(&["plan", "attention"]).refused(&["--shape"]);
    foveal(&["check", "--recipe", "causal", "--dtype", "f16"]).refused(&["--dtype", "--shape"]);
    foveal(&["check", "--cases", "nonesuch"]).refused(&["nonesuch"]);
}

#[test]
fn inputs_that_are_not_there_or_not_files_are_refused() {
    let place = Place::new();
    run(&place.path("none.safetensors"), &place, &[]).refused(&["none.safetensors"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    run(&place.path("empty"), &place, &[]).refused(&["empty", "no .npy file"]);
    let input = place.attention();
    run(&input, &place, &["--input", &input.display().to_string()]).refused(&["is in both"]);
    #[cfg(unix)]
    run(Path::new("/dev/zero"), &place, &[]).refused(&["/dev/zero", "expected a .safetensors file"]);
}

#[test]
fn hostile_files_are_refused() {
    let place = Place::new();
    let hostile: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("huge_header", vec![0xff; 64]),
        ("not_utf8", [&4u64.to_le_bytes()[..], &[0xff; 4]].concat()),
        ("deep", [&100_000u64.to_le_bytes()[..], &[b'['; 100_000]].concat()),
        ("claims", {
            let header = br#"{"q":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
            [&(header.len() as u64).to_le_bytes()[..], header].concat()
        }),
    ];
    for (name, bytes) in hostile {
        let path = place.path(&format!("{name}.safetensors"));
        std::fs::write(&path, bytes).unwrap();
        run(&path, &place, &[]).refused(&[name]);
    }
    let directory = place.path("npy");
    std::fs::create_dir(&directory).unwrap();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1048576), }\n";
    let npy =
        [b"\x93NUMPY\x01\x00", &u16::try_from(header.len()).unwrap().to_le_bytes()[..], header.as_bytes()]
            .concat();
    std::fs::write(directory.join("q.npy"), npy).unwrap();
    run(&directory, &place, &[]).refused(&["q.npy"]);
}

#[test]
fn a_foveal_entry_that_makes_no_sense_is_refused() {
    let place = Place::new();
    let tensors: &[(&str, &[usize])] = &[("q", &[1, 1, 2, 4]), ("k", &[1, 1, 2, 4]), ("v", &[1, 1, 2, 4])];
    for (options, expected) in [
        ("[]", "expected a JSON object"),
        ("{", "not JSON"),
        (r#"{"op":"nonesuch"}"#, "nonesuch"),
        (r#"{"op":"attention","colour":"red"}"#, "colour"),
    ] {
        let input = place.file("in.safetensors", tensors, Some(options));
        let output = place.path("out.safetensors");
        foveal(&words(&[&"run", &"--device", &"cpu", &"--input", &input, &"--output", &output]))
            .refused(&[expected]);
    }
    assert_eq!(place.names(), ["in.safetensors"]);
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_anything_is_computed() {
    let place = Place::new();
    let input = place.attention();
    for output in ["none/out.safetensors", "in.safetensors/out.safetensors", "out.txt"] {
        let output = place.path(output);
        let line =
            words(&[&"run", &"attention", &"--device", &"cpu", &"--input", &input, &"--output", &output]);
        foveal(&line).refused(&["out."]);
    }
    foveal(&words(&[&"demo", &"--png", &place.path("none/demo.png")])).refused(&["demo.png"]);
    assert_eq!(place.names(), ["in.safetensors"]);
}

#[test]
fn no_device_is_told_from_no_adapter_of_that_name() {
    let place = Place::new();
    let input = place.attention();
    run(&input, &place, &["--device", "gpu"]).refused(&[]);
    foveal(&["bench"]).refused(&["mesa-vulkan-drivers"]);
    foveal(&["check"]).refused(&["mesa-vulkan-drivers"]);
    foveal(&["check", "--device", "cpu"]).refused(&["needs an adapter"]);
    foveal(&["info", "--roofline"]).refused(&["mesa-vulkan-drivers"]);
    if has_adapter() {
        foveal_on_adapter(&["check", "--adapter", "nonesuch"]).refused(&["nonesuch"]);
        foveal_on_adapter(&["check", "--adapter", "99"]).refused(&["99"]);
    }
}

#[test]
fn errors_are_a_json_document_where_json_was_asked_for() {
    for line in
        [&["list", "nonesuch", "--json"][..], &["--json", "lsit"], &["check", "--json", "--random", "0"]]
    {
        let ran = foveal(line);
        ran.refused(&[]);
        let document = ran.json();
        assert_eq!(document["exit_code"], 2);
        assert!(document["error"].as_str().is_some_and(|text| !text.contains('\n')));
    }
}
