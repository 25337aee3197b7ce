//! Running the program, and making files for it.
#![expect(dead_code, reason = "each test file uses a part")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests report by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;

/// A place for a test's files.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names of all files there, hidden ones included.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Writes f32 tensors of made-up values, and a `foveal` entry if there is one.
    pub(crate) fn file(&self, name: &str, tensors: &[(&str, &[usize])], options: Option<&str>) -> PathBuf {
        let values: Vec<(&str, &[usize], Vec<f32>)> = tensors
            .iter()
            .map(|(name, shape)| (*name, *shape, values(name, shape.iter().product())))
            .collect();
        self.file_of(name, &values, options)
    }

    pub(crate) fn file_of(
        &self,
        name: &str,
        tensors: &[(&str, &[usize], Vec<f32>)],
        options: Option<&str>,
    ) -> PathBuf {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let views: Vec<(&str, TensorView<'_>)> = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape, _), bytes)| {
                (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
            })
            .collect();
        let metadata = options.map(|options| HashMap::from([("foveal".to_owned(), options.to_owned())]));
        let path = self.path(name);
        std::fs::write(&path, safetensors::serialize(views, metadata).unwrap()).unwrap();
        path
    }

    /// Attention of 1 x 2 heads x 5 queries x 7 keys x 4.
    pub(crate) fn attention(&self) -> PathBuf {
        self.file("in.safetensors", &[("q", &[1, 2, 5, 4]), ("k", &[1, 2, 7, 4]), ("v", &[1, 2, 7, 4])], None)
    }
}

/// Values that depend on the name and the position only.
pub(crate) fn values(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte));
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.f32() * 2.0 - 1.0).take(count).collect()
}

/// Output and exit code of the program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The one document on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Fails unless the program refused with exit code 2 and one line that says all of `expected`.
    pub(crate) fn refused(&self, expected: &[&str]) {
        assert_eq!(self.code, 2, "{self:?}");
        let lines: Vec<&str> = self.err.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "{self:?}");
        assert!(!self.err.contains("panicked") && !self.err.contains("stack backtrace"), "{self:?}");
        for part in expected {
            assert!(lines[0].contains(part), "expected `{part}` in {self:?}");
        }
    }
}

/// Runs `foveal`, by default without any adapter so that tests do not depend on the machine.
pub(crate) fn foveal<I: AsRef<std::ffi::OsStr>>(words: &[I]) -> Ran {
    ran(without_adapter(Command::new(env!("CARGO_BIN_EXE_foveal"))).args(words))
}

/// Runs `foveal` on any adapter that is there.
pub(crate) fn foveal_on_adapter<I: AsRef<std::ffi::OsStr>>(words: &[I]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foveal"));
    // Without it, EGL complains on stderr in a way that looks like an error of ours.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    ran(command.args(words))
}

/// Whether this machine has an adapter; a test that needs one says that it was skipped, or fails where it must not be.
pub(crate) fn has_adapter() -> bool {
    let there = !foveal_on_adapter(&["info", "--json"]).json()["adapters"].as_array().unwrap().is_empty();
    let required = std::env::var("FOVEAL_REQUIRE_GPU").is_ok_and(|value| value == "1");
    assert!(there || !required, "FOVEAL_REQUIRE_GPU is set and there is no adapter");
    if !there {
        eprintln!("SKIPPED: no adapter");
    }
    there
}

fn without_adapter(mut command: Command) -> Command {
    command
        .env("WGPU_BACKEND", "vulkan")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .env("VK_DRIVER_FILES", "/nonexistent");
    command.env_remove("FOVEAL_ADAPTER");
    command
}

fn ran(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// The words of a command line, with paths among them.
pub(crate) fn words(parts: &[&dyn AsWord]) -> Vec<String> {
    parts.iter().map(|part| part.word()).collect()
}

pub(crate) trait AsWord {
    fn word(&self) -> String;
}

impl AsWord for &str {
    fn word(&self) -> String {
        (*self).to_owned()
    }
}

impl AsWord for PathBuf {
    fn word(&self) -> String {
        self.display().to_string()
    }
}

impl AsWord for &Path {
    fn word(&self) -> String {
        self.display().to_string()
    }
}

/// A tensor of a file as f32.
pub(crate) fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), Dtype::F32);
    let values = tensor.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    (tensor.shape().to_vec(), values)
}

/// Attention on the CPU.
pub(crate) fn run(input: &Path, output: &Path, more: &[&str]) -> Ran {
    let mut line =
        words(&[&"run", &"attention", &"--device", &"cpu", &"--input", &input, &"--output", &output]);
    line.extend(more.iter().map(|word| (*word).to_owned()));
    foveal(&line)
}
