//! Finding a tool chain that builds for the browser, and building.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const TARGET: &str = "wasm32-unknown-unknown";
/// Cargo's profile, in the workspace's `Cargo.toml`.
const PROFILE: &str = "browser";
/// The specialiser and the parser of expressions recurse; the default of 1 MiB is what native threads have at worst.
const STACK_BYTES: u32 = 4 << 20;

/// What builds for the browser.
enum Toolchain {
    /// The one in use, with the target installed.
    Current { cargo: String },
    /// Debian's packages: the standard library is built with the rest.
    Debian,
}

impl Toolchain {
    fn find() -> Result<Self> {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        if sysroot(&rustc).is_some_and(|root| root.join("lib/rustlib").join(TARGET).join("lib").is_dir()) {
            // Cargo names itself to what it runs.
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            return Ok(Self::Current { cargo });
        }
        let source = sysroot(DEBIAN_RUSTC)
            .is_some_and(|root| root.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file());
        if source && Path::new(DEBIAN_CARGO).is_file() {
            return Ok(Self::Debian);
        }
        bail!(
            "no tool chain here builds for {TARGET}. Either of these gets one:\n  \
             rustup target add {TARGET}\n  \
             apt-get install rustc-web cargo-web rust-web-src lld-22   (Debian)"
        )
    }

    fn cargo(&self) -> Command {
        match self {
            Self::Current { cargo } => Command::new(cargo),
            Self::Debian => {
                let mut command = Command::new(DEBIAN_CARGO);
                // A stable compiler that builds its own standard library has to be told that this is meant.
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command.env_remove("RUSTUP_TOOLCHAIN");
                command
            }
        }
    }

    /// What its commands have to be told.
    fn flags(&self) -> &[&str] {
        match self {
            Self::Current { .. } => &[],
            Self::Debian => &["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"],
        }
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Compiles `foveal-web`, and returns where the module lies.
pub(crate) fn compile(root: &Path, target: &Path) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    run(toolchain.cargo(), "build", toolchain.flags(), &[], root, target)?;
    Ok(target.join(TARGET).join(PROFILE).join("foveal_web.wasm"))
}

/// Runs clippy on `foveal-web` and on what it needs, as browsers get it; warnings are errors.
pub(crate) fn lint(root: &Path, target: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let mut command = toolchain.cargo();
    if matches!(toolchain, Toolchain::Debian) {
        if !Path::new(DEBIAN_CLIPPY).is_file() {
            bail!("there is no {DEBIAN_CLIPPY}: apt-get install rust-web-clippy");
        }
        // Cargo takes the first `cargo-clippy` of the path, which may be rustup's.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let first = Path::new(DEBIAN_CLIPPY).parent().map(Path::to_path_buf);
        command.env("PATH", std::env::join_paths(first.into_iter().chain(std::env::split_paths(&path)))?);
    }
    run(command, "clippy", toolchain.flags(), &["--", "-D", "warnings"], root, target)
}

fn run(
    mut command: Command,
    what: &str,
    flags: &[&str],
    more: &[&str],
    root: &Path,
    target: &Path,
) -> Result<()> {
    command
        .current_dir(root)
        .arg(what)
        .args(flags)
        .args(["--package", "foveal-web", "--profile", PROFILE, "--target", TARGET])
        .args(more)
        .env("CARGO_TARGET_DIR", target)
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
        );
    let status = command.status().with_context(|| format!("{command:?} could not be run"))?;
    if !status.success() {
        bail!("{what} failed for {TARGET}");
    }
    Ok(())
}
