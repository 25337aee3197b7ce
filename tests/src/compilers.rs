//! Compilers of other platforms, as far as they run here: Khronos' for GLSL, Microsoft's for HLSL, and a C++ compiler with
//! declarations of Metal's library in place of Apple's.
//!
//! `tools/shader-compilers.sh` brings Microsoft's to `target/shader-compilers`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::parallel;

/// The text of a kernel in one of these languages, and how it is compiled.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name that complaints begin with.
    pub name: String,
    /// The text.
    pub text: String,
    /// Name of the entry point.
    pub entry: String,
    /// The profile of HLSL, such as `cs_6_0`.
    pub profile: &'static str,
}

/// A compiler that takes several files at once.
#[derive(Clone, Debug)]
pub struct Compiler {
    program: PathBuf,
    arguments: Vec<String>,
    extension: &'static str,
    /// Whether profile and entry point come before the files.
    of_entry: bool,
}

/// Texts of one process: starting is what costs.
const BATCH: usize = 12;

impl Compiler {
    /// glslangValidator: Debian's package `glslang-tools`.
    #[must_use]
    pub fn glslang() -> Option<Self> {
        Self::new("glslangValidator".into(), vec![], "comp", false).runs(&["--version"])
    }

    /// `g++` with `stub`, a header that declares Metal's library, in C++20. Apple's includes are empty files of `scratch`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn metal(stub: &Path, scratch: &Path) -> Result<Option<Self>> {
        let folder = scratch.join("metal-includes");
        std::fs::create_dir_all(folder.join("simd"))?;
        for name in ["metal_stdlib", "simd/simd.h"] {
            std::fs::write(folder.join(name), "")?;
        }
        let words = ["-std=c++20", "-fsyntax-only", "-fsingle-precision-constant", "-w", "-x", "c++"];
        let mut arguments: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        arguments.push(format!("-I{}", folder.display()));
        arguments.extend(["-include".to_owned(), stub.display().to_string()]);
        Ok(Self::new("g++".into(), arguments, "metal", false).runs(&["--version"]))
    }

    /// Microsoft's DXC or FXC, as `tools/shader-compilers.sh` leaves them in `folder`: `dxc`, or, for Wine, `dxc-windows` and `fxc`.
    #[must_use]
    pub fn microsoft(folder: &Path, name: &str) -> Option<Self> {
        let program = folder.join(name);
        program.is_file().then(|| Self::new(program, vec![], "hlsl", true))
    }

    fn new(program: PathBuf, arguments: Vec<String>, extension: &'static str, of_entry: bool) -> Self {
        Self { program, arguments, extension, of_entry }
    }

    fn runs(self, arguments: &[&str]) -> Option<Self> {
        let run =
            Command::new(&self.program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success()).then_some(self)
    }

    /// The complaints about `sources`, each with the name of its source; none if all compile. Files go to `scratch`.
    ///
    /// # Errors
    /// If the compiler cannot be run, or a file not be written.
    pub fn complaints(&self, sources: &[Source], scratch: &Path) -> Result<Vec<String>> {
        let folder = scratch.join(self.extension);
        std::fs::create_dir_all(&folder)?;
        let mut files: Vec<(PathBuf, &Source)> = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let path = folder.join(format!("{index}.{}", self.extension));
            std::fs::write(&path, &source.text)?;
            files.push((path, source));
        }
        // A process has one profile and one entry point.
        files.sort_by_key(|(_, source)| (source.profile, &source.entry));
        let batches: Vec<&[(PathBuf, &Source)]> = files
            .chunk_by(|(_, a), (_, b)| (a.profile, &a.entry) == (b.profile, &b.entry))
            .flat_map(|alike| alike.chunks(BATCH))
            .collect();
        let complaints = parallel::map(&batches, |batch| -> Result<Vec<String>> {
            if self.run(batch)?.is_none() {
                return Ok(Vec::new());
            }
            let mut found = Vec::new();
            for file in *batch {
                let said = self.run(std::slice::from_ref(file))?;
                found.extend(said.map(|said| format!("{}: {said}", file.1.name)));
            }
            ensure!(!found.is_empty(), "{} fails for files that it takes one by one", self.program.display());
            Ok(found)
        });
        Ok(complaints.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// The output for a batch that fails.
    fn run(&self, batch: &[(PathBuf, &Source)]) -> Result<Option<String>> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        if self.of_entry
            && let Some((_, source)) = batch.first()
        {
            command.args([source.profile, &source.entry]);
        }
        command.args(batch.iter().map(|(path, _)| path));
        let output = command.output().with_context(|| format!("{} cannot be run", self.program.display()))?;
        let said = [output.stdout, output.stderr].concat();
        Ok((!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned()))
    }
}
