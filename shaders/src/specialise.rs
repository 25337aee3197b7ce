//! From a request to final text: the order of the passes.

use rustc_hash::{FxHashMap, FxHashSet};
use std::fmt::Write as _;

use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    Attribute, Attributes, BuiltinValue, GlobalDeclaration, GlobalDirective, Ident, LiteralExpression,
};

use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::library::Library;
use crate::link::{Linked, hook_sources};
use crate::print::Printer;
use crate::reflect::{Interface, is_f16_type, is_matrix_of_subgroup, is_subgroup_function};
use crate::request::{Request, Target, Tunable};
use crate::tree::{self, Mention, global_ident};
use crate::tunables;

/// A kernel's final text, and what it needs from its host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Specialised {
    /// WGSL: the `enable` lines that the target needs, the root file's leading comment, a line that names the request, and
    /// the declarations that the entry point reaches.
    pub text: String,
    /// Bindings, workgroup size and features.
    pub interface: Interface,
    /// The function-scope arrays that are still arrays, as `function.variable`: their index is not constant, or they are
    /// passed or assigned whole. Drivers tend to spill these, so a kernel's test can demand that there are none.
    pub arrays_left: Vec<String>,
}

impl Library {
    /// The tunables of a module and of all that it imports, sorted by name.
    ///
    /// # Errors
    ///
    /// An unknown module, or modules that do not parse or link.
    pub fn tunables(&self, module: &str) -> Result<Vec<Tunable>, Error> {
        self.tunables_of(&Request::new(module))
    }

    /// The tunables that this request could set, sorted by name: those of [`Self::tunables`] after its replacements.
    ///
    /// # Errors
    ///
    /// As [`Self::tunables`], and replacements or hooks that do not fit.
    pub fn tunables_of(&self, request: &Request) -> Result<Vec<Tunable>, Error> {
        let hooks = hook_sources(request)?;
        Ok(tunables::list(&Linked::new(self, request, &hooks)?))
    }

    /// The final text of a kernel, and what it needs from its host.
    ///
    /// # Errors
    ///
    /// Any fault of the request or of the modules that it reaches; see [`ErrorKind`]. The text is not type-checked:
    /// that is the shader compiler's part.
    pub fn specialise(&self, request: &Request) -> Result<Specialised, Error> {
        let hooks = hook_sources(request)?;
        let linked = Linked::new(self, request, &hooks)?;
        let root = linked.root();
        let mut entries = root.parsed.entry_points();
        let (entry, entry_span) = match (entries.next(), entries.next()) {
            (Some(entry), None) => entry,
            (None, _) => {
                return Err(Error::new(
                    ErrorKind::Interface,
                    root.source.name(),
                    None,
                    "the module has no `@compute` entry point",
                ));
            }
            (Some((first, _)), Some((second, span))) => {
                let message = format!(
                    "a module has one entry point; this one has `{}` and `{}`",
                    first.ident, second.ident
                );
                return Err(root.source.error(ErrorKind::Interface, span, message));
            }
        };
        let entry_name = entry.ident.to_string();
        let mut cx = Context::new(&linked, tunables::settings(&linked, request)?, request.unroll);
        cx.evaluate_constants()?;
        let reached = Reached::from(&mut cx, [entry_name.clone()])?;

        let (bindings, workgroup_bytes) = cx.resources(&reached.globals)?;
        cx.file = linked.files.len() - 1;
        let workgroup_size = cx.workgroup_size(&entry.attributes, entry_span)?;
        let interface = Interface {
            entry: entry_name,
            workgroup_size,
            workgroup_bytes,
            bindings,
            uses_subgroups: reached.uses_subgroups,
            uses_f16: reached.uses_f16,
            uses_matrices: reached.uses_matrices,
        };
        let text = reached.print(&linked, request)?;
        Ok(Specialised { text, interface, arrays_left: reached.arrays_left })
    }

    /// The final text of everything that a module declares, entry point or not, with what it uses; functions that take
    /// pointers to storage are only in their callers. For checking modules that other modules import.
    ///
    /// # Errors
    ///
    /// As [`Self::specialise`].
    pub fn specialise_items(&self, request: &Request) -> Result<String, Error> {
        let hooks = hook_sources(request)?;
        let linked = Linked::new(self, request, &hooks)?;
        let mut cx = Context::new(&linked, tunables::settings(&linked, request)?, request.unroll);
        cx.evaluate_constants()?;
        let mut names: Vec<String> = linked.root().parsed.items.keys().cloned().collect();
        names.retain(|name| !cx.takes_storage(name));
        names.sort_unstable();
        Reached::from(&mut cx, names)?.print(&linked, request)
    }
}

/// The declarations that some items need, specialised. Everything else is never looked at: the specialiser costs what the
/// kernel uses, and what a constant condition takes out of a function takes its helpers and bindings with it.
#[derive(Default)]
struct Reached {
    /// File, declaration and place, in the order of the output.
    globals: Vec<(usize, GlobalDeclaration, Span)>,
    uses_subgroups: bool,
    uses_f16: bool,
    uses_matrices: bool,
    arrays_left: Vec<String>,
}

