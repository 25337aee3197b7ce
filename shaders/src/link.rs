//! Linking: from a root module to the set of all items that it may use.

use rustc_hash::{FxHashMap, FxHashSet};

use wgsl_parse::syntax::{Function, GlobalDeclaration, GlobalDeclarationNode};

use crate::error::{Error, ErrorKind, suggestion};
use crate::library::Library;
use crate::request::Request;
use crate::source::{KERNEL, Parsed, Source};

/// The modules of one request and their items.
///
/// Names are global: an item has one name everywhere, so any module's text can be moved next to any other's. An import
/// says where a name comes from; import cycles are fine, because WGSL declarations may stand in any order.
pub(crate) struct Linked<'l> {
    /// In the order of the output: what is imported first, then hooks, then the root.
    pub(crate) files: Vec<File<'l>>,
    pub(crate) items: FxHashMap<&'l str, Item<'l>>,
}

pub(crate) struct File<'l> {
    pub(crate) source: &'l Source,
    pub(crate) parsed: &'l Parsed,
    is_hook: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Item<'l> {
    /// Index in [`Linked::files`].
    pub(crate) file: usize,
    pub(crate) global: &'l GlobalDeclarationNode,
}

/// The texts of a request's hooks, as modules of their own.
pub(crate) fn hook_sources(request: &Request) -> Result<Vec<Source>, Error> {
    let mut names = FxHashSet::default();
    for (name, _) in &request.hooks {
        if !names.insert(name) {
            return Err(Error::new(
                ErrorKind::Hook,
                &request.module,
                None,
                format!("the hook `{name}` is given twice"),
            ));
        }
    }
    Ok(request.hooks.iter().map(|(name, text)| Source::new(format!("hook {name}"), text.clone())).collect())
}

impl<'l> Linked<'l> {
    /// Links `request.module`. `hooks` are the sources of `request.hooks`, in the same order.
    pub(crate) fn new(library: &'l Library, request: &Request, hooks: &'l [Source]) -> Result<Self, Error> {
        let root = library.get(&request.module)?;
        let replacements = replacements(library, request)?;
        let mut unused: FxHashSet<&str> = replacements.keys().copied().collect();

        // Breadth first; reversed afterwards, so that the root comes last.
        let mut files = vec![File { source: root, parsed: root.parsed()?, is_hook: false }];
        for hook in hooks {
            files.push(File { source: hook, parsed: hook.parsed()?, is_hook: true });
        }
        let mut seen: FxHashSet<&str> = [root.name()].into_iter().collect();
        let mut next = 0;
        while let Some(file) = files.get(next) {
            next += 1;
            let importer = file.source;
            for imported in &file.parsed.imports {
                let path = imported.module.as_str();
                unused.remove(path);
                let target = match replacements.get(path) {
                    Some(replacement) => replacement,
                    None if path == KERNEL => root.name(),
                    None => path,
                };
                let (source, parsed) = library.import(target, importer.name())?;
                let item = &imported.item;
                // A module passes on what it imports: `check_imports` sees that some module declares it.
                let passes_on = parsed.imports.iter().any(|i| i.item == *item && i.module != KERNEL);
                if !passes_on && !parsed.items.contains_key(item) {
                    let instead =
                        if target == path { String::new() } else { format!(" (in place of `{path}`)") };
                    let hint = suggestion(item, parsed.items.keys().map(String::as_str));
                    let message =
                        format!("imports `{item}`, which `{target}`{instead} does not declare{hint}");
                    return Err(Error::new(ErrorKind::Unresolved, importer.name(), None, message));
                }
                if seen.insert(source.name()) {
                    files.push(File { source, parsed, is_hook: false });
                }
            }
        }
        if let Some(path) = unused.into_iter().min() {
            let hint = suggestion(path, seen.iter().copied());
            let message = format!("`{path}` is to be replaced, but nothing imports it{hint}");
            return Err(Error::new(ErrorKind::Unresolved, &request.module, None, message));
        }
        files.reverse();

        let mut linked = Self { files, items: FxHashMap::default() };
        linked.collect_items()?;
        linked.place_hooks(request)?;
        linked.check_imports()?;
        Ok(linked)
    }

