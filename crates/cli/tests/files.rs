//! Reading and writing: other formats, types and sizes.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use common::{Place, Ran, foveal, run, tensor, words};
use safetensors::{Dtype, tensor::TensorView};

const BIN: &str = env!("CARGO_BIN_EXE_foveal");

/// Attention, and tensors of other types beside it.
fn with_more(place: &Place, name: &str, more: &[(&str, Dtype, &[usize], usize)]) -> std::path::PathBuf {
    let data: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = [("q", 5), ("k", 7), ("v", 7)]
        .into_iter()
        .map(|(name, len)| {
            let values = common::values(name, 2 * len * 4);
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, Dtype::F32, vec![1, 2, len, 4], bytes)
        })
        .chain(more.iter().map(|&(name, dtype, shape, bytes)| (name, dtype, shape.to_vec(), vec![1; bytes])))
        .collect();
    let views = data
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let path = place.path(name);
    let none: Option<HashMap<String, String>> = None;
    std::fs::write(&path, safetensors::serialize(views, none).unwrap()).unwrap();
    path
}

#[test]
fn other_formats_are_named_with_how_to_convert_them() {
    let place = Place::new();
    let zip = |name: &str| {
        let mut zip = b"PK\x03\x04".to_vec();
        zip.resize(26, 0);
        zip.extend([u8::try_from(name.len()).unwrap(), 0, 0, 0]);
        zip.extend(name.as_bytes());
        zip.resize(600, 0);
        zip
    };
    for (name, entry, expected) in
        [("x.npz", "q.npy", "numpy.load('x.npz')"), ("x.pt", "x/data.pkl", "torch.load('x.pt')")]
    {
        let path = place.path(name);
        std::fs::write(&path, zip(entry)).unwrap();
        run(&path, &place.path("o.safetensors"), &[]).refused(&[name, expected, "'x.safetensors'"]);
    }
    std::fs::create_dir(place.path("folder")).unwrap();
    place.file("folder/q.safetensors", &[("q", &[1, 1, 2, 4])], None);
    run(&place.path("folder"), &place.path("o.safetensors"), &[]).refused(&["no .npy file", ".safetensors"]);
}

