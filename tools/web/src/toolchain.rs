//! Finding a tool chain that builds for the browser, and building.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const TARGET: &str = "wasm32-unknown-unknown";
/// Cargo's profile, in the workspace's `Cargo.toml`.
const PROFILE: &str = "browser";
/// The specialiser and the parser of expressions recurse; the default of 1 MiB is what native threads have at worst.
const STACK_BYTES: u32 = 4 << 20;

/// A toolchain that builds for the browser.
struct Toolchain {
    source: Source,
    /// The linker, where rustc does not find its own.
    linker: Option<PathBuf>,
}

/// Where compiler and standard library come from.
enum Source {
    /// The ones in use, with the target installed.
    Current { cargo: String },
    /// Debian's packages: the standard library is built with the rest.
    Debian,
}

impl Toolchain {
    /// Looks for the compiler and for the linker: what a build would ask for last is missed first.
    fn find() -> Result<Self> {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        if let Some(root) =
            sysroot(&rustc).filter(|root| root.join("lib/rustlib").join(TARGET).join("lib").is_dir())
        {
            // Cargo names itself to what it runs.
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            return Ok(Self { source: Source::Current { cargo }, linker: linker(&root)? });
        }
        let source = sysroot(DEBIAN_RUSTC)
            .filter(|root| root.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file());
        if let Some(root) = source.filter(|_| Path::new(DEBIAN_CARGO).is_file()) {
            return Ok(Self { source: Source::Debian, linker: linker(&root)? });
        }
        bail!(
            "no tool chain here builds for {TARGET}. Either of these gets one:\n  \
             rustup target add {TARGET}\n  \
             apt-get install {DEBIAN_PACKAGES}   (Debian)"
        )
    }

    fn cargo(&self) -> Command {
        let mut command = match &self.source {
            Source::Current { cargo } => Command::new(cargo),
            Source::Debian => {
                let mut command = Command::new(DEBIAN_CARGO);
                // A stable compiler that builds its own standard library has to be told that this is meant.
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command.env_remove("RUSTUP_TOOLCHAIN");
                command
            }
        };
        if let Some(linker) = &self.linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }

    /// Options of its commands.
    fn flags(&self) -> &[&str] {
        match self.source {
            Source::Current { .. } => &[],
            Source::Debian => &["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"],
        }
    }
}

impl Toolchain {
    /// Options of its compiler, beside the usual ones. Where in its source something panicked, and the fields of
    /// structs, are nothing that a page can use, and cost tens of kilobytes; what went wrong is still said.
    fn rustflags(&self) -> &str {
        match self.source {
            Source::Current { .. } => "",
            Source::Debian => " -Zlocation-detail=none -Zfmt-debug=shallow",
        }
    }
}

const DEBIAN_PACKAGES: &str = "rustc-web cargo-web rust-web-src lld-22";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// A linker for WebAssembly: nothing if rustc finds its own `rust-lld`, else the first `wasm-ld` of the path, with or without a
/// version in its name.
fn linker(sysroot: &Path) -> Result<Option<PathBuf>> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
    let mut own = hosts.map(|host| host.path().join("bin/rust-lld"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if own.any(|file| is_program(&file)) || folders.iter().any(|folder| is_program(&folder.join("rust-lld")))
    {
        return Ok(None);
    }
    let mut others: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| is_wasm_ld(file) && is_program(file))
        .collect();
    others.sort();
    match others.into_iter().next_back() {
        Some(found) => Ok(Some(found)),
        None => bail!(
            "there is a compiler for {TARGET}, but no linker: neither rust-lld nor wasm-ld was found. Either of these gets one:\n  \
             apt-get install lld-22   (Debian, beside rustc-web)\n  \
             apt-get install lld"
        ),
    }
}

/// `rust-lld.exe` is one too.
fn is_program(file: &Path) -> bool {
    file.is_file() || file.with_extension(std::env::consts::EXE_EXTENSION).is_file()
}

/// Whether the file is `wasm-ld`, or `wasm-ld-` and a version.
fn is_wasm_ld(file: &Path) -> bool {
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(version) = name.strip_prefix("wasm-ld") else { return false };
    version.is_empty() || version.strip_prefix('-').is_some_and(|v| v.bytes().all(|b| b.is_ascii_digit()))
}

/// Says what building would use.
pub(crate) fn ready() -> Result<()> {
    let toolchain = Toolchain::find()?;
    let compiler = match &toolchain.source {
        Source::Current { cargo } => cargo,
        Source::Debian => DEBIAN_RUSTC,
    };
    let linker = toolchain.linker.as_deref().unwrap_or(Path::new("rust-lld"));
    println!("compiler  {compiler}\nlinker    {}", linker.display());
    Ok(())
}

/// Compiles `foveal-web`, and returns where the module lies.
pub(crate) fn compile(root: &Path, target: &Path) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    run(&toolchain, toolchain.cargo(), "build", &[], root, target)?;
    Ok(target.join(TARGET).join(PROFILE).join("foveal_web.wasm"))
}

/// Runs clippy on `foveal-web` and on what it needs, as browsers get it; warnings are errors.
pub(crate) fn lint(root: &Path, target: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let mut command = toolchain.cargo();
    if matches!(toolchain.source, Source::Debian) {
        if !Path::new(DEBIAN_CLIPPY).is_file() {
            bail!("there is no {DEBIAN_CLIPPY}: apt-get install rust-web-clippy");
        }
        // Cargo takes the first `cargo-clippy` of the path, which may be rustup's.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let first = Path::new(DEBIAN_CLIPPY).parent().map(Path::to_path_buf);
        command.env("PATH", std::env::join_paths(first.into_iter().chain(std::env::split_paths(&path)))?);
    }
    run(&toolchain, command, "clippy", &["--", "-D", "warnings"], root, target)
}

fn run(
    toolchain: &Toolchain,
    mut command: Command,
    what: &str,
    more: &[&str],
    root: &Path,
    target: &Path,
) -> Result<()> {
    command
        .current_dir(root)
        .arg(what)
        .args(toolchain.flags())
        .args(["--package", "foveal-web", "--profile", PROFILE, "--target", TARGET])
        .args(more)
        .env("CARGO_TARGET_DIR", target)
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            format!("-Clink-arg=-zstack-size={STACK_BYTES}{}", toolchain.rustflags()),
        );
    let status = command.status().with_context(|| format!("{command:?} could not be run"))?;
    if !status.success() {
        bail!("{what} failed for {TARGET}");
    }
    Ok(())
}
