//! One module: its text, checked and parsed once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use logos::Logos as _;
use wgsl_parse::lexer::Token;
use wgsl_parse::span::Span;
use wgsl_parse::syntax::{
    Attribute, DeclarationKind, Function, GlobalDeclaration, GlobalDirective, Import, ImportContent,
    PathOrigin, Statement, TranslationUnit,
};

use crate::error::{Error, ErrorKind};
use crate::nesting::Depth;
use crate::tree::{self, Node};

/// Far above any shader; keeps a mistake (a binary file, a runaway generator) from being parsed at all.
const MAX_BYTES: usize = 4 << 20;

/// The module path that stands for the kernel itself: what a request names. A module of shared steps imports the kernel's
/// workgroup memory and tile sizes from it.
pub(crate) const KERNEL: &str = "kernel";

/// A module's name and text, parsed when first asked for.
#[derive(Debug)]
pub(crate) struct Source {
    name: String,
    text: Cow<'static, str>,
    parsed: OnceLock<Result<Parsed, Error>>,
}

/// A parsed module.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) unit: TranslationUnit,
    pub(crate) imports: Vec<Imported>,
    /// Module-scope names and their place in `unit.global_declarations`.
    pub(crate) items: HashMap<String, usize>,
    /// Every name that the module mentions without declaring it, with a place where it does.
    pub(crate) foreign: HashMap<String, Span>,
}

/// One item of an import statement.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The module's path, such as `shared/online_softmax`.
    pub(crate) module: String,
    pub(crate) item: String,
}

impl Parsed {
    /// The compute entry points that the module declares.
    pub(crate) fn entry_points(&self) -> impl Iterator<Item = (&Function, Span)> {
        self.unit.global_declarations.iter().filter_map(|global| match global.node() {
            GlobalDeclaration::Function(f)
                if f.attributes.iter().any(|a| matches!(a.node(), Attribute::Compute)) =>
            {
                Some((f, global.span()))
            }
            _ => None,
        })
    }
}