#[test]
fn tensors_that_are_not_read_may_be_of_any_type() {
    let place = Place::new();
    let odd: &[(&str, Dtype, &[usize], usize)] = &[
        ("odd", Dtype::I16, &[3], 6),
        ("eight", Dtype::F8_E4M3, &[2, 4], 8),
        ("double", Dtype::F64, &[2], 16),
    ];
    let (input, output) = (with_more(&place, "in.safetensors", odd), place.path("o.safetensors"));
    let plain = with_more(&place, "plain.safetensors", &[]);
    let ran = run(&input, &output, &["--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let with = tensor(&output, "o");
    assert!(ran.err.contains("note: tensor `odd` is not read"), "{ran:?}");
    assert_eq!(ran.json()["notes"].as_array().map(Vec::len), Some(3), "{ran:?}");
    assert_eq!(run(&plain, &output, &[]).err, "", "nothing to say");
    assert_eq!(tensor(&output, "o"), with);
    // Those that are read are another matter.
    run(&input, &output, &["--mask", "odd[0] > 0"]).refused(&["tensor `odd`", "I16", "expected F32"]);
    let wrong = with_more(&place, "wrong.safetensors", &[("sinks", Dtype::F8_E4M3, &[2], 2)]);
    run(&wrong, &output, &["--sink-logits", "sinks"]).refused(&["tensor `sinks`", "F8_E4M3"]);
}

#[test]
fn a_mask_that_nothing_reads_is_noted_with_how_to_read_it() {
    let place = Place::new();
    let more: &[(&str, Dtype, &[usize], usize)] =
        &[("mask", Dtype::BOOL, &[5, 7], 35), ("bias", Dtype::F32, &[1, 2, 5, 7], 280)];
    let (input, output) = (with_more(&place, "in.safetensors", more), place.path("o.safetensors"));
    let ran = run(&input, &output, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for expected in ["--mask 'mask[q, k] != 0'", "--score 's + bias[0, h, q, k]'"] {
        assert!(ran.err.contains(expected), "{ran:?}");
    }
    // As it says.
    let ran = run(&input, &output, &["--mask", "mask[q, k] != 0", "--score", "s + bias[0, h, q, k]"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn doubles_are_refused_with_the_option_that_converts_them() {
    let place = Place::new();
    let mut file = Vec::new();
    let tensors: Vec<(&str, Vec<usize>)> =
        vec![("q", vec![1, 2, 5, 4]), ("k", vec![1, 2, 7, 4]), ("v", vec![1, 2, 7, 4])];
    for (name, shape) in &tensors {
        let values = common::values(name, shape.iter().product());
        file.push(values.iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect::<Vec<u8>>());
    }
    let views = tensors
        .iter()
        .zip(&file)
        .map(|((name, shape), bytes)| (*name, TensorView::new(Dtype::F64, shape.clone(), bytes).unwrap()));
    let none: Option<HashMap<String, String>> = None;
    let (input, output) = (place.path("in.safetensors"), place.path("o.safetensors"));
    std::fs::write(&input, safetensors::serialize(views, none).unwrap()).unwrap();
    run(&input, &output, &[]).refused(&["q", "f64", "--dtype f32"]);
    assert_eq!(run(&input, &output, &["--dtype", "f32"]).code, 0);
    let converted = tensor(&output, "o");
    assert_eq!(run(&place.attention(), &place.path("p.safetensors"), &[]).code, 0);
    assert_eq!(converted, tensor(&place.path("p.safetensors"), "o"));
}

#[test]
fn queries_that_see_no_key_are_counted_and_nothing_is_no_verdict() {
    let place = Place::new();
    let (input, output) = (place.attention(), place.path("o.safetensors"));
    let ran = run(&input, &output, &["--check", "--mask", "q >= 3"]);
    assert!(ran.out.contains("6 of 10 queries see no key"), "{ran:?}");
    let document = run(&input, &output, &["--check", "--json", "--mask", "q >= 3"]).json();
    assert_eq!(
        (&document["queries_without_keys"], &document["check"]["status"]),
        (&6.into(), &"passed".into())
    );
    assert!(document["notes"][0].as_str().is_some_and(|note| note.contains("see no key")), "{document}");
    let document = run(&input, &output, &["--json"]).json();
    assert_eq!(document["queries_without_keys"], 0);
    let tensors: &[(&str, &[usize])] = &[("q", &[1, 2, 0, 4]), ("k", &[1, 2, 3, 4]), ("v", &[1, 2, 3, 4])];
    let empty = place.file("empty.safetensors", tensors, None);
    let ran = run(&empty, &output, &["--check"]);
    assert!(ran.code == 0 && ran.out.contains("SKIPPED") && !ran.out.contains("right"), "{ran:?}");
    assert_eq!(run(&empty, &output, &["--check", "--json"]).json()["check"]["status"], "skipped");
    let zeros: Vec<(&str, &[usize], Vec<f32>)> = tensors
        .iter()
        .chain(&[("o", &[1usize, 2, 0, 4][..])])
        .map(|(name, shape)| (*name, *shape, vec![0.0; shape.iter().product()]))
        .collect();
    let golden = place.file_of("golden.safetensors", &zeros, Some(r#"{"op":"attention"}"#));
    let document = foveal(&words(&[&"check", &"--device", &"cpu", &"--json", &"--golden", &golden])).json();
    assert_eq!((&document["passed"], &document["skipped"]), (&0.into(), &1.into()), "{document}");
}

#[test]
fn sizes_that_nothing_could_hold_are_refused_at_once() {
    let begun = std::time::Instant::now();
    let list = |fields: &str| format!(r#"{{"q_block":16,"kv_block":16,{fields}}}"#);
    let plan = |more: &[&str]| {
        let line = ["plan", "attention", "--limits", "floor", "--shape", "1x1x256x64"];
        foveal(&[&line[..], more].concat())
    };
    let room = r#"{"q_block":64,"kv_block":64,"counts":"c","indices":"i","most":9223372036854775807}"#;
    let table = r#"{"t":"i32[4294967296,4294967296,4294967296]"}"#;
    plan(&["--block-mask", &list(r#""random":0.5,"heads":2097152"#)])
        .refused(&["heads = 2097152", "expected 1"]);
    plan(&["--block-mask", &list(r#""random":0.5,"batch":18446744073709551615"#)]).refused(&["batch"]);
    plan(&["--block-mask", room]).refused(&["most"]);
    plan(&["--mask", "t[q] > 0", "--tables", table]).refused(&["table `t`", "elements"]);
    let ran = plan(&["--block-mask", &list(r#""big_bird":[3,2,1000000000000]"#)]);
    assert_eq!(ran.code, 0, "as many as there are: {ran:?}");
    for operator in ["attention", "linear"] {
        for shape in
            ["1x1x18446744073709551615x64", "4294967295x4294967295x4294967295x64", "65536x65536x65536x64"]
        {
            let ran = foveal(&["plan", operator, "--limits", "floor", "--shape", shape]);
            assert!(
                [1, 2].contains(&ran.code) && ran.err.starts_with("error: "),
                "{operator} {shape}: {ran:?}"
            );
        }
    }
    foveal(&["mask", "causal & h > 0", "--q", "64", "--heads", "16777216"]).refused(&["--heads", "65536"]);
    foveal(&["mask", "causal", "--q", "1000000000", "--block", "16"]).refused(&["larger blocks"]);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

/// A large file that is mostly a hole, and reads as zeros.
#[cfg(target_os = "linux")]
fn sparse(path: &Path, rows: usize) {
    use std::io::Write;
    let bytes = rows * 256;
    let header = format!(
        r#"{{"q":{{"dtype":"F32","shape":[1,1,1,64],"data_offsets":[0,256]}},"k":{{"dtype":"F32","shape":[1,1,{rows},64],"data_offsets":[256,{}]}},"v":{{"dtype":"F32","shape":[1,1,{rows},64],"data_offsets":[{},{}]}}}}"#,
        256 + bytes,
        256 + bytes,
        256 + 2 * bytes
    );
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + 256 + 2 * bytes) as u64).unwrap();
}

/// Runs a command line with so many kilobytes of address space.
#[cfg(target_os = "linux")]
fn within(kilobytes: u64, line: &[String]) -> Ran {
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {kilobytes} && exec \"$@\""), "sh", BIN])
        .args(line)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
#[cfg(target_os = "linux")]
fn files_larger_than_memory_are_refused_and_each_tensor_is_held_once() {
    let place = Place::new();
    let input = place.path("large.safetensors");
    // k and v of 1 GiB each.
    sparse(&input, 1 << 22);
    let output = place.path("o.safetensors");
    let line = words(&[&"run", &"attention", &"--device", &"cpu", &"--input", &input, &"--output", &output]);
    within(1 << 20, &line).refused(&["do not fit into memory"]);
    // Room for one copy of both and half a GiB for the rest: they are read for a plan, and nothing else is made.
    let plan = words(&[&"plan", &"attention", &"--limits", &"floor", &"--input", &input]);
    let ran = within(5 << 19, &plan);
    assert!(ran.code == 1 && ran.err.contains("max_buffer_size"), "{ran:?}");
    assert_eq!(place.names(), ["large.safetensors"]);
}
