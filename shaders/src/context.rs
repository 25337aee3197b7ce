//! The context that all passes over one request share: the linked items, constants and their values, the current place.

use rustc_hash::FxHashMap;

use wgsl_parse::span::{Span, Spanned};
use wgsl_parse::syntax::{
    Attribute, Attributes, Declaration, DeclarationKind, Function, GlobalDeclaration, Ident, TypeExpression,
};

use crate::error::{Error, ErrorKind};
use crate::link::Linked;
use crate::request::Value;
use crate::scope::{Names, Scope, Shape};
use crate::source::Source;
use crate::tree::{self, Expr};
use crate::value::{Known, Num};

/// How deep constants may refer to constants, counted together with the nesting of their expressions.
const MAX_EVALUATION_DEPTH: usize = 600;

/// The state of one specialisation.
pub(crate) struct Context<'l> {
    pub(crate) linked: &'l Linked<'l>,
    pub(crate) settings: FxHashMap<&'l str, Value>,
    pub(crate) unroll: bool,
    /// Index of the file whose text is being walked.
    pub(crate) file: usize,
    pub(crate) scope: Scope,
    pub(crate) names: Names,
    /// Iterations around the current place, as the end of a name: `_0_3`.
    pub(crate) suffix: String,
    /// Loops and calls that are being expanded around the current place, outermost first.
    pub(crate) expansions: Vec<Expansion>,
    /// Statements and iterations that unrolling and inlining have made so far.
    pub(crate) expanded: usize,
    /// The functions being inlined around the current place, outermost first.
    pub(crate) inlining: Vec<Inlining<'l>>,
    pub(crate) demands: FxHashMap<usize, bool>,
    consts: FxHashMap<String, Const>,
    depth: usize,
}

/// A loop that is unrolled, or a call that is inlined.
pub(crate) struct Expansion {
    pub(crate) file: usize,
    pub(crate) span: Span,
    /// For the error when it makes too much.
    pub(crate) what: &'static str,
}

/// An inlined call around the current place.
pub(crate) struct Inlining<'l> {
    pub(crate) function: &'l Function,
    /// The call's place in its file.
    pub(crate) span: Span,
}

/// A module-scope constant, on the way to its value or with it.
enum Const {
    InProgress,
    Done(Option<Known>, Box<Declaration>),
}

impl<'l> Context<'l> {
    pub(crate) fn new(linked: &'l Linked<'l>, settings: FxHashMap<&'l str, Value>, unroll: bool) -> Self {
        Self {
            linked,
            settings,
            unroll,
            file: 0,
            scope: Scope::default(),
            names: Names::default(),
            suffix: String::new(),
            expansions: Vec::new(),
            expanded: 0,
            inlining: Vec::new(),
            demands: FxHashMap::default(),
            consts: FxHashMap::default(),
            depth: 0,
        }
    }

