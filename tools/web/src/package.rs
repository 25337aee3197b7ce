//! The package and the site.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use wasm_bindgen_cli_support::Bindgen;

use crate::{Places, files, toolchain};

/// The bar of a page's download: gzipped, as servers send it.
const MOST_WASM_BYTES: usize = 800_000;
const MOST_PACKAGE_BYTES: usize = 1 << 20;

const MODULE: &str = "foveal_web";

/// Builds everything.
pub(crate) fn build(places: &Places) -> Result<()> {
    let wasm = toolchain::compile(&places.root, &places.target)?;
    let web = places.target.join("web");
    fs::create_dir_all(&web)?;

    let fresh = tempfile::Builder::new().prefix("package.").tempdir_in(&web)?;
    fill(places, &wasm, fresh.path())?;
    let (wasm_bytes, package_bytes) = sizes(fresh.path())?;
    files::replace(&fresh.keep(), &places.package())?;

    let site = tempfile::Builder::new().prefix("site.").tempdir_in(&web)?;
    files::copy(&places.root.join("crates/web/demo"), site.path())?;
    let sample = places.root.join("crates/cli/data/sample.safetensors");
    fs::copy(&sample, site.path().join("sample.safetensors"))
        .with_context(|| format!("{} is missing", sample.display()))?;
    files::copy(&places.package(), &site.path().join("package"))?;
    files::replace(&site.keep(), &places.site())?;
    println!("package   {}\nsite      {}", places.package().display(), places.site().display());

    ensure!(
        wasm_bytes <= MOST_WASM_BYTES,
        "the module is {wasm_bytes} bytes gzipped, at most {MOST_WASM_BYTES} are wanted"
    );
    ensure!(
        package_bytes <= MOST_PACKAGE_BYTES,
        "the package is {package_bytes} bytes gzipped, at most {MOST_PACKAGE_BYTES} are wanted"
    );
    Ok(())
}

// `wasm-opt -Oz` is left out: by version 132 the module is 12 % smaller but 4 % larger gzipped, and makes a mask's picture 13 % slower.
fn fill(places: &Places, wasm: &Path, folder: &Path) -> Result<()> {
    Bindgen::new()
        .input_path(wasm)
        .out_name(MODULE)
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
        .context("wasm-bindgen failed")?;
    let web = places.root.join("crates/web");
    for (from, name) in [
        (web.join("js/foveal.js"), "foveal.js"),
        (web.join("js/errors.js"), "errors.js"),
        (web.join("js/kernels.js"), "kernels.js"),
        (web.join("js/module.js"), "module.js"),
        (web.join("js/tensors.js"), "tensors.js"),
        (web.join("js/values.js"), "values.js"),
        (web.join("js/foveal.d.ts"), "foveal.d.ts"),
        (web.join("js/options.d.ts"), "options.d.ts"),
        (web.join("README.md"), "README.md"),
        (places.root.join("LICENSE-APACHE"), "LICENSE-APACHE"),
        (places.root.join("LICENSE-MIT"), "LICENSE-MIT"),
    ] {
        fs::copy(&from, folder.join(name)).with_context(|| format!("{} is missing", from.display()))?;
    }
    fs::write(folder.join("package.json"), manifest()?)?;
    Ok(())
}

/// `package.json`, of the workspace's version.
fn manifest() -> Result<String> {
    let names = [
        "foveal.js",
        "errors.js",
        "kernels.js",
        "module.js",
        "tensors.js",
        "values.js",
        "foveal.d.ts",
        "options.d.ts",
        "foveal_web.js",
        "foveal_web_bg.wasm",
        "LICENSE-APACHE",
        "LICENSE-MIT",
    ];
    let manifest = json!({
        "name": "foveal",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Attention, linear attention and block-sparse masks on WebGPU, right on this adapter or an error",
        "keywords": ["webgpu", "attention", "linear-attention", "wasm"],
        "license": env!("CARGO_PKG_LICENSE"),
        "repository": { "type": "git", "url": format!("git+{}.git", env!("CARGO_PKG_REPOSITORY")) },
        "type": "module",
        "main": "foveal.js",
        "types": "foveal.d.ts",
        "exports": {
            ".": { "types": "./foveal.d.ts", "default": "./foveal.js" },
            "./foveal_web_bg.wasm": "./foveal_web_bg.wasm",
        },
        "files": names,
        "sideEffects": false,
    });
    Ok(serde_json::to_string_pretty(&manifest)? + "\n")
}

/// Prints the files' sizes, and returns the gzipped ones of the module and of all.
fn sizes(folder: &Path) -> Result<(usize, usize)> {
    let mut names: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    let (mut module, mut all, mut all_raw) = (None, 0, 0);
    for entry in names {
        if entry.file_type()?.is_dir() {
            bail!("the package has a folder, {}", entry.path().display());
        }
        let bytes = fs::read(entry.path())?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes)?;
        let packed = encoder.finish()?.len();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        println!("{:>9} bytes, {packed:>7} gzipped  {name}", bytes.len());
        if name.ends_with(".wasm") {
            module = Some(packed);
        }
        all += packed;
        all_raw += bytes.len();
    }
    println!("{all_raw:>9} bytes, {all:>7} gzipped  together");
    Ok((module.context("the package has no module")?, all))
}
