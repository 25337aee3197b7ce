//! Places of inputs and outputs: pipes, links, other people's directories, and what an interrupted run leaves.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

mod common;

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, foveal, run, tensor, words};

const BIN: &str = env!("CARGO_BIN_EXE_foveal");

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
    for (link, target) in [("link.safetensors", "elsewhere/o.safetensors"), ("link", "elsewhere/folder")] {
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
            let line =
                words(&[&"run", &"attention", &"--device", &"cpu", &"--input", &input, &"--output", &output]);
            let mut child =
                Command::new(BIN).args(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            let signal = if round % 2 == 0 { "-INT" } else { "-TERM" };
            let _ =
                Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status();
            let begun = Instant::now();
            let status = child.wait().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(60));
            stopped += u32::from(status.signal().is_some());
            let left: Vec<String> = place.names().into_iter().filter(|name| name.starts_with('.')).collect();
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
