//! Reading and writing: other formats, types, places, and what is left when something goes wrong.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Place, Ran, foveal, tensor, words};
use safetensors::{Dtype, tensor::TensorView};

const BIN: &str = env!("CARGO_BIN_EXE_foveal");

fn run(input: &Path, output: &Path, more: &[&str]) -> Ran {
    let mut line =
        words(&[&"run", &"attention", &"--device", &"cpu", &"--input", &input, &"--output", &output]);
    line.extend(more.iter().map(|word| (*word).to_owned()));
    foveal(&line)
}

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
fn inputs_are_never_replaced() {
    let place = Place::new();
    let input = place.attention();
    let before = std::fs::read(&input).unwrap();
    run(&input, &input, &[]).refused(&["in.safetensors", "replace the input"]);
    let roundabout = place.path("./sub/../in.safetensors");
    std::fs::create_dir(place.path("sub")).unwrap();
    run(&input, &roundabout, &[]).refused(&["replace the input"]);
    let folder = place.path("npy");
    assert_eq!(run(&input, &folder, &[]).code, 0);
    foveal(&words(&[
        &"mask",
        &"t[0, 0, q] > 0.0",
        &"--q",
        &"2",
        &"--table",
        &format!("t={}", folder.join("lse.npy").display()).as_str(),
        &"--png",
        &folder.join("lse.npy"),
    ]))
    .refused(&["replace the input"]);
    let line = words(&[&"run", &"attention", &"--input", &input, &"--input", &folder, &"--output", &folder]);
    foveal(&line).refused(&["replace the input"]);
    assert_eq!(std::fs::read(&input).unwrap(), before);
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

#[cfg(unix)]
mod unix {
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::time::{Duration, Instant};

    use super::*;

    fn fifo(path: &Path) {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }

    #[test]
    fn places_that_are_no_files_are_decided_beforehand() {
        let place = Place::new();
        let input = place.attention();
        fifo(&place.path("pipe.safetensors"));
        fifo(&place.path("pipe"));
        symlink("nowhere", place.path("dangling.safetensors")).unwrap();
        symlink("nowhere", place.path("dangling")).unwrap();
        symlink(place.path("pipe"), place.path("to_pipe.safetensors")).unwrap();
        symlink("loop", place.path("loop")).unwrap();
        for (name, expected) in [
            ("pipe.safetensors", "neither a file nor a directory"),
            ("pipe", "neither a file nor a directory"),
            ("to_pipe.safetensors", "neither a file nor a directory"),
            ("dangling.safetensors", "which is not there"),
            ("dangling", "which is not there"),
            ("loop", "loop"),
        ] {
            run(&input, &place.path(name), &[]).refused(&[name, expected]);
            let png = words(&[&"mask", &"causal", &"--q", &"8", &"--png", &place.path(name)]);
            foveal(&png).refused(&[name]);
        }
        assert!(place.path("pipe").metadata().unwrap().file_type().is_fifo());
        // As inputs too.
        run(&place.path("pipe"), &place.path("o.safetensors"), &[]).refused(&["got neither"]);
        run(Path::new("/dev/zero"), &place.path("o.safetensors"), &[]).refused(&["got neither"]);
        std::fs::create_dir(place.path("npy")).unwrap();
        fifo(&place.path("npy/foveal.json"));
        std::fs::write(place.path("npy/q.npy"), b"\x93NUMPY\x01\x00\x02\x00{}").unwrap();
        run(&place.path("npy"), &place.path("o.safetensors"), &[]).refused(&["npy"]);
    }

    #[test]
    fn symbolic_links_stay_and_what_they_lead_to_is_replaced() {
        let place = Place::new();
        let input = place.attention();
        std::fs::create_dir(place.path("elsewhere")).unwrap();
        for (link, target) in [("link.safetensors", "elsewhere/o.safetensors"), ("link", "elsewhere/folder")]
        {
            assert_eq!(run(&input, &place.path(target), &[]).code, 0);
            symlink(target, place.path(link)).unwrap();
            let ran = run(&input, &place.path(link), &["--mask", "causal"]);
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(place.path(link).is_symlink() && !place.path(target).is_symlink());
        }
        let (_, o) = tensor(&place.path("elsewhere/o.safetensors"), "o");
        assert_eq!(run(&input, &place.path("o.safetensors"), &["--mask", "causal"]).code, 0);
        assert_eq!(o, tensor(&place.path("o.safetensors"), "o").1);
        assert_eq!(place.names().len(), 5);
    }

    #[test]
    fn directories_that_are_somebody_elses_are_left_alone() {
        let place = Place::new();
        let input = place.attention();
        std::fs::create_dir(place.path("mine")).unwrap();
        std::fs::write(place.path("mine/notes.txt"), "x").unwrap();
        run(&input, &place.path("mine"), &[]).refused(&["mine", "notes.txt", "no run wrote"]);
        assert_eq!(std::fs::read_to_string(place.path("mine/notes.txt")).unwrap(), "x");
        let here = Command::new(BIN)
            .args(words(&[&"run", &"attention", &"--device", &"cpu", &"--input", &input, &"--output", &"."]))
            .current_dir(place.path("mine"))
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&here.stderr).contains("working directory"), "{here:?}");
    }

    #[test]
    fn an_output_that_cannot_be_printed_is_an_error() {
        let full = || std::fs::File::options().write(true).open("/dev/full");
        let Ok(_) = full() else {
            eprintln!("SKIPPED: this system has no /dev/full");
            return;
        };
        for line in [
            &["plan", "attention", "--limits", "floor", "--shape", "1x1x64x64", "--json"][..],
            &["list"],
            &["list", "--json"],
            &["--help"],
            &["mask", "causal", "--q", "64"],
        ] {
            let ended =
                Command::new(BIN).args(line).stdout(full().unwrap()).stderr(Stdio::piped()).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert_eq!(ended.status.code(), Some(1), "{line:?}: {said}");
            assert!(said.starts_with("error: stdout cannot be written: "), "{line:?}: {said}");
        }
    }

    #[test]
    fn a_reader_that_has_heard_enough_ends_the_command_quietly() {
        use std::os::unix::process::ExitStatusExt;
        let mut child = Command::new(BIN)
            .args(["list", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.signal(), said.as_str()), (Some(13), ""), "as it would end any other program");
    }

    #[test]
    fn a_signal_leaves_nothing_behind() {
        use std::os::unix::process::ExitStatusExt;
        let place = Place::new();
        // Long enough to be stopped at any point: the reference of 2 x 2048 x 2048.
        let shape: &[usize] = &[1, 2, 2048, 64];
        let input = place.file("in.safetensors", &[("q", shape), ("k", shape), ("v", shape)], None);
        let mut stopped = 0;
        for (round, wait) in [0, 20, 60, 150, 400, 800].into_iter().enumerate() {
            for output in ["o.safetensors", "o"] {
                let output = place.path(output);
                let line = words(&[
                    &"run",
                    &"attention",
                    &"--device",
                    &"cpu",
                    &"--input",
                    &input,
                    &"--output",
                    &output,
                ]);
                let mut child =
                    Command::new(BIN).args(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                std::thread::sleep(Duration::from_millis(wait));
                let signal = if round % 2 == 0 { "-INT" } else { "-TERM" };
                let _ = Command::new("kill")
                    .args([signal, &child.id().to_string()])
                    .stderr(Stdio::null())
                    .status();
                let begun = Instant::now();
                let status = child.wait().unwrap();
                assert!(begun.elapsed() < Duration::from_secs(60));
                stopped += u32::from(status.signal().is_some());
                let left: Vec<String> =
                    place.names().into_iter().filter(|name| name.starts_with('.')).collect();
                assert_eq!(left, Vec::<String>::new(), "after {wait} ms");
            }
        }
        assert!(stopped > 0, "none was stopped in time");
    }

    #[test]
    fn runs_into_one_directory_leave_the_outputs_of_one_of_them() {
        let place = Place::new();
        let input = place.attention();
        let expected: Vec<_> = (1..5)
            .map(|keys| {
                let alone = place.path(&format!("alone{keys}.safetensors"));
                assert_eq!(run(&input, &alone, &["--mask", &format!("k < {keys}")]).code, 0);
                (tensor(&alone, "o").1, tensor(&alone, "lse").1)
            })
            .collect();
        let read = |name: &str| -> Vec<f32> {
            let npy = std::fs::read(place.path("out").join(format!("{name}.npy"))).unwrap();
            npy[128..].as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        };
        for _ in 0..10 {
            let children: Vec<_> = (1..5)
                .map(|keys| {
                    let mask = format!("k < {keys}");
                    let output = place.path("out");
                    let line = words(&[
                        &"run",
                        &"attention",
                        &"--device",
                        &"cpu",
                        &"--mask",
                        &mask.as_str(),
                        &"--input",
                        &input,
                        &"--output",
                        &output,
                    ]);
                    Command::new(BIN).args(line).stdout(Stdio::null()).spawn().unwrap()
                })
                .collect();
            for mut child in children {
                assert!(child.wait().unwrap().success());
            }
            let both = (read("o"), read("lse"));
            assert!(expected.contains(&both), "o of one run beside lse of another");
        }
        assert!(place.names().iter().all(|name| !name.starts_with('.')), "{:?}", place.names());
    }
}
