//! The files of a crate and those they use: no circles, so that a file can be understood after those; and references apart from plans.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use petgraph::visit::Dfs;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

/// A path from the crate's root; of a module, or of something in it.
type Name = Vec<String>;

/// The paths that a file's code mentions, tests aside.
#[derive(Default)]
struct Mentions {
    /// Of `use` declarations, with the name that is bound, and whether others may use it from here.
    imports: Vec<(Name, String, bool)>,
    paths: Vec<Name>,
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl Mentions {
    fn import(&mut self, tree: &UseTree, prefix: &[String], public: bool) {
        let with = |last: &syn::Ident| [prefix, &[last.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident), public),
            UseTree::Name(name) if name.ident == "self" => {
                let bound = prefix.last().cloned().unwrap_or_default();
                self.imports.push((prefix.to_vec(), bound, public));
            }
            UseTree::Name(name) => self.imports.push((with(&name.ident), name.ident.to_string(), public)),
            UseTree::Rename(name) => self.imports.push((with(&name.ident), name.rename.to_string(), public)),
            UseTree::Glob(_) => self.imports.push((prefix.to_vec(), String::new(), public)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, prefix, public)),
        }
    }
}

impl Visit<'_> for Mentions {
    fn visit_item(&mut self, item: &Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    /// `pub(super)` uses nothing.
    fn visit_visibility(&mut self, _: &Visibility) {}

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.import(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

/// A crate's files by the modules that they hold.
struct Crate {
    files: BTreeMap<Name, Mentions>,
}

impl Crate {
    fn parse(texts: &[(Name, String)]) -> Result<Self> {
        let parsed = |(name, text): &(Name, String)| {
            let mut mentions = Mentions::default();
            mentions.visit_file(&syn::parse_file(text).with_context(|| name.join("::"))?);
            Ok((name.clone(), mentions))
        };
        Ok(Self { files: texts.iter().map(parsed).collect::<Result<_>>()? })
    }

    /// A path that a file mentions, from the root; nothing if it leads out of the crate.
    fn absolute(&self, file: &[String], path: &[String]) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([file, rest].concat()),
            "super" => {
                let parent = file.split_last()?.1;
                if rest.first().is_some_and(|next| next == "super") {
                    return self.absolute(parent, rest);
                }
                Some([parent, rest].concat())
            }
            _ => {
                let child = [file, path].concat();
                self.files.contains_key(&child[..=file.len()]).then_some(child)
            }
        }
    }

    /// The file in which a path's last name is declared: re-exports are followed.
    fn declared_in(&self, path: &[String], depth: usize) -> Option<&Name> {
        let found = (0..=path.len()).rev().find_map(|end| self.files.get_key_value(&path[..end]));
        let (file, mentions) = found?;
        let next = path.get(file.len());
        let exported = mentions.imports.iter().filter(|(.., public)| *public);
        let from = exported
            .filter(|(_, bound, _)| Some(bound) == next)
            .find_map(|(from, ..)| self.absolute(file, from));
        match from {
            Some(from) if depth < 8 => {
                self.declared_in(&[&from, &path[file.len() + 1..]].concat(), depth + 1)
            }
            _ => Some(file),
        }
    }

    /// The files, with an edge from each to every one that it uses.
    fn graph(&self) -> DiGraphMap<&Name, ()> {
        let mut graph = DiGraphMap::<&Name, ()>::new();
        for (file, mentions) in &self.files {
            let private = mentions.imports.iter().filter(|(.., public)| !public).map(|(path, ..)| path);
            for path in private.chain(&mentions.paths) {
                let used = self.absolute(file, path).and_then(|path| self.declared_in(&path, 0));
                if let Some(used) = used.filter(|used| *used != file) {
                    graph.add_edge(file, used, ());
                }
            }
        }
        graph
    }

    /// Sets of files that use each other, directly or through others.
    fn circles(&self) -> Vec<BTreeSet<String>> {
        let circles = tarjan_scc(&self.graph()).into_iter().filter(|files| files.len() > 1);
        circles.map(|files| files.into_iter().map(|file| file.join("::")).collect()).collect()
    }
}

/// The files below a crate's `src`.
fn read(folder: &Path, module: &[String], found: &mut Vec<(Name, String)>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let inner = [module, std::slice::from_ref(&stem)].concat();
        if path.is_dir() {
            read(&path, &inner, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = if ["lib", "main", "mod"].contains(&stem.as_str()) { module.to_vec() } else { inner };
            found.push((name, std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// The files of a folder's crate.
fn parsed(folder: &str) -> Result<Crate> {
    let mut texts = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("src"), &[], &mut texts)?;
    Crate::parse(&texts)
}

#[test]
fn files_do_not_import_each_other_in_circles() -> Result<()> {
    for folder in ["shaders", "crates/kernels", "crates/engine", "crates/cli", "crates/web"] {
        let circles = parsed(folder)?.circles();
        ensure!(circles.is_empty(), "{folder}: these files use each other: {circles:#?}");
    }
    Ok(())
}

/// A reference shares with the kernels what expressions mean, and nothing of how they are planned.
#[test]
fn references_reach_no_plans() -> Result<()> {
    let kernels = parsed("crates/kernels")?;
    let graph = kernels.graph();
    let references: Vec<&Name> = kernels
        .files
        .keys()
        .filter(|file| file.len() == 2 && file[1] == "reference" && file[0] != "check")
        .collect();
    ensure!(references.len() == foveal_kernels::operators().len(), "references of {references:?}");
    for reference in references {
        let mut reached = Dfs::new(&graph, reference);
        while let Some(file) = reached.next(&graph) {
            // The language has plans of its own: how bounds over blocks are worked out.
            let planned = file.iter().any(|part| part == "plan") && file[0] != "expr";
            ensure!(!planned, "{} reaches {}", reference.join("::"), file.join("::"));
        }
    }
    Ok(())
}

#[test]
fn a_circle_through_a_re_export_is_found() -> Result<()> {
    let text = |name: &str, text: &str| {
        let name = name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        (name, text.to_owned())
    };
    let root = text("", "mod a; mod b; pub use a::inner::A;");
    let inner = |uses: &str| text("a::inner", &format!("{uses} pub struct A;"));
    let a = text("a", "pub mod inner;");
    let b = text("b", "use crate::A; pub fn b() {}");
    let found = |inner| Crate::parse(&[root.clone(), a.clone(), inner, b.clone()]).map(|all| all.circles());
    let both = BTreeSet::from(["a::inner".to_owned(), "b".to_owned()]);
    assert_eq!(found(inner("use super::super::b::b;"))?, std::slice::from_ref(&both));
    assert_eq!(found(inner("fn f() { crate::b::b() }"))?, [both]);
    assert!(found(inner("use std::fmt;"))?.is_empty());
    assert!(found(inner("#[cfg(test)] mod tests { use crate::b::b; }"))?.is_empty());
    Ok(())
}