impl Reached {
    fn from(cx: &mut Context<'_>, roots: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let linked = cx.linked;
        let mut reached = Self::default();
        let mut found: FxHashMap<&str, GlobalDeclaration> = FxHashMap::default();
        let mut seen: FxHashSet<String> = FxHashSet::default();
        let mut open: Vec<String> = roots.into_iter().collect();
        seen.extend(open.iter().cloned());
        while let Some(name) = open.pop() {
            let Some((name, item)) = linked.items.get_key_value(name.as_str()) else { continue };
            let global = cx.at_module_scope(item.file, |cx| match item.global.node() {
                GlobalDeclaration::Function(function) => {
                    let mut function = cx.function(function)?;
                    if cx.unroll {
                        let left = cx.scalarise(&mut function)?;
                        reached.arrays_left.extend(left.into_iter().map(|array| format!("{name}.{array}")));
                    }
                    Ok(GlobalDeclaration::Function(function))
                }
                global => cx.global(global),
            })?;
            reached.uses_subgroups |= has_subgroup_builtin(&global);
            // Uses of a name mostly share one `Ident`: knowing it again is quicker than reading it.
            #[expect(clippy::mutable_key_type, reason = "an Ident hashes and compares by its address")]
            let mut known: FxHashSet<Ident> = FxHashSet::default();
            tree::each_mention(&global, &mut |mention| match mention {
                Mention::Name(ident, is_type_or_call) => {
                    if known.contains(ident) {
                        return;
                    }
                    known.insert(ident.clone());
                    let name = ident.name();
                    if !linked.items.contains_key(name.as_str()) {
                        reached.uses_f16 |= is_f16_type(&name);
                        reached.uses_matrices |= is_matrix_of_subgroup(&name);
                        reached.uses_subgroups |= is_type_or_call && is_subgroup_function(&name);
                    } else if !seen.contains(&*name) {
                        seen.insert(name.clone());
                        open.push(name.clone());
                    }
                }
                Mention::Literal(literal) => reached.uses_f16 |= matches!(literal, LiteralExpression::F16(_)),
            });
            found.insert(name, global);
        }
        for (file, f) in linked.files.iter().enumerate() {
            for global in &f.parsed.unit.global_declarations {
                let Some(name) = global_ident(global) else { continue };
                let name = name.name();
                if linked.items.get(name.as_str()).is_some_and(|item| item.file == file)
                    && let Some(declaration) = found.remove(name.as_str())
                {
                    reached.globals.push((file, declaration, global.span()));
                }
            }
        }
        reached.arrays_left.sort_unstable();
        Ok(reached)
    }

    fn print(&self, linked: &Linked<'_>, request: &Request) -> Result<String, Error> {
        let mut printer = Printer::default();
        if self.uses_f16 {
            printer.raw("enable f16;\n");
        }
        if self.uses_matrices {
            printer.raw("enable wgpu_cooperative_matrix;\n");
        }
        if self.uses_subgroups && request.target == Target::Browser {
            printer.raw("enable subgroups;\n");
        }
        let root = linked.root();
        for directive in &root.parsed.unit.global_directives {
            if let GlobalDirective::Diagnostic(d) = directive {
                printer.raw(&format!("diagnostic({}, {});\n", d.severity, d.rule_name));
            }
        }
        printer.raw(root.source.header());
        printer.raw(&summary(linked, request));
        let mut before = None;
        for (file, global, _) in &self.globals {
            let is_large = matches!(global, GlobalDeclaration::Function(_) | GlobalDeclaration::Struct(_));
            if before.is_none_or(|(last, _)| last != *file) {
                printer.raw(&format!("\n// {}\n", linked.files[*file].source.name()));
            } else if is_large || before.is_some_and(|(_, large)| large) {
                printer.raw("\n");
            }
            before = Some((*file, is_large));
            let failed =
                |_| Error::new(ErrorKind::Syntax, &request.module, None, "the text could not be written");
            printer.global(global).map_err(failed)?;
        }
        Ok(printer.finish())
    }
}

/// Whether a declaration takes a subgroup built-in value.
fn has_subgroup_builtin(global: &GlobalDeclaration) -> bool {
    use BuiltinValue::{NumSubgroups, SubgroupId, SubgroupInvocationId, SubgroupSize};
    let builtin = |attributes: &Attributes| {
        attributes.iter().any(|a| {
            matches!(
                a.node(),
                Attribute::Builtin(SubgroupInvocationId | SubgroupSize | SubgroupId | NumSubgroups)
            )
        })
    };
    match global {
        GlobalDeclaration::Function(f) => f.parameters.iter().any(|p| builtin(&p.attributes)),
        GlobalDeclaration::Struct(s) => s.members.iter().any(|m| builtin(&m.attributes)),
        _ => false,
    }
}

/// One line that says what the text was made of.
fn summary(linked: &Linked<'_>, request: &Request) -> String {
    let mut line = format!("// Specialised from {}:", request.module);
    let mut values: Vec<_> = tunables::list(linked).into_iter().map(|t| (t.name, t.default)).collect();
    for (name, value) in &request.tunables {
        values.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| *v = *value);
    }
    for (name, value) in values {
        // Writing to a string cannot fail.
        let _ = write!(line, " {name} = {value},");
    }
    for (from, to) in &request.replace {
        let _ = write!(line, " {from} -> {to},");
    }
    for (name, _) in &request.hooks {
        let _ = write!(line, " {name} given,");
    }
    line.push_str(if request.unroll { " unrolled\n" } else { " rolled\n" });
    line
}