    pub(crate) fn root(&self) -> &File<'l> {
        // `new` puts the root last and never makes an empty list.
        &self.files[self.files.len() - 1]
    }

    pub(crate) fn global(&self, name: &str) -> Option<&'l GlobalDeclaration> {
        self.items.get(name).map(|item| item.global.node())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'l str> {
        self.items.keys().copied()
    }

    fn collect_items(&mut self) -> Result<(), Error> {
        for (file, File { source, parsed, is_hook }) in self.files.iter().enumerate() {
            // In the order of the file, so that of several clashes the first is reported.
            let mut names: Vec<_> = parsed.items.iter().collect();
            names.sort_unstable_by_key(|(_, index)| **index);
            for (name, index) in names {
                // The hook's own function waits for `place_hooks`.
                if *is_hook && source.name().strip_prefix("hook ") == Some(name) {
                    continue;
                }
                let global = &parsed.unit.global_declarations[*index];
                if let Some(other) = self.items.insert(name, Item { file, global }) {
                    let first = self.files[other.file].source;
                    let message = format!(
                        "`{name}` is declared in `{}` (line {}) too; linked modules share one set of names",
                        first.name(),
                        first.line(other.global.span())
                    );
                    return Err(source.error(ErrorKind::Clash, global.span(), message));
                }
            }
        }
        Ok(())
    }

    /// Puts the hooks' functions in place of those of the modules.
    fn place_hooks(&mut self, request: &Request) -> Result<(), Error> {
        for (name, _) in &request.hooks {
            let module = self.root().source.name();
            let fail = |message: String| Error::new(ErrorKind::Hook, &format!("hook {name}"), None, message);
            let old = match self.global(name) {
                Some(GlobalDeclaration::Function(old)) if name.starts_with("hook_") => old,
                _ => {
                    let hooks = self.names().filter(|n| n.starts_with("hook_"));
                    let hint = suggestion(name, hooks);
                    return Err(fail(format!(
                        "`{module}` and its imports have no function of this name that begins with `hook_`{hint}"
                    )));
                }
            };
            let place = |(file, f): (usize, &File<'l>)| {
                if !f.is_hook || f.source.name().strip_prefix("hook ") != Some(name) {
                    return None;
                }
                let global = &f.parsed.unit.global_declarations[*f.parsed.items.get(name)?];
                Some(Item { file, global })
            };
            let item = self.files.iter().enumerate().find_map(place);
            let (Some(item), Some(GlobalDeclaration::Function(new))) = (item, item.map(|i| i.global.node()))
            else {
                return Err(fail(format!("the text declares no function `{name}`")));
            };
            if signature(old) != signature(new) {
                return Err(fail(format!("expected `fn{}`, found `fn{}`", signature(old), signature(new))));
            }
            if let Some(slot) = self.items.get_mut(name.as_str()) {
                *slot = item;
            }
        }
        Ok(())
    }

    /// Checks that every module imports what it uses, so that a reader can tell from a file where its names come from.
    fn check_imports(&self) -> Result<(), Error> {
        for (file, File { source, parsed, is_hook }) in self.files.iter().enumerate() {
            if *is_hook {
                continue;
            }
            let imported: FxHashSet<&str> = parsed.imports.iter().map(|i| i.item.as_str()).collect();
            if let Some(i) = parsed.imports.iter().find(|i| !self.items.contains_key(i.item.as_str())) {
                let message = format!(
                    "imports `{}` of `{}`, which only passes it on: no module declares it",
                    i.item, i.module
                );
                return Err(Error::new(ErrorKind::Unresolved, source.name(), None, message));
            }
            let missing = parsed.foreign.iter().filter_map(|(name, span)| {
                let item = self.items.get(name.as_str())?;
                (item.file != file && !imported.contains(name.as_str())).then_some((span.start, name, item))
            });
            if let Some((start, name, item)) = missing.min_by_key(|(start, ..)| *start) {
                let from = self.files[item.file].source.name();
                let message = format!("uses `{name}` of `{from}` without importing it");
                return Err(source.error(ErrorKind::Unresolved, (start..start).into(), message));
            }
        }
        Ok(())
    }
}

/// The request's replacements. The replaced module need not exist: a path may be a mere slot for one of several
/// modules.
fn replacements<'r>(library: &Library, request: &'r Request) -> Result<FxHashMap<&'r str, &'r str>, Error> {
    let mut map = FxHashMap::default();
    for (from, to) in &request.replace {
        library.get(to)?;
        if map.insert(from.as_str(), to.as_str()).is_some() {
            let message = format!("`{from}` is replaced twice");
            return Err(Error::new(ErrorKind::Clash, &request.module, None, message));
        }
    }
    Ok(map)
}

/// Parameter types and return type as text: what callers depend on.
fn signature(function: &Function) -> String {
    let types: Vec<_> = function.parameters.iter().map(|p| p.ty.to_string()).collect();
    let result = function.return_type.as_ref().map(|ty| format!(" -> {ty}")).unwrap_or_default();
    format!("({}){result}", types.join(", "))
}