    pub(crate) fn source(&self) -> &'l Source {
        self.linked.files[self.file].source
    }

    pub(crate) fn error(&self, kind: ErrorKind, span: Span, message: impl Into<String>) -> Error {
        self.source().error(kind, span, message)
    }

    /// The error of a constant expression at `span`.
    pub(crate) fn constant_error(&self, span: Span, message: &str) -> Error {
        self.error(ErrorKind::Constant, span, format!("`{}`: {message}", self.source().excerpt(span)))
    }

    /// Runs `f` one level deeper.
    pub(crate) fn deeper<T>(
        &mut self,
        span: Span,
        f: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.depth >= MAX_EVALUATION_DEPTH {
            return Err(self.error(ErrorKind::Limit, span, "constants refer to constants too deeply"));
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    /// Runs `f` at module scope of the file that declares an item.
    pub(crate) fn at_module_scope<T>(&mut self, file: usize, f: impl FnOnce(&mut Self) -> T) -> T {
        let before = (self.file, std::mem::take(&mut self.scope));
        self.file = file;
        let result = f(self);
        (self.file, self.scope) = before;
        result
    }

    /// Evaluates every constant and every module-scope `const_assert`.
    pub(crate) fn evaluate_constants(&mut self) -> Result<(), Error> {
        // In file order, so that of several errors the first one is reported.
        for (file, f) in self.linked.files.iter().enumerate() {
            for global in &f.parsed.unit.global_declarations {
                match global.node() {
                    GlobalDeclaration::Declaration(d) if d.kind == DeclarationKind::Const => {
                        self.global_const(&d.ident.name())?;
                    }
                    GlobalDeclaration::ConstAssert(assert) => {
                        let expression = &assert.expression;
                        let known =
                            self.at_module_scope(file, |cx| cx.expr(expression).map(|(_, known)| known))?;
                        self.at_module_scope(file, |cx| match known {
                            Some(_) => cx.check_assert(expression, known),
                            // It would go with the text, but keep alive all that it names.
                            None => Err(cx.constant_error(
                                expression.span(),
                                "the assertion cannot be decided: it may use integers, truth values and comparisons of \
                                 float constants",
                            )),
                        })?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Fails if an assertion is known not to hold.
    pub(crate) fn check_assert(&mut self, expression: &Expr, known: Option<Known>) -> Result<(), Error> {
        if known.and_then(|k| k.num.as_bool()) != Some(false) {
            return Ok(());
        }
        let mut values: Vec<String> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        tree::each_name(expression, &mut |ident| names.push(ident.to_string()));
        for name in names {
            let known = match self.scope.get(&name) {
                Some(local) => local.known,
                None => self.global_const(&name)?,
            };
            if let Some(known) = known {
                let value = format!("{name} = {}", known.num.text());
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        let with = if values.is_empty() { String::new() } else { format!(", with {}", values.join(", ")) };
        let span = expression.span();
        let message = format!("`const_assert {}` does not hold{with}", self.source().excerpt(span));
        Err(self.error(ErrorKind::Assertion, span, message))
    }

    /// The value of a module-scope constant, if the name is one whose value is known.
    pub(crate) fn global_const(&mut self, name: &str) -> Result<Option<Known>, Error> {
        if let Some(found) = self.consts.get(name) {
            return match found {
                Const::Done(known, _) => Ok(*known),
                Const::InProgress => {
                    let module = self.source().name();
                    Err(Error::new(
                        ErrorKind::Constant,
                        module,
                        None,
                        format!("the constant `{name}` depends on itself"),
                    ))
                }
            };
        }
        let Some(item) = self.linked.items.get(name).copied() else { return Ok(None) };
        let GlobalDeclaration::Declaration(d) = item.global.node() else { return Ok(None) };
        if d.kind != DeclarationKind::Const {
            return Ok(None);
        }
        self.consts.insert(name.to_owned(), Const::InProgress);
        let (known, declaration) = self.at_module_scope(item.file, |cx| {
            let mut d = d.clone();
            if let Some(value) = cx.settings.get(name) {
                let num = Num::of_value(*value);
                d.initializer = Some(num.to_expr(item.global.span()));
                return Ok((Some(Known { num, constant: true }), d));
            }
            let Some(init) = &d.initializer else {
                return Err(cx.error(
                    ErrorKind::Syntax,
                    item.global.span(),
                    format!("the constant `{name}` has no value"),
                ));
            };
            let (init, known) = cx.deeper(item.global.span(), |cx| cx.expr(init))?;
            let known = cx.declared_value(known, d.ty.as_ref(), init.span())?;
            d.ty = d.ty.as_ref().map(|ty| cx.ty(ty)).transpose()?;
            d.initializer = Some(init);
            Ok((known, d))
        })?;
        self.consts.insert(name.to_owned(), Const::Done(known, Box::new(declaration)));
        Ok(known)
    }

    /// A module-scope constant with its initialiser evaluated.
    pub(crate) fn const_declaration(&mut self, name: &str) -> Result<Option<Declaration>, Error> {
        self.global_const(name)?;
        Ok(match self.consts.get(name) {
            Some(Const::Done(_, declaration)) => Some((**declaration).clone()),
            _ => None,
        })
    }

    /// The value of a declaration of type `ty` whose initialiser has the value `known`.
    pub(crate) fn declared_value(
        &self,
        known: Option<Known>,
        ty: Option<&TypeExpression>,
        span: Span,
    ) -> Result<Option<Known>, Error> {
        let (Some(known), Some(ty)) = (known, ty) else { return Ok(known) };
        let num =
            known.num.convert(&self.resolve(ty).ident.name()).map_err(|m| self.constant_error(span, &m))?;
        Ok(num.map(|num| Known { num, ..known }))
    }

    /// The type behind aliases.
    pub(crate) fn resolve<'t>(&'t self, ty: &'t TypeExpression) -> &'t TypeExpression {
        let mut ty = ty;
        // A cycle of aliases is an error of the shader compiler; here it must only end.
        for _ in 0..64 {
            if ty.template_args.is_some() {
                break;
            }
            match self.linked.global(&ty.ident.name()) {
                Some(GlobalDeclaration::TypeAlias(alias)) => ty = &alias.ty,
                _ => break,
            }
        }
        ty
    }

    pub(crate) fn shape_of_type(&self, ty: &TypeExpression) -> Shape {
        let ty = self.resolve(ty);
        let name = ty.ident.name();
        let element = || match ty.template_args.as_deref() {
            Some([element]) => tree::as_ident(&element.expression).map(ToString::to_string),
            _ => None,
        };
        match name.as_str() {
            "u32" | "i32" => Shape::Int,
            "array" => Shape::Array,
            "vec2u" | "vec3u" | "vec4u" | "vec2i" | "vec3i" | "vec4i" => Shape::IntVector,
            "vec2" | "vec3" | "vec4" if matches!(element().as_deref(), Some("u32" | "i32")) => {
                Shape::IntVector
            }
            _ => Shape::Other,
        }
    }

    /// The value of an expression that WGSL requires to be a constant integer.
    pub(crate) fn constant_u32(&mut self, e: &Expr) -> Result<u32, Error> {
        let (_, known) = self.expr(e)?;
        known
            .filter(|k| k.constant)
            .and_then(|k| k.num.as_i64())
            .and_then(|v| u32::try_from(v).ok())
            .ok_or_else(|| self.constant_error(e.span(), "expected a constant integer from 0 to 4294967295"))
    }

    /// Attributes with their constant expressions evaluated.
    pub(crate) fn attributes(&mut self, attributes: &Attributes) -> Result<Attributes, Error> {
        let mut out = attributes.clone();
        for attribute in &mut out {
            match &mut **attribute {
                Attribute::Align(e) | Attribute::Binding(e) | Attribute::Group(e) | Attribute::Size(e) => {
                    *e = self.expr(e)?.0;
                }
                Attribute::WorkgroupSize(size) => {
                    for e in [Some(&mut size.x), size.y.as_mut(), size.z.as_mut()].into_iter().flatten() {
                        *e = self.expr(e)?.0;
                    }
                }
                _ => {}
            }
        }
        Ok(out)
    }

    /// A module-scope declaration other than a function, with its constant expressions evaluated.
    pub(crate) fn global(&mut self, global: &GlobalDeclaration) -> Result<GlobalDeclaration, Error> {
        Ok(match global {
            GlobalDeclaration::Declaration(d) if d.kind == DeclarationKind::Const => {
                let name = d.ident.to_string();
                GlobalDeclaration::Declaration(self.const_declaration(&name)?.unwrap_or_else(|| d.clone()))
            }
            GlobalDeclaration::Declaration(d) => {
                let mut d = d.clone();
                d.attributes = self.attributes(&d.attributes)?;
                d.ty = d.ty.as_ref().map(|ty| self.ty(ty)).transpose()?;
                d.initializer = d.initializer.as_ref().map(|e| self.expr(e)).transpose()?.map(|(e, _)| e);
                GlobalDeclaration::Declaration(d)
            }
            GlobalDeclaration::TypeAlias(alias) => {
                let mut alias = alias.clone();
                alias.ty = self.ty(&alias.ty)?;
                GlobalDeclaration::TypeAlias(alias)
            }
            GlobalDeclaration::Struct(s) => {
                let mut s = s.clone();
                for member in &mut s.members {
                    member.attributes = self.attributes(&member.attributes)?;
                    member.ty = self.ty(&member.ty)?;
                }
                GlobalDeclaration::Struct(s)
            }
            other => other.clone(),
        })
    }

    /// A name for the output that nothing else in the current function has.
    pub(crate) fn fresh(&mut self, base: &str, suffix: &str) -> Ident {
        let linked = self.linked;
        Ident::new(self.names.fresh(base, suffix, |name| linked.items.contains_key(name)))
    }
}

/// A node at the place of another.
pub(crate) fn at<T>(node: T, span: Span) -> Spanned<T> {
    Spanned::new(node, span)
}
