//! Links of the Markdown files: targets and anchors exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use foveal_kernels::operators;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                documents(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(())
}

/// The lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

/// The targets of `[text](target)` and `![text](target)`.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Every second part is a code span, but link texts may be code: those keep their brackets.
        let plain: String = line.split('`').step_by(2).collect();
        let targets = plain.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(str::to_owned));
    }
    found
}

#[test]
fn links_lead_somewhere() -> Result<()> {
    let mut paths = Vec::new();
    documents(&root(), &mut paths)?;
    let mut checked = 0;
    for path in &paths {
        let text = std::fs::read_to_string(path)?;
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').map_or((&*link, None), |(file, at)| (file, Some(at)));
            let target = match file {
                "" => path.clone(),
                file => path.parent().context("a file without folder")?.join(file),
            };
            ensure!(target.exists(), "{} links to {file}, which does not exist", path.display());
            if let Some(anchor) = anchor {
                let known = anchors(&std::fs::read_to_string(&target)?);
                let message = format!("{} links to #{anchor} of {}", path.display(), target.display());
                ensure!(known.contains(anchor), "{message}, which has {known:?}");
            }
            checked += 1;
        }
    }
    ensure!(checked > 0, "no link in {} files", paths.len());
    Ok(())
}

#[test]
fn rust_examples_are_compiled() -> Result<()> {
    let mut paths = Vec::new();
    documents(&root(), &mut paths)?;
    let engine = std::fs::read_to_string(root().join("crates/engine/src/lib.rs"))?;
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        let name = path.strip_prefix(root())?.display().to_string().replace('\\', "/");
        ensure!(!text.contains("```rust,ignore"), "{name}: its examples are not compiled");
        if text.contains("```rust") {
            ensure!(
                engine.contains(&format!("/{name}\")]")),
                "{name}: the engine's doc tests do not include it"
            );
        }
    }
    Ok(())
}

#[test]
fn operators_are_documented() -> Result<()> {
    let text = std::fs::read_to_string(root().join("docs/OPERATORS.md"))?;
    for operator in operators() {
        for option in operator.options() {
            let name = option.name;
            ensure!(text.contains(&format!("`{name}`")), "docs/OPERATORS.md lacks the option {name}");
        }
        for recipe in operator.recipes() {
            let (source, name) = (recipe.source, recipe.name);
            let row = format!("| {source} | `{name}` |");
            ensure!(text.contains(&row), "docs/OPERATORS.md lacks a row that begins with {row}");
        }
    }
    Ok(())
}

#[test]
fn headings_become_anchors() {
    let found = anchors("# What's new, in 3 `parts`?\n## A\n## A\n```\n# no heading\n```\n");
    let expected = ["whats-new-in-3-parts", "a", "a-1"];
    assert_eq!(found, expected.into_iter().map(str::to_owned).collect());
    assert_eq!(links("see [a](x.md#y), `[b](z)` and ![c](p.png)\n"), ["x.md#y", "p.png"]);
}

/// The table of folders in ARCHITECTURE.md has all of them, and no other.
#[test]
fn the_tree_in_architecture_is_the_tree() -> Result<()> {
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md"))?;
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let folders =
        rows.filter_map(|line| line.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let stated: BTreeSet<String> = folders.map(str::to_owned).collect();
    let mut found = BTreeSet::new();
    for parent in ["crates/kernels/src", "crates/engine/src", "crates/cli/src", "shaders"] {
        for entry in std::fs::read_dir(root().join(parent))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !["tests", "target"].contains(&name.as_str()) {
                found.insert(format!("{parent}/{name}/"));
            }
        }
    }
    let missing: Vec<&String> = found.iter().filter(|folder| !stated.contains(*folder)).collect();
    ensure!(missing.is_empty(), "ARCHITECTURE.md says nothing of {missing:?}");
    let parents = ["crates/kernels/src/", "crates/engine/src/", "crates/cli/src/", "shaders/"];
    let of_parents =
        |folder: &&String| parents.iter().any(|parent| folder.starts_with(parent) && folder != parent);
    let gone: Vec<&String> =
        stated.iter().filter(of_parents).filter(|folder| !found.contains(*folder)).collect();
    ensure!(gone.is_empty(), "ARCHITECTURE.md has {gone:?}, which are not there");
    Ok(())
}
