//! The local names of the function that is being specialised.

use rustc_hash::{FxHashMap, FxHashSet};

use wgsl_parse::syntax::{Function, Ident};

use crate::tree::{self, Expr, Node};
use crate::value::Known;

/// The type of a name, as far as the passes need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `u32` or `i32`.
    Int,
    /// A vector of either.
    IntVector,
    Array,
    Other,
}

/// A local name of the source.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// Its name in the output.
    pub(crate) ident: Ident,
    pub(crate) known: Option<Known>,
    pub(crate) shape: Shape,
    /// Whether it never changes: a `let`, or a parameter.
    pub(crate) fixed: bool,
    /// For a pointer parameter of an inlined function: the place that it points to, in the names of the output.
    pub(crate) place: Option<Expr>,
}

impl Local {
    pub(crate) fn new(ident: Ident, shape: Shape) -> Self {
        Self { ident, known: None, shape, fixed: false, place: None }
    }
}

/// The local names in scope, by their names in the source.
#[derive(Default)]
pub(crate) struct Scope {
    names: FxHashMap<String, Local>,
    /// Names that declarations have hidden, so that leaving a block costs what the block declared.
    hidden: Vec<(String, Option<Local>)>,
}

/// A point to which [`Scope::leave`] returns.
#[derive(Clone, Copy)]
pub(crate) struct Mark(usize);

impl Scope {
    pub(crate) fn enter(&self) -> Mark {
        Mark(self.hidden.len())
    }

    pub(crate) fn leave(&mut self, mark: Mark) {
        while self.hidden.len() > mark.0 {
            let Some((name, before)) = self.hidden.pop() else { return };
            match before {
                Some(local) => self.names.insert(name, local),
                None => self.names.remove(&name),
            };
        }
    }

    pub(crate) fn declare(&mut self, name: &str, local: Local) {
        let before = self.names.insert(name.to_owned(), local);
        self.hidden.push((name.to_owned(), before));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Local> {
        self.names.get(name)
    }

    /// Notes that the local `name` never changes.
    pub(crate) fn fix(&mut self, name: &str) {
        if let Some(local) = self.names.get_mut(name) {
            local.fixed = true;
        }
    }
}

/// The names that the output of one function uses, so that new ones collide with nothing.
#[derive(Default)]
pub(crate) struct Names {
    /// Every name that the source mentions, and every name made so far.
    taken: FxHashSet<String>,
    /// The names that inlined functions call: no local may hide them.
    called: FxHashSet<String>,
    /// How often the source declares each local.
    declared: FxHashMap<String, usize>,
    /// Arrays outside of unrolled loops that were renamed, and their names in the source.
    bases: FxHashMap<String, String>,
}

impl Names {
    pub(crate) fn of(function: &Function) -> Self {
        let mut names = Self::default();
        for parameter in &function.parameters {
            names.note(&parameter.ident);
        }
        tree::walk(&function.body.statements, &mut |node| match node {
            Node::Expr(e) => tree::each_name(e, &mut |ident| names.take(ident)),
            Node::Type(ty) => tree::each_name_in_type(ty, &mut |ident| names.take(ident)),
            Node::Declaration(d) => names.note(&d.ident),
            Node::Statement(_) => {}
        });
        names
    }

    fn note(&mut self, ident: &Ident) {
        self.take(ident);
        *self.declared.entry(ident.to_string()).or_default() += 1;
    }

    fn take(&mut self, ident: &Ident) {
        if !self.taken.contains(&*ident.name()) {
            self.taken.insert(ident.to_string());
        }
    }

    /// Keeps a name that an inlined function calls. `true`: it is new.
    pub(crate) fn keep_called(&mut self, name: &str) -> bool {
        self.taken.insert(name.to_owned());
        self.called.insert(name.to_owned())
    }

    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.called.contains(name)
    }

    /// Whether the function declares a local of this name.
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.declared.contains_key(name)
    }

    pub(crate) fn taken(&self) -> impl Iterator<Item = &str> {
        self.taken.iter().map(String::as_str)
    }

    /// Whether the source declares this local in one place only.
    pub(crate) fn is_single(&self, name: &str) -> bool {
        self.declared.get(name).is_none_or(|count| *count < 2)
    }

    /// Notes that `renamed` stands for the source's `name`.
    pub(crate) fn set_base(&mut self, renamed: String, name: String) {
        self.bases.insert(renamed, name);
    }

    /// Names for the elements of the local array `name`. They are made of the name that the source has, where possible:
    /// `o_0_1` even where `o` itself is a buffer and the array therefore `o_1`.
    pub(crate) fn family(
        &mut self,
        name: &str,
        suffixes: &[String],
        is_global: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let base = self.bases.get(name).map_or(name, String::as_str).to_owned();
        let mut number = 1_u32;
        loop {
            let base = if number == 1 { base.clone() } else { format!("{base}{number}") };
            let names: Vec<_> = suffixes.iter().map(|suffix| format!("{base}{suffix}")).collect();
            if !names.iter().any(|name| self.taken.contains(name) || is_global(name)) {
                self.taken.extend(names.iter().cloned());
                return names;
            }
            number += 1;
        }
    }

    /// A name that nothing else in the function has: `base` with `suffix`, or that and a number.
    pub(crate) fn fresh(&mut self, base: &str, suffix: &str, is_global: impl Fn(&str) -> bool) -> String {
        let mut name = format!("{base}{suffix}");
        let mut number = 0_u32;
        while self.taken.contains(&name) || is_global(&name) {
            number += 1;
            name = format!("{base}{suffix}_{number}");
        }
        self.taken.insert(name.clone());
        name
    }
}
