//! The modules that can be specialised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, ErrorKind, suggestion};
use crate::source::{KERNEL, Parsed, Source};

/// Shader modules by path, such as `attention/tiled` or `shared/online_softmax`.
///
/// Modules are parsed when first used and then kept; libraries made from one another share them.
#[derive(Clone, Debug, Default)]
pub struct Library {
    modules: BTreeMap<String, Arc<Source>>,
}

/// Path and text of every `.wgsl` file of the package.
const BUILTIN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

impl Library {
    /// The modules that come with Foveal: every `.wgsl` file of the package's folders.
    pub fn builtin() -> &'static Self {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        LIBRARY.get_or_init(|| Self {
            modules: BUILTIN
                .iter()
                .map(|(name, text)| ((*name).into(), Arc::new(Source::new(*name, *text))))
                .collect(),
        })
    }

    /// A library without modules.
    pub fn empty() -> Self {
        Self::default()
    }

    /// This library and more modules, as (path, text). Tests register kernels that are wrong on purpose this way.
    ///
    /// # Errors
    ///
    /// A path that is not names joined by `/`, or that this library has already; text that is not WGSL.
    pub fn with_modules(&self, extra: &[(&str, &str)]) -> Result<Self, Error> {
        let mut library = self.clone();
        for (name, text) in extra {
            if !is_module_path(name) {
                let message = "a module's path is names joined by `/`, such as `attention/tiled`";
                return Err(Error::new(ErrorKind::Syntax, name, None, message));
            }
            let source = Arc::new(Source::new(*name, (*text).to_owned()));
            source.parsed()?;
            if library.modules.insert((*name).to_owned(), source).is_some() {
                return Err(Error::new(
                    ErrorKind::Clash,
                    name,
                    None,
                    "the library has a module of this path already",
                ));
            }
        }
        Ok(library)
    }

    /// The paths of all modules, sorted.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// The text of a module as it was written, if the library has it.
    pub fn source(&self, module: &str) -> Option<&str> {
        self.modules.get(module).map(|source| source.text())
    }

    /// Whether the module has an entry point of its own, so that it can be specialised into a kernel.
    ///
    /// # Errors
    ///
    /// An unknown module, or one that does not parse.
    pub fn has_entry(&self, module: &str) -> Result<bool, Error> {
        Ok(self.get(module)?.parsed()?.entry_points().next().is_some())
    }

    /// The paths that a module and its imports import and that no module has, sorted. Such a path is a *role*: a request
    /// fills it with [`Request::replace`](crate::Request::replace), with one of the modules that [`Self::fillers`] lists.
    ///
    /// # Errors
    ///
    /// An unknown module, or modules that do not parse.
    pub fn roles(&self, module: &str) -> Result<Vec<String>, Error> {
        let mut open = vec![self.get(module)?];
        let mut seen = BTreeSet::from([module]);
        let mut roles = BTreeSet::new();
        while let Some(source) = open.pop() {
            for imported in &source.parsed()?.imports {
                let path = imported.module.as_str();
                match self.modules.get(path) {
                    Some(source) if seen.insert(path) => open.push(source),
                    Some(_) => {}
                    None if path == KERNEL => {}
                    None => {
                        roles.insert(path.to_owned());
                    }
                }
            }
        }
        Ok(roles.into_iter().collect())
    }

    /// The modules that fill the role `path` by the convention of names: `shared/inputs_f32` and `shared/inputs_f16` fill
    /// `shared/inputs`. Whether one declares what a certain kernel imports is found when that is linked.
    pub fn fillers<'l>(&'l self, path: &'l str) -> impl Iterator<Item = &'l str> {
        self.modules()
            .filter(move |module| module.strip_prefix(path).is_some_and(|rest| rest.starts_with('_')))
    }

    /// The module of this path.
    pub(crate) fn get(&self, module: &str) -> Result<&Source, Error> {
        self.modules.get(module).map(|source| &**source).ok_or_else(|| {
            let message = format!("there is no such module{}", suggestion(module, self.modules()));
            Error::new(ErrorKind::Unresolved, module, None, message)
        })
    }

    /// The module `path`, as imported by `importer`.
    pub(crate) fn import(&self, path: &str, importer: &str) -> Result<(&Source, &Parsed), Error> {
        let Some(source) = self.modules.get(path) else {
            let fillers: Vec<_> = self.fillers(path).collect();
            let message = if fillers.is_empty() {
                format!("imports the unknown module `{path}`{}", suggestion(path, self.modules()))
            } else {
                format!("imports `{path}`, which the request must replace with one of {}", fillers.join(", "))
            };
            return Err(Error::new(ErrorKind::Unresolved, importer, None, message));
        };
        Ok((source, source.parsed()?))
    }
}

fn is_module_path(path: &str) -> bool {
    path.split('/').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}
