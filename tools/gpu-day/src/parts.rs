//! The parts of the session.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::part::{Form, Part};

/// The programs that are there.
pub(crate) struct Programs {
    foveal: PathBuf,
    benches: PathBuf,
    burn: PathBuf,
    /// Python and the script that measures PyTorch, or the reason why there is no PyTorch with a GPU.
    torch: Result<[PathBuf; 2], String>,
}

/// Part of the program, so that a folder of programs is all that a machine needs.
const TORCH: &str = include_str!("../../../benches/peers/pytorch.py");

impl Programs {
    /// Looks in `folder`, where `foveal` has to be; parts of others are skipped if they are not. Scripts go to `out`.
    ///
    /// # Errors
    /// If `foveal` is not there, or a script cannot be written.
    pub(crate) fn find(folder: &Path, out: &Path) -> Result<Self> {
        let program = |name: &str| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        let foveal = program("foveal");
        ensure!(foveal.is_file(), "{} is not there", foveal.display());
        // Not `torch.py`, which Python would import for PyTorch.
        let script = out.join("pytorch.py");
        std::fs::write(&script, TORCH).with_context(|| script.display().to_string())?;
        Ok(Self {
            foveal,
            benches: program("foveal-benches"),
            burn: program("peer-burn"),
            torch: torch(script),
        })
    }
}

/// Asking for PyTorch takes seconds, so it is asked once.
fn torch(script: PathBuf) -> Result<[PathBuf; 2], String> {
    let python = if cfg!(windows) { "python" } else { "python3" };
    let asked = Command::new(python).arg(&script).arg("--there").stdin(Stdio::null()).output();
    let asked = asked.map_err(|_| format!("{python} was not found"))?;
    if asked.status.success() {
        return Ok([python.into(), script]);
    }
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    Err(said.lines().last().unwrap_or("PyTorch does not run").to_owned())
}

/// All of them, the most important first: the time may run out.
pub(crate) fn all(programs: &Programs, short: bool) -> Vec<Part> {
    let foveal = |arguments: &[&str]| words(&programs.foveal, arguments);
    let part = |name: &str, command: Result<Vec<String>, String>, seconds: u64, form: Form| Part {
        name: name.to_owned(),
        command,
        limit: Duration::from_secs(seconds),
        form,
    };
    let shapes: &[&str] =
        if short { &["1x2x128x64"] } else { &["1x8x1024x64", "1x16x4096x64", "1x16x4096x128"] };
    let bench = |more: &[&str]| {
        let shapes = shapes.iter().flat_map(|shape| ["--shape", shape]);
        let arguments: Vec<&str> =
            ["bench", "attention", "--json"].into_iter().chain(shapes).chain(more.iter().copied()).collect();
        foveal(&arguments)
    };
    let check = |arguments: &[&str]| foveal(&[&["check"], arguments].concat());
    let (cases, random): (&[&str], _) =
        if short { (&["attention", "--cases", "causal"], "4") } else { (&[], "200") };
    let mut parts = vec![
        part("adapter and rates", Ok(foveal(&["info", "--roofline", "--json"])), 45, Form::Json),
        part("check: cases", Ok(check(cases)), 90, Form::Check),
        part("bench: attention f32", Ok(bench(&[])), 40, Form::Json),
        part("bench: attention f16", Ok(bench(&["--dtype", "f16"])), 40, Form::Json),
        part("bench: attention f32 causal", Ok(bench(&["--mask", "causal"])), 40, Form::Json),
    ];
    let torch = |dtype: &str, more: &[&str]| -> Result<Vec<String>, String> {
        let [python, script] = programs.torch.clone()?;
        let script = script.display().to_string();
        Ok(words(&python, &[&[&*script, "--dtype", dtype], more, shapes].concat()))
    };
    parts.push(part("peer: PyTorch f32", torch("f32", &[]), 40, Form::Json));
    parts.push(part("peer: PyTorch f16", torch("f16", &[]), 40, Form::Json));
    parts.push(part("peer: PyTorch f32 causal", torch("f32", &["--causal"]), 40, Form::Json));
    for operator in if short { &["combine"][..] } else { &["linear", "combine", "append"] } {
        let bench = foveal(&["bench", operator, "--json"]);
        parts.push(part(&format!("bench: {operator}"), Ok(bench), 40, Form::Json));
    }
    parts.push(part("check: random", Ok(check(&["--random", random])), 120, Form::Check));
    if !short {
        parts.push(part("check: recipes", Ok(check(&["--recipe", "all"])), 60, Form::Check));
        let benches =
            there(&programs.benches).map(|program| words(program, &["--json", "attention", "linear"]));
        parts.push(part("figures of docs/BENCHMARKS.md", benches, 90, Form::Json));
    }
    let burn = there(&programs.burn).map(|program| words(program, &[&["--json"], shapes].concat()));
    parts.push(part("peer: burn", burn, 60, Form::Json));
    parts
}

fn there(program: &Path) -> Result<&Path, String> {
    if program.is_file() { Ok(program) } else { Err(format!("{} is not there", program.display())) }
}

fn words(program: &Path, arguments: &[&str]) -> Vec<String> {
    let arguments = arguments.iter().map(|&word| word.to_owned());
    std::iter::once(program.display().to_string()).chain(arguments).collect()
}