impl Source {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), text: text.into(), parsed: OnceLock::new() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn parsed(&self) -> Result<&Parsed, Error> {
        self.parsed.get_or_init(|| self.parse()).as_ref().map_err(Clone::clone)
    }

    /// The line on which a span begins, counted from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        let end = span.start.min(self.text.len());
        1 + self.text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
    }

    pub(crate) fn error(&self, kind: ErrorKind, span: Span, message: impl Into<String>) -> Error {
        Error::new(kind, &self.name, Some(self.line(span)), message)
    }

    /// The source text of a node, on one line.
    pub(crate) fn excerpt(&self, span: Span) -> String {
        let text = self.text.get(span.start..span.end).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The comment with which the file begins.
    pub(crate) fn header(&self) -> &str {
        let lines = self.text.split_inclusive('\n').take_while(|line| line.starts_with("//"));
        &self.text[..lines.map(str::len).sum()]
    }

    fn parse(&self) -> Result<Parsed, Error> {
        let short_circuits = self.check_tokens()?;
        let unit = wgsl_parse::parse_str(&self.text)
            .map_err(|error| self.error(ErrorKind::Syntax, error.span, parse_message(&error)))?;
        for directive in &unit.global_directives {
            // Which line is right depends on who compiles the text, so the specialiser writes it.
            if !matches!(directive, GlobalDirective::Diagnostic(_)) {
                let message = format!(
                    "`{directive}` does not belong in a shader file: it is added where a target needs it"
                );
                return Err(Error::new(ErrorKind::Syntax, &self.name, None, message));
            }
        }

        let mut imports = Vec::new();
        for statement in &unit.imports {
            let path = match &statement.path {
                Some(path) if path.origin == PathOrigin::Absolute => path.components.clone(),
                _ => return Err(self.import_error(statement, "begins with `package::`")),
            };
            if self.collect_imports(&path, &statement.content, &mut imports).is_none() {
                return Err(self.import_error(statement, "names items of a module, each under its own name"));
            }
        }

        let mut items = HashMap::new();
        for (index, global) in unit.global_declarations.iter().enumerate() {
            if let GlobalDeclaration::Declaration(d) = global.node()
                && matches!(d.kind, DeclarationKind::Override)
            {
                let message =
                    format!("`override {}`: shaders use `const` tunables, which can size any array", d.ident);
                return Err(self.error(ErrorKind::Syntax, global.span(), message));
            }
            let Some(ident) = tree::global_ident(global) else { continue };
            if items.insert(ident.to_string(), index).is_some() {
                let message = format!("`{ident}` is declared twice in this module");
                return Err(self.error(ErrorKind::Clash, global.span(), message));
            }
        }

        let foreign = self.check_tree(&unit, short_circuits)?;
        Ok(Parsed { unit, imports, items, foreign })
    }

    fn import_error(&self, statement: &wgsl_parse::syntax::ImportStatement, rule: &str) -> Error {
        let message = format!(
            "`import {statement}`: an import {rule}, as in `import package::shared::reduce::{{sum, max}};`"
        );
        Error::new(ErrorKind::Syntax, &self.name, None, message)
    }

    /// Adds what `path::content` imports. `None`: renamed, or not an item of a module.
    fn collect_imports(
        &self,
        path: &[String],
        content: &ImportContent,
        out: &mut Vec<Imported>,
    ) -> Option<()> {
        match content {
            ImportContent::Item(item) => {
                if path.is_empty() || item.rename.is_some() {
                    return None;
                }
                out.push(Imported { module: path.join("/"), item: item.ident.to_string() });
            }
            ImportContent::Collection(imports) => {
                for Import { path: more, content } in imports {
                    let path: Vec<_> = path.iter().chain(more).cloned().collect();
                    self.collect_imports(&path, content, out)?;
                }
            }
        }
        Some(())
    }

    /// Checks the text token by token, and counts `&&` and `||`.
    ///
    /// The parser does not do this: it skips what is not a token (an integer too large for its type among them), and it
    /// has no limit of depth.
    fn check_tokens(&self) -> Result<usize, Error> {
        if self.text.len() > MAX_BYTES {
            let message = format!("{} bytes of text; the limit is {MAX_BYTES}", self.text.len());
            return Err(Error::new(ErrorKind::Limit, &self.name, None, message));
        }
        let mut depth = Depth::default();
        let mut short_circuits = 0;
        let mut after_ident = false;
        for (token, range) in Token::lexer(&self.text).spanned() {
            let span = Span::new(range);
            let bad =
                |what: &str| self.error(ErrorKind::Syntax, span, format!("`{}` {what}", self.excerpt(span)));
            let token = token.map_err(|_| bad("is not a WGSL token, or out of the range of its type"))?;
            match &token {
                Token::F32(v) | Token::F16(v) if !v.is_finite() => {
                    return Err(bad("is too large for its type"));
                }
                Token::AbstractFloat(v) if !v.is_finite() => return Err(bad("is too large for its type")),
                Token::SymAndAnd | Token::SymOrOr => short_circuits += 1,
                Token::LineComment | Token::BlockComment => continue,
                _ => {}
            }
            depth.step(&token, after_ident).map_err(|(kind, what)| self.error(kind, span, what))?;
            after_ident = matches!(token, Token::Ident(_) | Token::KwVar);
        }
        Ok(short_circuits)
    }

    /// Checks the tree, and collects the names that it does not declare.
    fn check_tree(
        &self,
        unit: &TranslationUnit,
        short_circuits: usize,
    ) -> Result<HashMap<String, Span>, Error> {
        let mut found = 0;
        let mut inline_path = None;
        let mut foreign = HashMap::new();
        let mut declared = std::collections::HashSet::new();
        for global in &unit.global_declarations {
            declared.extend(tree::global_ident(global).map(ToString::to_string));
            if let GlobalDeclaration::Function(function) = global.node() {
                declared.extend(function.parameters.iter().map(|p| p.ident.to_string()));
            }
            let mut span = global.span();
            let mut see = |ident: &wgsl_parse::syntax::Ident, span: Span| {
                if !foreign.contains_key(&*ident.name()) {
                    foreign.insert(ident.to_string(), span);
                }
            };
            tree::walk_global(global, &mut |node| match node {
                Node::Expr(e) => {
                    found += tree::count_short_circuits(e);
                    tree::each_name(e, &mut |ident| see(ident, e.span()));
                    inline_path = inline_path.or_else(|| path_in(e));
                }
                Node::Type(ty) => {
                    found += ty
                        .template_args
                        .iter()
                        .flatten()
                        .map(|a| tree::count_short_circuits(&a.expression))
                        .sum::<usize>();
                    tree::each_name_in_type(ty, &mut |ident| see(ident, span));
                    if ty.path.is_some() {
                        inline_path = inline_path.or(Some(span));
                    }
                }
                Node::Declaration(d) => {
                    declared.insert(d.ident.to_string());
                }
                Node::Statement(s) => {
                    // A `for` header's statements have no place of their own worth reporting.
                    if !matches!(s.node(), Statement::Void) {
                        span = s.span();
                    }
                }
            });
        }
        if let Some(span) = inline_path {
            let message =
                "a path such as `package::a::b` belongs in an `import`; its item is then used by name";
            return Err(self.error(ErrorKind::Syntax, span, message));
        }
        if found != short_circuits {
            // `a < b && -c > (d)`: wgsl-parse 0.4 takes this for the call `a<b - c>(d)`, against the WGSL rule that `&&`
            // and `||` end a template list, and loses the `&&`.
            let message = "a comparison with `<` before `&&` or `||` and `>` after it is misread; put the comparisons in parentheses";
            return Err(Error::new(ErrorKind::Syntax, &self.name, None, message));
        }
        foreign.retain(|name, _| !declared.contains(name));
        Ok(foreign)
    }
}

fn path_in(e: &tree::Expr) -> Option<Span> {
    use wgsl_parse::syntax::Expression;
    let mut found = match e.node() {
        Expression::FunctionCall(call) if call.ty.path.is_some() => Some(e.span()),
        Expression::TypeOrIdentifier(ty) if ty.path.is_some() => Some(e.span()),
        _ => None,
    };
    tree::each_operand(e, &mut |operand| found = found.or_else(|| path_in(operand)));
    found
}

/// The parser's message without the list of the several dozen tokens it would have taken instead.
fn parse_message(error: &wgsl_parse::Error) -> String {
    use wgsl_parse::error::ErrorKind as Kind;
    match &error.error {
        Kind::UnexpectedToken { token, expected } => {
            format!("unexpected `{token}`{}", expected_list(expected))
        }
        Kind::UnexpectedEof { expected } => format!("unexpected end of the text{}", expected_list(expected)),
        other => other.to_string(),
    }
}

fn expected_list(expected: &[String]) -> String {
    if expected.is_empty() || expected.len() > 5 {
        return String::new();
    }
    format!("; expected {}", expected.join(" or "))
}
