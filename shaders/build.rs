//! Embeds every `.wgsl` file of the package's folders, so that adding a shader needs no list to be edited.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Folders of the package that hold Rust, not shaders.
const NOT_SHADERS: [&str; 3] = ["src", "tests", "target"];

fn main() -> io::Result<()> {
    // The whole package, because a new folder (a new operator) must be noticed too.
    println!("cargo:rerun-if-changed=.");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut files = Vec::new();
    for entry in fs::read_dir(&root)? {
        let path = entry?.path();
        let skipped = NOT_SHADERS.iter().any(|name| path.file_name().is_some_and(|n| n == *name));
        if path.is_dir() && !skipped {
            collect(&path, &mut files)?;
        }
    }
    files.sort();

    // A page loads every byte, and has no use for comments and indentation.
    let bare = env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm");
    let mut list = String::from("[\n");
    for file in &files {
        let relative = file.strip_prefix(&root).map_err(io::Error::other)?.with_extension("");
        let name: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        let name = name.join("/");
        let line = if bare {
            format!("    ({name:?}, {:?}),", without_comments(&fs::read_to_string(file)?))
        } else {
            format!("    ({name:?}, include_str!({file:?})),")
        };
        writeln!(list, "{line}").map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    fs::write(out.join("builtin.rs"), list)
}

/// WGSL without comments, indentation, empty lines and spaces beside brackets and separators. It has no strings that a comment's
/// sign could stand in.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    let mut bare = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    for sign in [',', ';', ':', '(', ')', '{', '}', '[', ']'] {
        bare = bare
            .replace(&format!(" {sign}"), &sign.to_string())
            .replace(&format!("{sign} "), &sign.to_string());
    }
    bare
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "wgsl") {
            files.push(path);
        }
    }
    Ok(())
}
