//! Builds and serves Foveal's browser package.
//!
//! `foveal-web-tool build` makes `target/web/package`, which `npm pack` takes as it is, and `target/web/site`, the page with the
//! package beside it. `foveal-web-tool serve` shows the site on this machine.

mod files;
mod package;
mod serve;
mod toolchain;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Builds and serves Foveal's browser package", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the package and the site.
    Build,
    /// Runs clippy for browsers on the package's crate and what it needs.
    Lint,
    /// Says what building would use, or fails and says what is missing.
    Ready,
    /// Serves the site on 127.0.0.1.
    Serve {
        /// The port; 0 takes a free one.
        #[arg(long, default_value_t = 8017)]
        port: u16,
    },
}

fn main() -> Result<()> {
    let places = Places::find()?;
    match Arguments::parse().command {
        Command::Build => package::build(&places),
        Command::Lint => toolchain::lint(&places.root, &places.target),
        Command::Ready => toolchain::ready(),
        Command::Serve { port } => serve::serve(&places.site(), port),
    }
}

/// Where things lie.
struct Places {
    /// The repository.
    root: PathBuf,
    /// Cargo's target directory.
    target: PathBuf,
}

impl Places {
    fn find() -> Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().context("the repository that this tool was built in is gone")?;
        let target = std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
        let target = target.map_or_else(|| root.join("target"), PathBuf::from);
        let target = std::path::absolute(target)?;
        Ok(Self { root, target })
    }

    fn package(&self) -> PathBuf {
        self.target.join("web/package")
    }

    fn site(&self) -> PathBuf {
        self.target.join("web/site")
    }
}
